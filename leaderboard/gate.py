"""May this cell be used? Every cell of some records held against its model's baseline by margins that are named.

A cell passes if each of its scores is shown to be no worse: docs/gate.md. What is read of a record is which model,
method and captions it is of; the numbers come from the per-caption results beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from admbench.errors import DataError, UsageError, nearest
from admbench.leaderboard.boards import Board, make_boards
from admbench.leaderboard.inference.board import verdicts
from admbench.leaderboard.inference.equivalence import Verdict, Word, judge
from admbench.leaderboard.inference.influence import Influence
from admbench.leaderboard.inference.margins import Margin, parse_margin
from admbench.leaderboard.inference.scores import OWN_AUDIO, ScoreKind, score_key, score_kind
from admbench.leaderboard.per_caption import PER_CAPTION, PerCaption, read_per_caption
from admbench.leaderboard.reading import LoadedRecord
from admbench.leaderboard.record import FULL_PRECISION

DEFAULT = ("fd=+5%",)
"""Margins if none is named."""
WORST_CLIPS = 3
"""Captions that are named for each score."""

WorstClips = tuple[tuple[str, float], ...]


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
        return list(dict.fromkeys(one for one in found if one))


def gate(
    records: Iterable[LoadedRecord],
    margins: Sequence[str] = DEFAULT,
    *,
    baseline: str = FULL_PRECISION,
    allow_undecided: bool = False,
) -> Gate:
    """Hold every cell of some records against the baseline of its model.

    Args:
        records: of some runs; of a cell that was run several times the latest counts.
        margins: as typed, such as `fd=+5%`; one a score.
        baseline: spec of the method that is the baseline.
        allow_undecided: whether a cell passes of which it cannot be told.

    Raises:
        UsageError: a margin that is none, a score that no cell has, a baseline that a model lacks, or nothing to hold
            against it.
        DataError: a cell without per-caption results, or with damaged ones.
    """
    boards = make_boards(records)
    contents = read_contents(boards)
    asked = read_margins(margins, contents.values())
    cells: list[GatedCell] = []
    for board in boards:
        for group in board.groups:
            own = [row.loaded for row in board.rows if row.group == group]
            cells += _gated(group, own, contents, asked, baseline)
    if all(cell.method == baseline for cell in cells):
        raise UsageError(f"there is no cell beside {baseline}: nothing to hold against it")
    return Gate(baseline, tuple(asked.values()), tuple(cells), allow_undecided)


def read_contents(boards: Sequence[Board]) -> dict[str, PerCaption]:
    """Return the per-caption results of every finished cell of some boards, by the path of its record.

    Raises:
        DataError: a cell without them, or with damaged ones.
    """
    contents = {}
    for loaded in (row.loaded for board in boards for row in board.rows):
        if loaded.record.status != "done":
            continue
        path = loaded.cell / PER_CAPTION
        if not path.exists() and not path.is_symlink():
            raise DataError(f"{path}: no per-caption results; `bench run` writes them as it scores a cell")
        contents[str(loaded.path)] = read_per_caption(loaded.run, path)
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


def judged(own: PerCaption, base: PerCaption | None, margins: Mapping[str, Margin]) -> dict[str, Verdict]:
    """Return one verdict for each margin; a score that the cell lacks cannot be told."""
    found = verdicts(own, base, margins)
    nothing = ScoreKind(higher_is_better=False)
    return {key: found.get(key) or judge(margin, nothing, {}, None) for key, margin in margins.items()}


def worst_clips(
    captions: Sequence[str],
    own: Influence,
    base: Influence | None,
    kind: ScoreKind,
    *,
    of_clips: bool,
    count: int = WORST_CLIPS,
) -> WorstClips:
    """Return the captions on which a cell loses most by a score, the worst first, each with what it adds.

    Against the baseline's score it is the change that counts: a caption that is hard for both is none of the cell's
    doing. Of a mean over clips it is the clip's number, of a score of a set the caption's influence.

    Args:
        captions: n ids.
        own: the cell's score over them.
        base: the baseline's, if the change counts.
        kind: of the score.
        of_clips: whether the score is a mean over clips.
        count: how many captions.
    """
    change = own if base is None else own - base
    numbers = change.first + change.value if of_clips else change.first
    order = np.argsort(numbers if kind.higher_is_better else -numbers, kind="stable")[:count]
    return tuple((captions[place], float(numbers[place])) for place in order)


def _worst(own: PerCaption, base: PerCaption | None, margin: Margin) -> WorstClips:
    key = margin.key
    if key not in own.scores:
        return ()
    captions, score = own.captions_of(key), own.scores[key]
    try:
        mine = own.influence(key, captions)
        theirs = base.influence(key, captions) if base and margin.bounded != "level" else None
        kind = score_kind(key) or score.kind
        return worst_clips(captions, mine, theirs, kind, of_clips=score.clips is not None)
    except ValueError:  # over other captions than the baseline: the verdict says so
        return ()


def _gated(
    model: str,
    cells: Sequence[LoadedRecord],
    contents: Mapping[str, PerCaption],
    margins: Mapping[str, Margin],
    baseline: str,
) -> list[GatedCell]:
    of = {cell.name: cell for cell in cells}
    if baseline != FULL_PRECISION and any(margin.bounded == "level" for margin in margins.values()):
        key = next(margin.key for margin in margins.values() if margin.bounded == "level")
        raise UsageError(f"{key} is against full precision's own clips: it says nothing of the baseline {baseline}")
    base = contents.get(str(of[baseline].path)) if baseline in of else None
    judgeable = any(str(cell.path) in contents for cell in cells)
    if judgeable and base is None and any(map(needs_baseline, margins.values())):
        known = ", ".join(of)
        raise UsageError(f"{model} has no finished cell {baseline}.{nearest(baseline, of)} Its cells: {known}")
    found = []
    for spec, cell in of.items():
        own = contents.get(str(cell.path))
        if own is None:
            found.append(GatedCell(model, spec, {}, {}, f"{cell.record.status}: {cell.record.reason}"))
            continue
        # full precision has no score against its own clips
        asked = {key: one for key, one in margins.items() if spec != baseline or not key.endswith(OWN_AUDIO)}
        if asked:
            worst = {} if spec == baseline else {key: _worst(own, base, one) for key, one in asked.items()}
            found.append(GatedCell(model, spec, judged(own, base, asked), worst))
    return found
