"""What a board says, as plain data: the page, the tables and a run's last lines read this and nothing else.

A view is made from a board and the engine of inference, which concludes each model once for each score of an order.
Orders, letters, rank intervals and verdicts are the engine's; what it leaves out stands last, with the reason in words.
Nothing is estimated from the intervals that records claim.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

from admbench.errors import UsageError, nearest
from admbench.judged import judge_of, without_judge
from admbench.leaderboard.boards import Board, Row, make_boards
from admbench.leaderboard.concluding import Asked, Concluded, conclude_cells
from admbench.leaderboard.inference.across import Across, across_models
from admbench.leaderboard.inference.agreement import Agreement
from admbench.leaderboard.inference.board import ORDERED_BY, DrawnScore, ModelConclusion, against_rounding
from admbench.leaderboard.inference.contrasts import score_interval
from admbench.leaderboard.inference.equivalence import Verdict
from admbench.leaderboard.inference.scores import OWN_AUDIO, caution
from admbench.leaderboard.per_caption import PER_CAPTION
from admbench.leaderboard.reading import LoadedRecord
from admbench.leaderboard.record import FULL_PRECISION, Record
from admbench.leaderboard.states import LEAST_FIRST, State
from admbench.leaderboard.workers import Mapped, workers

TO_REAL_AUDIO = "fd"
"""The score of the second order."""
ANOTHER_MEASURE = "zimtohrli_vs_baseline"
"""A published measure of nearness that no network of ours is behind: held against the order by FD as a judge is."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A cell in the order of its model by one score."""

    value: float
    low: float
    """95 % interval of this value alone, kept in the range of the score."""
    high: float
    letters: str
    """Cells of the model that share a letter are not told apart."""
    first: int
    """Simultaneous 95 % interval of the rank."""
    last: int
    draws: int = 1
    """Calibration draws that it is over."""
    share_draws: float | None = None
    """How much of the variance of the value is that of draws; None of one draw."""

    @property
    def rank(self) -> str:
        """The rank interval.

        >>> Standing(0.3, 0.2, 0.4, "ab", 1, 3).rank, Standing(0.3, 0.2, 0.4, "a", 2, 2).rank
        ('1-3', '2')
        """
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


@dataclass(frozen=True, slots=True)
class ViewRow:
    """One method on one model."""

    rows: tuple[Row, ...]
    """Its record; of a method that was run with several calibration draws, that of each."""
    standings: dict[str, Standing]
    """By the score of an order."""
    missing: dict[str, str]
    """The score of an order -> why the cell has no place in it."""
    verdicts: dict[str, Verdict]
    """By score key: is it no worse than full precision? Empty for full precision itself."""
    drawn: dict[str, DrawnScore]
    """By score key: each score over all calibration draws; empty of a method that was run with one."""
    states: tuple[State | None, ...]
    """How far each record was checked; None of one that has no scores."""

    @property
    def draws(self) -> str:
        """How many calibration draws it was run with, and where that is known how much of the variance is theirs.

        The share is that of its first order's score.
        """
        shares = [one.share_draws for one in self.standings.values() if one.share_draws is not None]
        return f"{len(self.rows)} ({100 * shares[0]:.0f} %)" if shares else str(len(self.rows))

    @property
    def row(self) -> Row:
        """The first record."""
        return self.rows[0]

    @property
    def record(self) -> Record:
        """The first record's content."""
        return self.row.record

    @property
    def state(self) -> State | None:
        """How far it was checked, of several draws the one that was least; None of a cell that has no scores."""
        known = [state for state in self.states if state is not None]
        return min(known, key=LEAST_FIRST.index) if known else None

    @property
    def spec(self) -> str:
        """The method's, as typed, and what tells the cell from others of that spec, where there are any."""
        return self.row.loaded.name


@dataclass(frozen=True)
class ModelView:
    """The cells of one model with one set of sampling settings."""

    name: str
    conclusions: dict[str, ModelConclusion]
    """By the score of an order."""
    rows: tuple[ViewRow, ...]
    """Full precision, where it is no part of the order; then the order; then what has no place in it."""
    agreements: tuple[Agreement, ...]
    """Of the judge of the order with each further one, over the same captions."""


@dataclass(frozen=True)
class BoardView:
    """A board with everything that may be concluded from it."""

    board: Board
    """Its rows in the order of the view."""
    score: str
    """Key of the score of the order."""
    second: str | None
    """Key of the score of a second order; None if no record has it."""
    models: tuple[ModelView, ...]
    across: tuple[Across, ...]
    """Every method against rounding at the same bits, by the score of the order."""
    across_full: tuple[Across, ...]
    """Every method against full precision, by FD to real audio."""

    @cached_property
    def cautions(self) -> list[str]:
        """What is to be said beside every conclusion, each once: too few captions."""
        counts = [self.board.n] if self.board.n else []
        conclusions = [one for model in self.models for one in model.conclusions.values()]
        counts += [one.pairs.n for one in conclusions if one.pairs and one.score == self.score]
        of_draws = [text for one in conclusions for text in one.cautions]
        return list(dict.fromkeys([*(text for n in counts if (text := caution(n))), *of_draws]))


def view_boards(
    records: Iterable[LoadedRecord], by: str | None = None, *, processes: int = 1, remembered: bool = False
) -> list[BoardView]:
    """Return the views of the boards of some records.

    Args:
        records: of some runs; of a cell that was run several times the latest counts.
        by: key of the score of the order; None is nearness to full precision.
        processes: that conclude, a model each at a time: see `workers`.
        remembered: whether what was concluded before of the same cells is taken from the user's cache, and kept there.

    Raises:
        UsageError: a key that no record has; names the nearest.
    """
    boards = make_boards(records)
    known = {key for board in boards for key in board.metrics}
    if by is not None and by not in known:
        raise UsageError(f'no record has the score "{by}".{nearest(by, known)} Scores: {", ".join(sorted(known))}')
    with workers(processes) as mapped:
        return [view_board(board, by, mapped, remembered=remembered) for board in boards]


def view_board(board: Board, by: str | None = None, mapped: Mapped = map, *, remembered: bool = False) -> BoardView:
    """Return the view of one board, ordered by the score `by`; None is `default_score`.

    `mapped` concludes, one model a call; `remembered` as of `view_boards`.
    """
    score = by or default_score(board)
    second = next((key for key in (TO_REAL_AUDIO, ORDERED_BY) if key != score and key in board.metrics), None)
    further = further_judges(board, score)
    orders = [key for key in dict.fromkeys((score, *further, second)) if key is not None]
    rows = board.by_group
    cells = ([row.loaded for row in own] for own in rows.values())
    judge = board.networks.get(score, ("the first judge", ""))[0]
    asked = Asked(tuple(orders), judge, further, remembered)
    concluded = mapped(partial(conclude_cells, asked), rows, cells)
    models = tuple(_model(group, own, found) for (group, own), found in zip(rows.items(), concluded, strict=True))
    ordered = [row for model in models for own in model.rows for row in own.rows]
    return BoardView(
        board=replace(board, rows=ordered),
        score=score,
        second=second,
        models=models,
        across=tuple(against_rounding([model.conclusions[score] for model in models])),
        across_full=_against_full(models),
    )


def default_score(board: Board) -> str:
    """Return the score of the order if none is named: nearness to full precision by FD, else by what there is."""
    near = [key for key in board.metrics if key.endswith(OWN_AUDIO)]
    found = (key for key in (ORDERED_BY, *near, *board.metrics) if key in board.metrics)
    return next(found, ORDERED_BY)


def further_judges(board: Board, score: str) -> dict[str, str]:
    """Return the keys of what a score is by further judges of a board, with the names of these.

    Beside nearness to full precision by FD a published measure of nearness counts as a judge.
    """
    found = {key: judge for key in board.metrics if (judge := judge_of(key)) and without_judge(key) == score}
    if score == ORDERED_BY and ANOTHER_MEASURE in board.metrics:
        found[ANOTHER_MEASURE] = ANOTHER_MEASURE.removesuffix(OWN_AUDIO)
    return found


def bits_per_weight(record: Record) -> float | None:
    """Return what a weight takes on disk, scales and all; of a record that does not say, without scales, or None."""
    if record.size is None:
        return None
    return record.size.effective_bits_per_weight or record.size.nominal_bits_per_weight


def _model(
    group: str,
    rows: Sequence[Row],
    found: Concluded,
) -> ModelView:
    of_spec: dict[str, list[Row]] = {}
    for row in rows:
        of_spec.setdefault(row.loaded.name, []).append(row)
    first = next(iter(found.conclusions.values()))
    known = {spec: _row(tuple(own), found, first.verdicts) for spec, own in of_spec.items()}
    order = first.pairs.order if first.pairs else ()
    above = [spec for spec in known if spec == FULL_PRECISION and spec not in order]
    rest = [spec for spec in known if spec not in order and spec not in above]
    return ModelView(group, found.conclusions, tuple(known[spec] for spec in [*above, *order, *rest]), found.agreements)


def _row(
    rows: tuple[Row, ...],
    found: Concluded,
    verdicts: Mapping[str, Mapping[str, Verdict]],
) -> ViewRow:
    spec = rows[0].loaded.name
    standings: dict[str, Standing] = {}
    missing: dict[str, str] = {}
    for key, one in found.conclusions.items():
        if one.pairs and one.kind and spec in one.pairs.values:
            low, high = score_interval(one.cells[spec], one.kind)
            crossed = one.crossed.get(spec)
            over = (crossed.draws, crossed.share_draws) if crossed else (1, None)
            standings[key] = Standing(
                one.pairs.values[spec], low, high, one.pairs.letters[spec], *one.pairs.ranks[spec], *over
            )
        else:
            missing[key] = _why_not(rows, key, one.left_out.get(spec))
    own = {} if spec == FULL_PRECISION else dict(verdicts.get(spec, {}))
    drawn = next((one.drawn[spec] for one in found.conclusions.values() if spec in one.drawn), {})
    states = tuple(found.states.get(str(row.loaded.path)) for row in rows)
    return ViewRow(rows, standings, missing, own, drawn, states)


def _why_not(rows: tuple[Row, ...], score: str, reason: str | None) -> str:
    """Return why a method has no place in an order, in words that name no path of a machine."""
    first = rows[0].record
    if reason is None and first.method.spec == FULL_PRECISION and score.endswith(OWN_AUDIO):
        return "this is full precision"
    text = reason or f"no {score}"
    for file in (row.loaded.cell / PER_CAPTION for row in rows):
        if f"{file}: " in text and not file.is_file():
            return "no per-caption results beside the record"
        text = text.replace(f"{file}: ", "per-caption results: ")
    return text


def _against_full(models: Iterable[ModelView]) -> tuple[Across, ...]:
    """Hold every method against full precision by FD to real audio, on all models."""
    conclusions = [model.conclusions.get(TO_REAL_AUDIO) for model in models]
    known = {one.model: one.pairs for one in conclusions if one and one.pairs and FULL_PRECISION in one.pairs.values}
    shared = len({one.captions for one in conclusions if one and one.pairs}) == 1
    specs = dict.fromkeys(spec for pairs in known.values() for spec in pairs.order if spec != FULL_PRECISION)
    return tuple(across_models(known, spec, FULL_PRECISION, shared_captions=shared) for spec in specs)
