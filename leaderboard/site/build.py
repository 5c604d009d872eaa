"""From records to a folder of static pages, built aside and then put in place."""

import base64
import csv
import hashlib
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from admbench.errors import DataError, UsageError
from admbench.files import atomic_directory
from admbench.leaderboard.boards import Board
from admbench.leaderboard.feeds import ATOM_FILE, JSON_FILE, to_atom, to_json_feed
from admbench.leaderboard.frame import flat_row
from admbench.leaderboard.ladder import Ladder, read_ladder
from admbench.leaderboard.reading import LoadedRecord, Quarantined
from admbench.leaderboard.run_folder import LADDER_FILE
from admbench.leaderboard.site import definitions, plot, summary
from admbench.leaderboard.site.levels import ladder_table
from admbench.leaderboard.site.listening import ListeningGroup, write_listening
from admbench.leaderboard.site.spectrogram import RANGE_DB
from admbench.leaderboard.site.table import anchor, table
from admbench.leaderboard.states import validation_state
from admbench.leaderboard.view import BoardView, ViewRow, view_boards
from admbench.leaderboard.view_words import headline, judges_sentences, ratio_text, three_digits

MARKER = ".admbench-site"
TITLE = "Audio diffusion models under post-training quantization"


@dataclass(frozen=True)
class SitePaths:
    """Where the parts of a built site are."""

    root: Path
    index: Path
    listening: Path | None  # None: the run folders hold no audio
    table_csv: Path
    table_json: Path


def build_site(
    records: Iterable[LoadedRecord],
    out: str | Path,
    *,
    title: str = TITLE,
    max_captions: int = 12,
    quarantined: Iterable[Quarantined] = (),
    url: str | None = None,
) -> SitePaths:
    """Build the leaderboard of some records into the folder `out`; a site that an earlier call built is replaced.

    Args:
        records: as `read_runs` returns them; of a cell that is in more than one run the latest is shown. Audio and
            ladders are read from their run folders.
        out: folder of the site; index.html in it opens from the file system, without a network.
        title: heading of the page.
        max_captions: captions on the listening page, at even steps through the suite.
        quarantined: records that cannot be shown, as `gather` returns them; the page lists them with their reasons.
        url: where the site will be, for the links of its feeds; without it they are relative.

    Raises:
        UsageError: `out` is a file, or a folder with other content than a site.
        DataError: there are no records. Audio and ladders beside them that are invalid are named in their places.
    """
    out = Path(out).resolve()
    _check_replaceable(out)
    records = list(records)
    if not records:
        raise DataError("no records to build a site from")
    views = view_boards(records)
    runs = list(dict.fromkeys(loaded.run for loaded in records))
    ladders, damaged = _ladders(runs)
    left_out = [*quarantined, *damaged]
    with atomic_directory(out) as site:
        (site / MARKER).write_text("A site built by `bench leaderboard`; building again replaces this folder.\n")
        groups = write_listening([_heard(view) for view in views], site, max_captions)
        _write_data(views, site)
        (site / ATOM_FILE).write_text(to_atom(records, title, url), encoding="utf-8")
        (site / JSON_FILE).write_text(to_json_feed(records, title, url), encoding="utf-8")
        _write_pages(views, ladders, groups, left_out, title, site)
    return SitePaths(
        root=out,
        index=out / "index.html",
        listening=out / "listen.html" if groups else None,
        table_csv=out / "table.csv",
        table_json=out / "table.json",
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


def _heard(view: BoardView) -> Board:
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
    groups: Sequence[ListeningGroup],
    left_out: Sequence[Quarantined],
    title: str,
    site: Path,
) -> None:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("admbench.leaderboard.site"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = _static("page.css")
    shared = {"title": title, "style": style, "style_hash": _csp_hash(style), "listening": bool(groups)}
    boards = [view.board for view in views]
    tables = [(view, table(view), plot.panels(view)) for view in views]
    script = _static("board.js")
    page = environment.get_template("index.html.jinja").render(
        **shared,
        script=script,
        script_hash=_csp_hash(script),
        head=summary.head(boards),
        tables=tables,
        plot=plot,
        headline=headline,
        judges_sentences=judges_sentences,
        cautions=list(dict.fromkeys(caution for view in views for caution in view.cautions)),
        across=summary.across,
        ratio=ratio_text,
        digits=three_digits,
        ladders=[ladder_table(model) for ladder in ladders for model in ladder.models],
        definitions=summary.definitions(boards),
        left_out=left_out,
        state=validation_state,
        settings=summary.settings,
        label=definitions.definition,
        suite_label=summary.suite_label,
    )
    (site / "index.html").write_text(page, encoding="utf-8")
    if groups:
        script = _static("listen.js")
        page = environment.get_template("listen.html.jinja").render(
            **shared, script=script, script_hash=_csp_hash(script), groups=groups, range_db=RANGE_DB
        )
        (site / "listen.html").write_text(page, encoding="utf-8")


def _write_data(views: Sequence[BoardView], site: Path) -> None:
    """table.csv, table.json, and every record as it was read."""
    rows = [_data_row(view, own) for view in views for model in view.models for own in model.rows]
    (site / "table.json").write_text(json.dumps(rows, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(dict.fromkeys(key for row in rows for key in row)))
    writer.writeheader()
    writer.writerows({key: _csv_value(value) for key, value in row.items()} for row in rows)
    (site / "table.csv").write_text(text.getvalue(), encoding="utf-8", newline="")
    (site / "records").mkdir()
    for row in (row for view in views for row in view.board.rows):
        path = site / "records" / f"{anchor(row)}.json"
        path.write_text(row.record.model_dump_json(indent=1) + "\n", encoding="utf-8")


def _data_row(view: BoardView, own: ViewRow) -> dict[str, Any]:
    """A row of the downloads: its place in the order, its verdicts, then the record."""
    place = own.standings.get(view.score)
    row: dict[str, Any] = {
        "board": summary.suite_label(view.board),
        "order_by": view.score,
        "rank_low": place and place.first,
        "rank_high": place and place.last,
        "letters": place and place.letters,
        "not_ordered": own.missing.get(view.score),
    }
    for key, value in flat_row(own.record).items():
        row.setdefault(key, value)  # whatever a metric is called, it cannot overwrite a column of the order
    for key, verdict in own.verdicts.items():
        row.setdefault(f"{key}_verdict", verdict.word)
        row.setdefault(f"{key}_captions_needed", verdict.captions_needed)
    return row


def _csv_value(value: Any) -> Any:
    """Text that a spreadsheet would run as a formula is quoted."""
    return f"'{value}" if isinstance(value, str) and value[:1] in "=+-@\t\r" else value


def _static(name: str) -> Markup:
    """A style sheet or script of this package: the only text that is not escaped."""
    return Markup((files("admbench.leaderboard.site") / "static" / name).read_text(encoding="utf-8"))


def _csp_hash(text: str) -> str:
    """Source expression for exactly this inline text, for the page's content security policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
