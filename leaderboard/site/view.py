"""From boards to what the templates show: columns, cells and sections as plain data, all text still unescaped."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from admcore.files import slug
from admcore.hashing import sha256_json
from leaderboard.boards import RANKED_BY, Board, Row
from leaderboard.ladder import Estimate, LadderModel
from leaderboard.record import Record, Score
from leaderboard.site.definitions import Definition, against, definition
from leaderboard.site.numbers import Scale, decimals, fixed, interval, megabytes, percent

_SHOWN_PACKAGES = ("python", "torch", "diffusers", "transformers", "admbench")


@dataclass(frozen=True)
class Column:
    """A column of the table."""

    key: str
    label: str
    detail: str = ""  # second line of the header
    better: str = ""  # "lower", "higher" or neither
    meaning: str = ""
    numeric: bool = True


@dataclass(frozen=True)
class Bar:
    """An interval on its column's scale, in percent."""

    low: float
    value: float
    high: float


@dataclass(frozen=True)
class Cell:
    """One entry of the table; `missing` is the reason for a dash."""

    key: str
    sort: float | str | None = None
    text: str = ""
    interval: str = ""
    note: str = ""
    tone: str = ""  # worse | better | warning
    bar: Bar | None = None
    missing: str = ""


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
    columns: list[Column] = [Column("rank", "Rank", "in its model", meaning=_RANK_MEANING)]
    cells = [[_rank(row)] for row in board.rows]
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
    readable = slug(f"{row.record.model.name} {row.record.method.spec}")
    return f"{readable}-{sha256_json(row.record.model_dump(mode='json'))[:8]}"


_RANK_MEANING = (
    "1 + the number of methods for the same model whose interval of the paired FD difference to full precision lies "
    "wholly below this one's. Methods with the same rank cannot be told apart by these captions."
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


def _rank(row: Row) -> Cell:
    if row.rank is None:
        return Cell("rank", missing=row.unranked or "not ranked")
    return Cell("rank", row.rank, ("=" if row.tied else "") + str(row.rank), note="tied" if row.tied else "")


def _score_column(key: str, score: Score | None) -> Column:
    words = definition(key)
    if score is None:
        return Column(key, words.label, meaning=words.meaning)
    better = "higher" if score.higher_is_better else "lower"
    splits = _splits(score)
    return Column(key, words.label, _count(splits, "split") if splits else against(score), better, words.meaning)


def _score_cells(key: str, scores: Sequence[Score | None]) -> list[Cell]:
    cells = _estimate_cells(key, scores)
    splits = [_splits(score) for score in scores]
    if len({number for number in splits if number}) > 1:
        cells = [
            replace(cell, note=_count(number, "split")) if number else cell
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
        if row.record.method.name == "fp32":
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


def _size(key: str, record: Record) -> Cell:
    size = record.size
    if size is None or size.checkpoint_bytes is None:
        return Cell(key, missing=(size and size.reason) or "no checkpoint")
    return Cell(key, size.checkpoint_bytes, megabytes(size.checkpoint_bytes))


def _reduction(key: str, record: Record) -> Cell:
    size = record.size
    if size is None or size.reduction is None:
        return Cell(key, missing=(size and size.reason) or "no checkpoint")
    return Cell(key, size.reduction, percent(size.reduction))


def _quantized(key: str, record: Record) -> Cell:
    size = record.size
    if size is None or size.quantized_fraction is None:
        return Cell(key, missing=(size and size.reason) or "not stated")
    bits = "" if size.nominal_bits_per_weight is None else f"{size.nominal_bits_per_weight:.3g} bits a weight"
    return Cell(key, size.quantized_fraction, percent(size.quantized_fraction), note=bits)


def _latency(key: str, record: Record) -> Cell:
    latency = record.latency
    if latency is None or latency.step_ms is None:
        return Cell(key, missing=(latency and latency.reason) or "not measured")
    median = latency.step_ms.median
    spread = interval((latency.step_ms.p10, latency.step_ms.p90), decimals([median]))
    note = f"{latency.kernel}, {latency.speedup:.2f} times fp32" if latency.speedup else str(latency.kernel)
    return Cell(key, median, f"{fixed(median, decimals([median]))} ms", spread, note)


def _memory(key: str, record: Record) -> Cell:
    memory = record.memory
    if memory is None or memory.peak_bytes is None:
        return Cell(key, missing=(memory and memory.reason) or "not measured")
    return Cell(key, memory.peak_bytes, megabytes(memory.peak_bytes))


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
)
_OTHER_COLUMNS: tuple[_PlainColumn, ...] = (
    (Column("n", "n", "clips scored", meaning="Number of clips the scores were computed from."), _clips),
    (Column("quantized", "Quantized", "of weights", meaning="Share of the weights stored in fewer bits."), _quantized),
    (Column("latency", "Step", "[p10, p90]", "lower", "Median time of one denoising step, real kernels."), _latency),
    (Column("memory", "Peak memory", "of the process", "lower", "Peak memory of the cell's process."), _memory),
    (Column("audio", "Audio", "problems", "lower", "Silent, clipped, too short or non-finite clips."), _audio),
)


@dataclass(frozen=True)
class Head:
    """The facts at the top of the page."""

    models: list[str]
    methods: list[str]
    done: int
    failed: int
    skipped: int
    suites: list[str]
    dates: str
    machines: list[str]
    packages: list[str]
    judges: list[str]
    small_judges: list[str]  # the metric networks that ship with the package


def head(boards: Sequence[Board]) -> Head:
    """Summarize all boards."""
    records = [row.record for board in boards for row in board.rows]
    days = sorted(record.provenance.started[:10] for record in records if record.provenance)
    judges: dict[tuple[str, str], list[str]] = {}
    for board in boards:
        for key in board.metrics:
            if key in board.networks and not key.endswith("_vs_baseline"):
                judges.setdefault(board.networks[key], []).append(definition(key).label)
    environments = [record.environment for record in records if record.environment]
    return Head(
        models=sorted({record.model.name for record in records}),
        methods=sorted({record.method.spec for record in records}),
        done=sum(record.status == "done" for record in records),
        failed=sum(record.status == "failed" for record in records),
        skipped=sum(record.status == "skipped" for record in records),
        suites=[suite_label(board) for board in boards],
        dates=" to ".join(dict.fromkeys((days[0], days[-1]))) if days else "",
        machines=_unique(
            ", ".join(filter(None, (e.cpu, e.gpu, _count(e.threads, "thread"), e.machine))) for e in environments
        ),
        packages=_unique(
            ", ".join(f"{name} {e.packages[name]}" for name in _SHOWN_PACKAGES if name in e.packages)
            for e in environments
        ),
        judges=[
            f"{name} ({sha256[:8]}) for {', '.join(dict.fromkeys(labels))}" for (name, sha256), labels in judges.items()
        ],
        small_judges=sorted({name for name, _ in judges if name.startswith("tiny-")}),
    )


@dataclass(frozen=True)
class LadderRow:
    """One rung: its cells (FD, KL, CLAP) and its step from the rung before."""

    name: str
    n: int
    cells: list[Cell]
    relation: str  # "<", "~" or "" for the first rung
    difference: str
    holds: bool


@dataclass(frozen=True)
class LadderView:
    """The ladder of one model."""

    model: LadderModel
    keys: list[str]
    rows: list[LadderRow]


def ladder(model: LadderModel) -> LadderView:
    """Rungs as table rows; the numbers of a column share one format and one scale."""
    keys = list(dict.fromkeys(key for rung in model.rungs for key in rung.scores))
    columns = [_estimate_cells(key, [rung.scores.get(key) for rung in model.rungs]) for key in keys]
    fds = [rung.scores[RANKED_BY].value for rung in model.rungs if RANKED_BY in rung.scores]
    places = decimals(value for value in fds if value is not None)
    rows = []
    for place, rung in enumerate(model.rungs):
        cells, step = [column[place] for column in columns], rung.step
        if step is None:
            rows.append(LadderRow(rung.name, rung.n, cells, "", "", True))
        else:
            difference = _signed(step.difference, places)
            rows.append(LadderRow(rung.name, rung.n, cells, step.relation, difference, step.holds))
    return LadderView(model, keys, rows)


def _signed(estimate: Estimate, places: int) -> str:
    value = "" if estimate.value is None else fixed(estimate.value, places, sign=True)
    return f"{value} {interval(estimate.ci95, places, sign=True)}" if estimate.ci95 else value


def _estimate_cells(key: str, estimates: Sequence[Score | Estimate | None]) -> list[Cell]:
    values = [estimate.value for estimate in estimates if estimate and estimate.value is not None]
    bounds = [bound for estimate in estimates if estimate for bound in estimate.ci95 or ()]
    places, scale = decimals(values), Scale.over([*values, *bounds]) if values else None
    return [_estimate_cell(key, estimate, places, scale) for estimate in estimates]


def _estimate_cell(key: str, estimate: Score | Estimate | None, places: int, scale: Scale | None) -> Cell:
    if estimate is None or estimate.value is None or scale is None:
        return Cell(key, missing=(estimate and estimate.reason) or "not asked for")
    text = fixed(estimate.value, places)
    if estimate.value > 0 and not text.strip("0."):
        text = f"< {10.0**-places:g}"
    if estimate.ci95 is None:
        return Cell(key, estimate.value, text, f"no interval: {estimate.reason}")
    low, high = estimate.ci95
    bar = Bar(100 * scale(low), 100 * scale(estimate.value), 100 * scale(high))
    return Cell(key, estimate.value, text, interval(estimate.ci95, places), bar=bar)


def suite_label(board: Board) -> str:
    """Suite, split, number of captions, hash: `foley (test), 48 captions, 1a2b3c4d`."""
    split = f" ({board.split})" if board.split else ""
    captions = f", {board.n} captions" if board.n else ""
    sha256 = f", {board.suite_sha256[:8]}" if board.suite_sha256 else ""
    return f"{board.suite}{split}{captions}{sha256}"


def definitions(boards: Sequence[Board]) -> list[tuple[str, Definition, str, str, str]]:
    """(key, definition, order of arguments, better, network) per score that any board shows."""
    found: dict[str, tuple[str, Definition, str, str, str]] = {}
    for board in boards:
        for row in board.rows:
            for key, score in row.record.scores.items():
                if score.value is not None and key not in found:
                    better = "higher is better" if score.higher_is_better else "lower is better"
                    network = f"{score.backbone} ({(score.backbone_sha256 or '')[:8]})" if score.backbone else "none"
                    found[key] = (key, definition(key), against(score), better, network)
    return [found[key] for board in boards[:1] for key in board.metrics if key in found] + [
        value for key, value in found.items() if all(key not in board.metrics for board in boards[:1])
    ]


def settings(record: Record) -> list[tuple[str, Any]]:
    """Sections of "how it was made" as nested plain data; long lists are counted, they are in the record file."""
    dump = record.model_dump(mode="json")
    layers = dump["method"].pop("layers")
    if layers is not None:
        dump["method"]["layers"] = f"{len(layers)} (listed in the record)"
    for key in ("step_ms", "baseline_step_ms"):
        if dump["latency"] and dump["latency"].get(key):
            dump["latency"][key].pop("values")
    return [
        (name, _without_reasoned_nulls(value))
        for name, value in dump.items()
        if isinstance(value, dict) and name != "scores"
    ]


def _without_reasoned_nulls(section: dict[str, Any]) -> dict[str, Any]:
    """A section that has a reason for what is missing, without what is missing."""
    return {key: value for key, value in section.items() if value is not None} if "reason" in section else section


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _unique(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(text for text in texts if text))
