"""The table of a board: which columns it has and what stands in every cell."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from admbench.files import slug
from admbench.hashing import sha256_json
from admbench.leaderboard.boards import RANKED_BY, Board, Place, Row
from admbench.leaderboard.record import FULL_PRECISION, Latency, Memory, PipelineSize, Record, Score, Size, Timing
from admbench.leaderboard.site.cells import Cell, Column, estimate_cells
from admbench.leaderboard.site.definitions import against, definition
from admbench.leaderboard.site.numbers import count, decimals, fixed, interval, megabytes, percent


@dataclass(frozen=True)
class TableRow:
    """A row of the table; a cell that is not done has a status and a reason in place of numbers."""

    row: Row
    anchor: str
    model: str
    cells: list[Cell]


@dataclass(frozen=True)
class Table:
    """The table of one board."""

    columns: list[Column]
    rows: list[TableRow]


def table(board: Board) -> Table:
    """Columns and cells of a board."""
    columns: list[Column] = [
        Column("rank", "Rank", "in its model", meaning=_RANK_MEANING),
        Column("closeness", "Closeness", "to fp32, rank", meaning=_CLOSENESS_MEANING),
    ]
    cells = [[_place("rank", row.place), _place("closeness", row.closeness)] for row in board.rows]
    own_audio = [key for key in board.metrics if key.endswith("_vs_baseline")]
    for key in board.metrics:
        if key in own_audio:
            continue
        _append_score(columns, cells, key, board.rows)
        if key == RANKED_BY:
            column = Column("fd.difference", "Δ FD", "minus fp32, paired", "lower", _DIFFERENCE_MEANING)
            _append(columns, cells, column, _difference_cells(board.rows))
    _append_plain(columns, cells, _SIZE_COLUMNS, board.rows)
    for key in own_audio:
        _append_score(columns, cells, key, board.rows)
    _append_plain(columns, cells, _OTHER_COLUMNS, board.rows)
    rows = [TableRow(row, anchor(row), row.record.model.name, own) for row, own in zip(board.rows, cells, strict=True)]
    return Table(columns, rows)


def anchor(row: Row) -> str:
    """Identifier of a row's details on the page; also the name of its record file."""
    readable = slug(f"{row.record.model.name} {row.name}")
    return f"{readable}-{sha256_json(row.record.model_dump(mode='json'))[:8]}"


_RANK_MEANING = (
    "1 + the number of methods for the same model whose interval of the paired FD difference to full precision lies "
    "wholly below this one's. Methods with the same rank cannot be told apart by these captions."
)
_CLOSENESS_MEANING = (
    "1 + the number of methods for the same model whose interval of FD to the full-precision model's own audio lies "
    "wholly below this one's. It tells methods apart that FD against real audio cannot; being close is not being good."
)
_DIFFERENCE_MEANING = (
    "FD of this method minus FD of the same model in full precision, captions resampled jointly for both. An interval "
    "that holds zero means that no difference is shown."
)


def _append(columns: list[Column], cells: list[list[Cell]], column: Column, new: Iterable[Cell]) -> None:
    columns.append(column)
    for own, cell in zip(cells, new, strict=True):
        own.append(cell)


def _append_score(columns: list[Column], cells: list[list[Cell]], key: str, rows: Sequence[Row]) -> None:
    scores = [row.record.scores.get(key) for row in rows]
    found = next((score for score in scores if score and score.value is not None), None)
    _append(columns, cells, _score_column(key, found), _score_cells(key, scores))


def _append_plain(
    columns: list[Column], cells: list[list[Cell]], plain: Sequence["_PlainColumn"], rows: Sequence[Row]
) -> None:
    for column, make in plain:
        _append(columns, cells, column, [make(column.key, row.record) for row in rows])


def _place(key: str, place: Place) -> Cell:
    if place.rank is None:
        return Cell(key, missing=place.unranked or "not ranked")
    return Cell(key, place.rank, ("=" if place.tied else "") + str(place.rank), note="tied" if place.tied else "")


def _score_column(key: str, score: Score | None) -> Column:
    words = definition(key)
    if score is None:
        return Column(key, words.label, meaning=words.meaning)
    better = "higher" if score.higher_is_better else "lower"
    splits = _splits(score)
    return Column(key, words.label, count(splits, "split") if splits else against(score), better, words.meaning)


def _score_cells(key: str, scores: Sequence[Score | None]) -> list[Cell]:
    cells = estimate_cells(key, scores)
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


def _difference_cells(rows: Sequence[Row]) -> list[Cell]:
    scores = [row.record.scores.get(RANKED_BY) for row in rows]
    places = decimals(score.value for score in scores if score and score.value is not None)
    cells = []
    for row, score in zip(rows, scores, strict=True):
        difference = score.difference if score else None
        if row.record.method.name == FULL_PRECISION:
            cells.append(Cell("fd.difference", missing="this is full precision"))
            continue
        if difference is None or difference.value is None or difference.ci95 is None:
            cells.append(Cell("fd.difference", missing=(difference and difference.reason) or "no paired difference"))
            continue
        low, high = difference.ci95
        note, tone = ("worse", "worse") if low > 0 else ("better", "better") if high < 0 else ("tied with fp32", "")
        text = fixed(difference.value, places, sign=True)
        cells.append(
            Cell("fd.difference", difference.value, text, interval((low, high), places, sign=True), note, tone)
        )
    return cells


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
    nominal = record.size and record.size.nominal_bits_per_weight

    effective = record.size and record.size.effective_bits_per_weight

    def show(value: float) -> Cell:
        scales = "" if effective is None else f", {effective:.3g} with scales"
        return Cell(key, value, percent(value), note="" if nominal is None else f"{nominal:.3g} bits a weight{scales}")

    return _stated(key, record.size, "quantized_fraction", show, "not stated")


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
