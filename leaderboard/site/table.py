"""The table of a board: which columns it has and what stands in every cell."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from admbench.files import slug
from admbench.hashing import sha256_json
from admbench.leaderboard.boards import Row
from admbench.leaderboard.inference.equivalence import Verdict
from admbench.leaderboard.inference.sentences import measured
from admbench.leaderboard.ladder import Estimate
from admbench.leaderboard.record import FULL_PRECISION, Latency, Memory, PipelineSize, Record, Score, Size, Timing
from admbench.leaderboard.site.cells import Cell, Column, estimate_cells
from admbench.leaderboard.site.definitions import against, definition
from admbench.leaderboard.site.numbers import count, decimals, fixed, interval, megabytes, percent
from admbench.leaderboard.states import LEAST_FIRST, MEANING
from admbench.leaderboard.view import TO_REAL_AUDIO, BoardView, ViewRow, bits_per_weight


@dataclass(frozen=True)
class TableRow:
    """A row of the table; a cell that is not done has a status and a reason in place of numbers."""

    own: ViewRow
    anchors: list[str]
    """Of each of its records."""
    model: str
    cells: list[Cell]
    verdicts: dict[str, str]
    """Score key -> whether it is no worse than full precision, with the numbers."""


@dataclass(frozen=True)
class Table:
    """The table of one board."""

    columns: list[Column]
    rows: list[TableRow]


def table(view: BoardView) -> Table:
    """Columns and cells of a board, in the order of its view."""
    rows = [own for model in view.models for own in model.rows]
    label = definition(view.score).label
    columns: list[Column] = [Column("rank", "Rank", f"by {label}", meaning=_RANK_MEANING)]
    cells = [[_rank(own, view.score)] for own in rows]
    _append(columns, cells, _CHECKED, [_checked(own) for own in rows])
    orders = list(dict.fromkeys(key for model in view.models for key in model.conclusions))
    for key in [key for key in orders if key in view.board.metrics]:
        _append_score(columns, cells, key, rows, place=key != view.score)
        if key == TO_REAL_AUDIO:
            _append(columns, cells, _CHANGE, [_change(own) for own in rows])
    rest = [key for key in view.board.metrics if key not in orders]
    for key in (key for key in rest if not key.endswith("_vs_baseline")):
        _append_score(columns, cells, key, rows)
    _append_plain(columns, cells, _SIZE_COLUMNS, rows)
    for key in (key for key in rest if key.endswith("_vs_baseline")):
        _append_score(columns, cells, key, rows)
    _append_plain(columns, cells, _OTHER_COLUMNS, rows)
    return Table(columns, [_table_row(own, row) for own, row in zip(rows, cells, strict=True)])


def anchor(row: Row) -> str:
    """Identifier of a row's details on the page; also the name of its record file."""
    readable = slug(f"{row.record.model.name} {row.name}")
    return f"{readable}-{sha256_json(row.record.model_dump(mode='json'))[:8]}"


_RANK_MEANING = (
    "The rank is between these two numbers; all ranks of a model are in their intervals at once, 95 % of the time. "
    "Methods of a model that share a letter cannot be told apart by these captions."
)
_CHECKED = Column(
    "state", "Checked", "how far", "higher", " ".join(f"{state}: {meaning}." for state, meaning in MEANING.items())
)
_CHANGE = Column(
    "fd.change",
    "FD change",
    "against fp32, paired",
    "lower",
    "FD of this method against FD of the same model in full precision, over the same captions.",
)


def _table_row(own: ViewRow, cells: list[Cell]) -> TableRow:
    verdicts = {key: f"{one.word}: {measured(one)}, margin {one.margin}" for key, one in own.verdicts.items()}
    return TableRow(own, [anchor(row) for row in own.rows], own.record.model.name, cells, verdicts)


def _append(columns: list[Column], cells: list[list[Cell]], column: Column, new: Iterable[Cell]) -> None:
    columns.append(column)
    for own, cell in zip(cells, new, strict=True):
        own.append(cell)


def _append_score(
    columns: list[Column], cells: list[list[Cell]], key: str, rows: Sequence[ViewRow], *, place: bool = False
) -> None:
    scores = [own.record.scores.get(key) for own in rows]
    found = next((score for score in scores if score and score.value is not None), None)
    shown = _score_cells(key, [_estimate(own, key) for own in rows], scores)
    noted = [_judged(cell, own.verdicts.get(key)) for cell, own in zip(shown, rows, strict=True)]
    if place:
        noted = [_placed(cell, own, key) for cell, own in zip(noted, rows, strict=True)]
    _append(columns, cells, _score_column(key, found), noted)


def _append_plain(
    columns: list[Column], cells: list[list[Cell]], plain: Sequence[_PlainColumn], rows: Sequence[ViewRow]
) -> None:
    for column, make in plain:
        _append(columns, cells, column, [make(column.key, own.record) for own in rows])


def _rank(own: ViewRow, score: str) -> Cell:
    found = own.standings.get(score)
    if found is None:
        return Cell("rank", missing=own.missing[score])
    share = found.share_draws
    over = "" if share is None else f"{found.draws} draws, {100 * share:.0f} % of the variance"
    return Cell("rank", found.first + found.last / 1000, found.rank, place=found.letters, note=over)


def _checked(own: ViewRow) -> Cell:
    if own.state is None:
        return Cell(_CHECKED.key, missing="no scores")
    tone = "warning" if own.state == "self-reported" else ""
    return Cell(_CHECKED.key, LEAST_FIRST.index(own.state), own.state, tone=tone)


def _estimate(own: ViewRow, key: str) -> Score | Estimate | None:
    """Return the engine's value of a score where it has one, else what the record says."""
    found = own.standings.get(key) or own.drawn.get(key)
    if found is None:
        return own.record.scores.get(key)
    return Estimate(value=found.value, ci95=[found.low, found.high])


def _judged(cell: Cell, verdict: Verdict | None) -> Cell:
    """Add whether the cell is no worse than full precision by this score."""
    if verdict is None or cell.missing:
        return cell
    tone = {"no worse": "better", "worse": "worse"}.get(verdict.word, "")
    note = f"{verdict.word}, {cell.note}" if cell.note else verdict.word
    needed = verdict.captions_needed
    return replace(cell, note=note, tone=tone, more=f"n = {needed:,} would" if needed else "")


def _placed(cell: Cell, own: ViewRow, key: str) -> Cell:
    found = own.standings.get(key)
    return cell if found is None else replace(cell, place=f"rank {found.rank}, {found.letters}")


def _change(own: ViewRow) -> Cell:
    """Return how much FD to real audio changed from full precision's, in per cent."""
    verdict = own.verdicts.get(TO_REAL_AUDIO)
    if own.spec == FULL_PRECISION:
        return Cell(_CHANGE.key, missing="this is full precision")
    if verdict is None or verdict.estimate is None or verdict.low is None or verdict.high is None:
        return Cell(_CHANGE.key, missing=(verdict and verdict.reason) or own.missing.get(TO_REAL_AUDIO) or "no FD")
    numbers = [100 * (number - 1) for number in (verdict.estimate, verdict.low, verdict.high)]
    return Cell(_CHANGE.key, numbers[0], f"{fixed(numbers[0], 1, sign=True)} %", interval(numbers[1:], 1, sign=True))


def _score_column(key: str, score: Score | None) -> Column:
    words = definition(key)
    if score is None:
        return Column(key, words.label, meaning=words.meaning)
    better = "higher" if score.higher_is_better else "lower"
    splits = _splits(score)
    return Column(key, words.label, count(splits, "split") if splits else against(score), better, words.meaning)


def _score_cells(key: str, estimates: Sequence[Score | Estimate | None], scores: Sequence[Score | None]) -> list[Cell]:
    cells = estimate_cells(key, estimates)
    splits = [_splits(score) for score in scores]
    if len({number for number in splits if number}) > 1:
        cells = [
            replace(cell, note=count(number, "split")) if number else cell
            for cell, number in zip(cells, splits, strict=True)
        ]
    return cells


def _splits(score: Score | None) -> int | None:
    """Number of splits of an Inception score."""
    splits = (score.model_extra or {}).get("splits") if score and score.value is not None else None
    return splits if isinstance(splits, int) else None


def _clips(key: str, record: Record) -> Cell:
    counts = {score.n for score in record.scores.values() if score.n is not None}
    if not counts:
        return Cell(key, missing="no scores")
    note = "" if len(counts) == 1 else f"some scores: {min(counts)}"
    return Cell(key, max(counts), str(max(counts)), note=note, tone="warning" if note else "")


def _stated(
    key: str, section: Size | Latency | Memory | None, name: str, show: Callable[[Any], Cell], missing: str
) -> Cell:
    """Return the cell of a section's number; where there is none, of the section's reason or what `missing` says."""
    value = getattr(section, name, None)
    if value is None:
        return Cell(key, missing=(section and section.reason) or missing)
    return show(value)


def _plain(key: str, words: Callable[[Any], str]) -> Callable[[Any], Cell]:
    """Return what shows a number as some words of it."""
    return lambda value: Cell(key, value, words(value))


def _size(key: str, record: Record) -> Cell:
    return _stated(key, record.size, "checkpoint_bytes", _plain(key, megabytes), "no checkpoint")


def _reduction(key: str, record: Record) -> Cell:
    return _stated(key, record.size, "reduction", _plain(key, percent), "no checkpoint")


def _pipeline(key: str, record: Record) -> Cell:
    def show(pipeline: PipelineSize) -> Cell:
        return Cell(key, pipeline.reduction, percent(pipeline.reduction), note=", ".join(_parts(record)))

    return _stated(key, record.size, "pipeline", show, "not stated")


def _parts(record: Record) -> list[str]:
    """What was quantized beside the backbone."""
    return [name for name in record.method.components or () if name != "backbone"]


def _quantized(key: str, record: Record) -> Cell:
    return _stated(key, record.size, "quantized_fraction", _plain(key, percent), "not stated")


def _bits(key: str, record: Record) -> Cell:
    bits = bits_per_weight(record)
    return Cell(key, missing="not stated") if bits is None else Cell(key, bits, f"{bits:.3g}")


def _latency(key: str, record: Record) -> Cell:
    latency = record.latency

    def show(step: Timing) -> Cell:
        assert latency is not None
        places = decimals([step.median])
        note = f"{latency.kernel}, {latency.speedup:.2f} times fp32" if latency.speedup else str(latency.kernel)
        return Cell(key, step.median, f"{fixed(step.median, places)} ms", interval((step.p10, step.p90), places), note)

    return _stated(key, latency, "step_ms", show, "not measured")


def _memory(key: str, record: Record) -> Cell:
    return _stated(key, record.memory, "peak_bytes", _plain(key, megabytes), "not measured")


def _audio(key: str, record: Record) -> Cell:
    audio = record.audio
    if audio is None:
        return Cell(key, missing="no audio")
    counts = {"silent": audio.silent, "clipped": audio.clipped, "too short": audio.too_short, "NaN": audio.nan}
    bad = {name: count for name, count in counts.items() if count}
    note = ", ".join(f"{count} {name}" for name, count in bad.items())
    return Cell(key, sum(bad.values()), note or "none", tone="warning" if bad else "")


_PlainColumn = tuple[Column, Callable[[str, Record], Cell]]
_SIZE_COLUMNS: tuple[_PlainColumn, ...] = (
    (Column("bits", "Bits", "a weight", "lower", "Bits of a stored weight, on average over all of them."), _bits),
    (Column("size", "Checkpoint", "on disk", "lower", "Bytes of the packed checkpoint that was written."), _size),
    (Column("reduction", "Smaller by", "than fp32", "higher", "1 - checkpoint bytes / fp32 bytes."), _reduction),
    (Column("pipeline", "Pipeline", "smaller by", "higher", "All components together, quantized or not."), _pipeline),
)
_OTHER_COLUMNS: tuple[_PlainColumn, ...] = (
    (Column("n", "n", "clips scored", meaning="Number of clips the scores were computed from."), _clips),
    (Column("quantized", "Quantized", "of weights", meaning="Share of the weights stored in fewer bits."), _quantized),
    (Column("latency", "Step", "[p10, p90]", "lower", "Median time of one denoising step, real kernels."), _latency),
    (Column("memory", "Peak memory", "of the process", "lower", "Peak memory of the cell's process."), _memory),
    (Column("audio", "Audio", "problems", "lower", "Silent, clipped, too short or non-finite clips."), _audio),
)
