"""From records to a folder of static pages, built aside and then put in place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from admbench.errors import DataError, UsageError
from admbench.files import atomic_directory
from admbench.leaderboard.boards import Board
from admbench.leaderboard.feeds import ATOM_FILE, JSON_FILE, to_atom, to_json_feed
from admbench.leaderboard.hearing import Heard, clips_of, hear, of_clips
from admbench.leaderboard.hearing_text import rows as heard_rows
from admbench.leaderboard.ladder import Ladder, read_ladder
from admbench.leaderboard.matrix import MethodRow
from admbench.leaderboard.reading import LoadedRecord, Quarantined
from admbench.leaderboard.run_folder import LADDER_FILE
from admbench.leaderboard.site import downloads, pages, summary
from admbench.leaderboard.site.badges import badges
from admbench.leaderboard.site.columns import DASH, TONES, Column, Value, span, words
from admbench.leaderboard.site.definitions import definition
from admbench.leaderboard.site.folder import MARKER, Folder
from admbench.leaderboard.site.front import Front, FrontCell, front, method_detail
from admbench.leaderboard.site.levels import ladder_table
from admbench.leaderboard.site.listening import ListeningPage, write_clips, write_listening
from admbench.leaderboard.site.markup import FactRows, emphasized, fact, tree
from admbench.leaderboard.site.names import Names, anchor
from admbench.leaderboard.site.numbers import fixed, interval
from admbench.leaderboard.site.output import Output
from admbench.leaderboard.site.packed import packed
from admbench.leaderboard.site.stress import stress_table
from admbench.leaderboard.stress import Stress
from admbench.leaderboard.view import BoardView, view_boards
from admbench.leaderboard.view_words import headline, judges_sentences, ratio_text, three_digits
from admbench.leaderboard.votes import Session
from admbench.leaderboard.workers import Mapped, workers
from admbench.plain_text import visible_name

TITLE = "How much does quantization cost audio diffusion models?"
MOST_ROWS, MOST_MODELS = 40, 6
"""Of the matrix without scripts; with them every method and model is there."""
MOST_ACROSS = 100
"""Methods that are held against rounding, or against full precision, on the front page."""


@dataclass(frozen=True)
class SitePaths:
    """Where the parts of a built site are."""

    root: Path
    index: Path
    listening: Path | None  # None: the run folders hold no audio, and there are no votes
    table_csv: Path
    table_json: Path
    table_parquet: Path
    written: int
    """Files that this build wrote."""
    kept: int
    """Files of the build before that are what they were."""

    @property
    def pages(self) -> list[Path]:
        """Every page."""
        return sorted(self.root.rglob("*.html"))


def build_site(
    records: Iterable[LoadedRecord],
    out: str | Path,
    *,
    title: str = TITLE,
    max_captions: int = 12,
    quarantined: Iterable[Quarantined] = (),
    votes: Iterable[tuple[str, Session]] = (),
    stress: Sequence[Stress] = (),
    url: str | None = None,
    processes: int = 1,
    remembered: bool = False,
) -> SitePaths:
    """Build the leaderboard of some records into the folder `out`; a site that an earlier call built is replaced.

    Args:
        records: as `read_runs` returns them; of a cell that is in more than one run the latest is shown. Audio and
            ladders are read from their run folders.
        out: folder of the site; index.html in it opens from the file system, without a network.
        title: heading of the page.
        max_captions: captions on the listening page of a model: half of them at even steps through the suite, the
            others the worst.
        quarantined: records that cannot be shown, as `gather` returns them; a page lists them with their reasons.
        votes: of listeners, as `admbench.leaderboard.votes.merge` returns them; those on other clips than the records'
            are left out, and listed.
        stress: files of `bench stress`, which have a section of the page on how the board was made.
        url: where the site will be, for the links of its feeds; without it they are relative.
        processes: that conclude from the records and write the pages of cells: see `workers`.
        remembered: whether what was concluded before of the same cells is taken from the user's cache, and kept there.

    Raises:
        UsageError: `out` is a file, or a folder with other content than a site.
        DataError: there are no records. Audio and ladders beside them that are invalid are named in their places.
    """
    out = Path(out).resolve()
    _check_replaceable(out)
    records = list(records)
    if not records:
        raise DataError("no records to build a site from")
    with workers(processes) as mapped, atomic_directory(out) as site:
        views = view_boards(records, processes=processes, remembered=remembered)
        ladders, damaged = _ladders(list(dict.fromkeys(loaded.run for loaded in records)))
        left_out = [*quarantined, *damaged]
        folder = Folder(site, previous=out if out.is_dir() else None)
        listening = _listening(views, votes, folder, max_captions)
        names = Names()
        _write_pages(views, ladders, stress, listening, left_out, title, folder, mapped, names)
        of_cells = {row.loaded.path: names.cell(row) for view in views for row in view.board.rows}
        folder.write(ATOM_FILE, to_atom(records, title, of_cells, url).encode())
        folder.write(JSON_FILE, to_json_feed(records, title, of_cells, url).encode())
    return SitePaths(
        root=out,
        index=out / "index.html",
        listening=out / "listen.html" if listening.shown else None,
        table_csv=out / "table.csv",
        table_json=out / "table.json",
        table_parquet=out / "table.parquet",
        written=folder.written,
        kept=folder.kept,
    )


def _ladders(runs: Iterable[Path]) -> tuple[list[Ladder], list[Quarantined]]:
    """Return the ladders of some runs, and those that cannot be read."""
    ladders, damaged = [], []
    for run in runs:
        try:
            ladder = read_ladder(run)
        except DataError as error:
            path = run / LADDER_FILE
            damaged.append(Quarantined(path, " ".join(str(error).removeprefix(f"{path}: ").split())))
            continue
        if ladder is not None:
            ladders.append(ladder)
    return ladders, damaged


@dataclass(frozen=True)
class _Listening:
    """What there is to hear, and what listeners heard."""

    pages: list[ListeningPage]
    heard: list[Heard]
    left_out: list[str]  # votes that do not count, a line each

    @property
    def shown(self) -> bool:
        return bool(self.pages or self.heard or self.left_out)


def _listening(
    views: Sequence[BoardView], votes: Iterable[tuple[str, Session]], folder: Folder, most_captions: int
) -> _Listening:
    boards = [_one_draw(view) for view in views]
    pages, votes = write_clips(boards, folder, most_captions), list(votes)
    kept, left_out = of_clips(votes, clips_of(boards)) if votes else ([], [])
    return _Listening(pages, hear(kept), left_out)


def _one_draw(view: BoardView) -> Board:
    """Return the board with one record of each method: clips of one calibration draw are played."""
    return replace(view.board, rows=[own.row for model in view.models for own in model.rows])


def _check_replaceable(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: is a file; expected a folder for the site")
    if out.is_dir() and any(out.iterdir()) and not (out / MARKER).is_file():
        raise UsageError(f"{out}: holds something else than a site; choose an empty or a new folder")


def _write_pages(
    views: Sequence[BoardView],
    ladders: Sequence[Ladder],
    stress: Sequence[Stress],
    listening: _Listening,
    left_out: Sequence[Quarantined],
    title: str,
    folder: Folder,
    mapped: Mapped,
    names: Names,
) -> None:
    fronts = [front(view, names) for view in views]
    output = Output(folder, _shared(title, listening, bool(left_out)))
    cells = pages.write_cells(output, fronts, names, mapped)
    data = output.data("front", packed(fronts, names))
    boards = [view.board for view in views]
    output.page(
        "index.html",
        "index.html.jinja",
        names=names,
        data=data,
        fronts=fronts,
        headlines=[emphasized(" ".join(headline(view)), _specs(view)) for view in views],
        cautions=list(dict.fromkeys(caution for view in views for caution in view.cautions)),
        badges=badges(fronts, ladders),
        head=summary.head(boards),
        across=summary.across,
        left_out=len(left_out),
        heard=listening.heard,
        most_rows=MOST_ROWS,
        most_models=MOST_MODELS,
        most_across=MOST_ACROSS,
        everything=True,
    )
    output.page("cells.html", "cells.html.jinja", data=data, fronts=fronts)
    output.page(
        "made.html",
        "made.html.jinja",
        head=summary.head(boards),
        ladders=[ladder_table(model) for ladder in ladders for model in ladder.models],
        stress=list(map(stress_table, stress)),
        definitions=summary.definitions(boards),
        columns=_all_columns(fronts),
    )
    if left_out:
        output.page("quarantine.html", "quarantine.html.jinja", left_out=left_out)
    pages.write_models(output, fronts, names)
    pages.write_methods(output, fronts, names)
    downloads.write_data(views, output)
    for _ in cells:
        pass
    if listening.shown:
        write_listening(output, listening.pages, listening.heard, listening.left_out)


def _shared(title: str, listening: _Listening, left_out: bool) -> dict[str, Any]:
    """Return what every template may read."""
    found = [("index.html", "Board"), ("cells.html", "All cells")]
    found += [("listen.html", "Listen")] if listening.shown else []
    found += [("made.html", "How it was made")]
    found += [("quarantine.html", "Left out")] if left_out else []
    return {
        "title": title,
        "pages": found,
        "listens": {page.group: page.path for page in reversed(listening.pages)},
        "heard_rows": heard_rows,
        "anchor": anchor,
        "name": visible_name,
        "label": definition,
        "suite_label": summary.suite_label,
        "judges_sentences": judges_sentences,
        "fixed": fixed,
        "interval": interval,
        "words": words,
        "fact": fact,
        "fact_rows": FactRows(),
        "tree": tree,
        "tones": TONES,
        "span": span,
        "values": _values,
        "words_of": _words_of,
        "detail": _detail,
        "ratio": ratio_text,
        "digits": three_digits,
    }


def _specs(view: BoardView) -> set[str]:
    return {own.spec for model in view.models for own in model.rows}


def _values(one: Front, row: MethodRow, key: str) -> list[Value]:
    return [cell.values[key] for cell in one.of(row)]


def _words_of(one: Front, cell: FrontCell, key: str) -> str:
    column = next((column for column in one.columns if column.key == key), None)
    return words(column, cell.values[key]) if column else DASH


def _detail(row: MethodRow) -> str:
    return method_detail(next(iter(row.cells.values())).record)


def _all_columns(fronts: Sequence[Front]) -> list[Column]:
    return list({column.key: column for one in fronts for column in one.columns}.values())
