"""May this cell be used? Every cell of some records held against its model's baseline by margins that are named.

A cell passes if each of its scores is shown to be no worse: docs/gate.md. What is read of a record is which model,
method and captions it is of; the numbers come from the per-caption results beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from admbench.errors import DataError, UsageError, nearest
from admbench.leaderboard.boards import Board
from admbench.leaderboard.clips import read_clips
from admbench.leaderboard.inference.board import verdicts
from admbench.leaderboard.inference.contrasts import Cell, draws, paired
from admbench.leaderboard.inference.equivalence import Verdict, Word, judge
from admbench.leaderboard.inference.margins import Margin, parse_margin
from admbench.leaderboard.inference.repeats import Draws, methods_of, paired_draws
from admbench.leaderboard.inference.scores import OWN_AUDIO, ScoreKind, score_key, score_kind
from admbench.leaderboard.per_caption import PER_CAPTION, PerCaption, disagreements, read_per_caption
from admbench.leaderboard.reading import LoadedRecord
from admbench.leaderboard.record import FULL_PRECISION
from admbench.leaderboard.view import Standing, view_boards

DEFAULT = ("fd=+5%",)
"""Margins if none is named."""
WORST_CLIPS = 3
"""Captions that are named for each score."""


class WorstClip(NamedTuple):
    """A caption on which a cell loses."""

    id: str
    """Of the caption."""
    value: float
    """What it adds: see `worst_clips`."""
    caption: str | None = None
    """Its text; None where the run folder has no captions.json."""


WorstClips = tuple[WorstClip, ...]


@dataclass(frozen=True)
class GatedCell:
    """One cell with its verdicts."""

    model: str
    method: str
    """Spec, as typed."""
    verdicts: dict[str, Verdict]
    """By score key, one for each margin; empty if the cell has no results."""
    worst: dict[str, WorstClips]
    """Score key -> captions on which the cell loses most, the worst first, with what each adds: `worst_clips`."""
    failed: str | None = None
    """Why the cell has no results; such a cell never passes."""
    standing: Standing | None = None
    """Its place in the order of its model, as on the leaderboard; None where it has none."""

    @property
    def word(self) -> Word:
        """The cell's own word: `worse` if one score is, `no worse` only if all are."""
        words = {one.word for one in self.verdicts.values()}
        if self.failed or not words or ("worse" not in words and "cannot be told" in words):
            return "cannot be told"
        return "worse" if "worse" in words else "no worse"


@dataclass(frozen=True)
class Gate:
    """Cells held against a baseline."""

    baseline: str
    """Spec of the method, or folder, that they are held against."""
    margins: tuple[Margin, ...]
    cells: tuple[GatedCell, ...]
    allow_undecided: bool = False
    """Whether `cannot be told` passes; a cell that failed does not."""
    noted: tuple[str, ...] = ()
    """What is to be said of folders of clips: what in them was left out, and why."""

    def passes(self, cell: GatedCell) -> bool:
        """Return whether a cell may be used."""
        undecided = cell.word == "cannot be told" and not cell.failed
        return cell.word == "no worse" or (self.allow_undecided and undecided)

    @property
    def passed(self) -> bool:
        """Whether every cell passes."""
        return all(map(self.passes, self.cells))

    @property
    def cautions(self) -> list[str]:
        """What is to be said beside the words, each once."""
        found = [verdict.caution for cell in self.cells for verdict in cell.verdicts.values()]
        return list(dict.fromkeys(one for one in (*self.noted, *found) if one))


def gate(
    records: Iterable[LoadedRecord],
    margins: Sequence[str] = DEFAULT,
    *,
    baseline: str = FULL_PRECISION,
    allow_undecided: bool = False,
) -> Gate:
    """Hold every cell of some records against the baseline of its model.

    Args:
        records: of some runs; of a cell that was run several times the latest counts. A method that was run with
            several calibration draws is one cell.
        margins: as typed, such as `fd=+5%`; one a score.
        baseline: spec of the method that is the baseline.
        allow_undecided: whether a cell passes of which it cannot be told.

    Raises:
        UsageError: a margin that is none, a score that no cell has, a baseline that a model lacks, or nothing to hold
            against it.
        DataError: a cell without per-caption results, with damaged ones, or whose record says something else.
    """
    views = view_boards(records)
    boards = [view.board for view in views]
    contents = read_contents(boards)
    asked = read_margins(margins, contents.values())
    cells: list[GatedCell] = []
    for view in views:
        for model in view.models:
            places = {own.spec: own.standings.get(view.score) for own in model.rows}
            loaded = [row.loaded for own in model.rows for row in own.rows]
            found = _gated(model.name, loaded, contents, asked, baseline)
            cells += [replace(cell, standing=places[cell.method]) for cell in found]
    if all(cell.method == baseline for cell in cells):
        raise UsageError(f"there is no cell beside {baseline}: nothing to hold against it")
    return Gate(baseline, tuple(asked.values()), tuple(cells), allow_undecided)


def read_contents(boards: Sequence[Board]) -> dict[str, PerCaption]:
    """Return the per-caption results of every finished cell of some boards, by the path of its record.

    Raises:
        DataError: a cell without them, with damaged ones, or whose record says something else than they do.
    """
    contents = {}
    for loaded in (row.loaded for board in boards for row in board.rows):
        if loaded.record.status != "done":
            continue
        path = loaded.cell / PER_CAPTION
        if not path.exists() and not path.is_symlink():
            schema = f"beside this record of schema {loaded.record.schema_version}"
            raise DataError(f"{path}: no per-caption results {schema}; `bench run` writes them as it scores a cell")
        contents[str(loaded.path)] = content = read_per_caption(loaded.run, path)
        if found := disagreements(content, loaded.record.scores):
            raise DataError(f"{loaded.path}: not what {PER_CAPTION} gives: {found[0]}; `bench validate` lists all")
    return contents


def read_margins(texts: Sequence[str], contents: Iterable[PerCaption]) -> dict[str, Margin]:
    """Return margins by score key.

    Args:
        texts: as typed.
        contents: of the cells, which say what kind of score a plug-in's is.

    Raises:
        UsageError: not a margin, two of one score, or a score that none of the cells has; names the nearest.
    """
    kinds: dict[str, ScoreKind] = {}
    for content in contents:
        for key, score in content.scores.items():
            kinds.setdefault(key, score_kind(key) or score.kind)
    margins: dict[str, Margin] = {}
    for text in texts:
        name, equals, _ = (part.strip() for part in text.partition("="))
        key = score_key(name)
        if equals and key not in kinds:
            scores = f"Scores: {', '.join(sorted(kinds))}" if kinds else "No cell has per-caption results."
            raise UsageError(f'no cell has the score "{key}" caption by caption.{nearest(key, kinds)} {scores}')
        try:
            margin = parse_margin(text, kinds.get(key))
        except ValueError as error:
            raise UsageError(str(error)) from None
        if margin.key in margins:
            raise UsageError(f"two margins of {margin.key}: {margins[margin.key]} and {margin}")
        margins[margin.key] = margin
    if not margins:
        raise UsageError("no margin: expected at least one, such as fd=+5%")
    return margins


def needs_baseline(margin: Margin) -> bool:
    """Return whether a margin reads the baseline's own score."""
    return margin.of is not None or margin.bounded == "change"


def judged(own: Draws, base: Draws | None, margins: Mapping[str, Margin]) -> dict[str, Verdict]:
    """Return one verdict for each margin; a score that the cell lacks cannot be told."""
    found = verdicts(own, base, margins)
    nothing = ScoreKind(higher_is_better=False)
    return {key: found.get(key) or judge(margin, nothing, {}, None) for key, margin in margins.items()}


def worst_clips(
    captions: Sequence[str],
    own: Cell,
    base: Cell | None,
    kind: ScoreKind,
    *,
    of_clips: bool,
    texts: Mapping[str, str | None],
    count: int = WORST_CLIPS,
) -> WorstClips:
    """Return the captions on which a cell loses most by a score, the worst first, each with what it adds.

    Against the baseline's score it is the change that counts: a caption that is hard for both is none of the cell's
    doing. Of a mean over clips it is the clip's number, of a score of a set the caption's influence; of several
    calibration draws its mean.

    Args:
        captions: n ids.
        own: the cell's score over them.
        base: the baseline's, if the change counts.
        kind: of the score.
        of_clips: whether the score is a mean over clips.
        texts: of the captions, by id, as far as they are known.
        count: how many captions.
    """
    changes = draws(own) if base is None else [one - other for one, other in paired(own, base)]
    numbers = np.mean([one.first + one.value if of_clips else one.first for one in changes], axis=0)
    order = np.argsort(numbers if kind.higher_is_better else -numbers, kind="stable")[:count]
    names = [(captions[place], float(numbers[place])) for place in order]
    return tuple(WorstClip(name, number, texts.get(name)) for name, number in names)


def _worst(own: Draws, base: Draws | None, margin: Margin, texts: Mapping[str, str | None]) -> WorstClips:
    key = margin.key
    first = next((one for one in own.values() if key in one.scores), None)
    if first is None:
        return ()
    captions, score = first.captions_of(key), first.scores[key]
    try:
        mine, theirs = paired_draws(own, base) if base else (list(own.values()), [])
        against = None if margin.bounded == "level" else [one.influence(key, captions) for one in theirs]
        kind = score_kind(key) or score.kind
        changes = [one.influence(key, captions) for one in mine]
        return worst_clips(captions, changes, against or None, kind, of_clips=score.clips is not None, texts=texts)
    except ValueError:  # over other captions than the baseline: the verdict says so
        return ()


def _gated(
    model: str,
    cells: Sequence[LoadedRecord],
    contents: Mapping[str, PerCaption],
    margins: Mapping[str, Margin],
    baseline: str,
) -> list[GatedCell]:
    methods = methods_of(cells)
    if baseline != FULL_PRECISION and any(margin.bounded == "level" for margin in margins.values()):
        key = next(margin.key for margin in margins.values() if margin.bounded == "level")
        raise UsageError(f"{key} is against full precision's own clips: it says nothing of the baseline {baseline}")
    base = _draws(methods.get(baseline, ()), contents)
    judgeable = any(str(cell.path) in contents for cell in cells)
    if judgeable and not base and any(map(needs_baseline, margins.values())):
        known = ", ".join(methods)
        raise UsageError(f"{model} has no finished cell {baseline}.{nearest(baseline, methods)} Its cells: {known}")
    found = []
    for spec, own in methods.items():
        if failed := _failed(own, contents):
            found.append(GatedCell(model, spec, {}, {}, failed))
            continue
        made = _draws(own, contents)
        # full precision has no score against its own clips
        asked = {key: one for key, one in margins.items() if spec != baseline or not key.endswith(OWN_AUDIO)}
        if asked:
            texts = {clip.id: clip.caption for clip in read_clips(own[0].run, own[0].cell)}
            worst = {} if spec == baseline else {key: _worst(made, base, one, texts) for key, one in asked.items()}
            found.append(GatedCell(model, spec, judged(made, base, asked), worst))
    return found


def _draws(cells: Sequence[LoadedRecord], contents: Mapping[str, PerCaption]) -> Draws:
    return {one.record.method.repeat: contents[str(one.path)] for one in cells if str(one.path) in contents}


def _failed(cells: Sequence[LoadedRecord], contents: Mapping[str, PerCaption]) -> str | None:
    """Return why a method has no results: it is not judged by those of its calibration draws that went well."""
    for cell in (cell for cell in cells if str(cell.path) not in contents):
        which = f"repeat {cell.record.method.repeat} " if len(cells) > 1 else ""
        return f"{which}{cell.record.status}: {cell.record.reason}"
    return None
