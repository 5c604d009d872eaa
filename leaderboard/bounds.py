"""What numbers of a record can be: the range of each score, sizes against each other, times, dates, magnitudes.

Rules like those of `admbench.leaderboard.consistency`, which runs both: a function from a record to (key path, message)
pairs, each message with the value that was found and what was expected.

What a stage took is not held against how long the cell took: a cell that was restarted, or that takes its checkpoint
from an earlier attempt, is shorter than its stages.
"""

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from admbench.leaderboard.clips import MAX_CLIPS
from admbench.leaderboard.inference.scores import ScoreKind, score_kind
from admbench.leaderboard.record import Record, Score, Size, Timing

Problem = tuple[str, str]

LARGEST = 1e15
"""No score, and no bound of one, is beyond this: Frechet distances of unscaled embeddings are below 1e9."""
SMALLEST = 1e-150
"""Nor nearer to zero than this without being zero, so that its square and quotients are numbers."""
ROUNDING = 1e-6
"""By how much a number may have left its range: the cosine of equal vectors may be 1 + 1e-7."""
FIRST_YEAR = 2020
"""No record is older than this."""
AHEAD = timedelta(days=1)
"""By how much a clock may be ahead of ours."""
FLOAT_BYTES = 4
"""Of a parameter in fp32."""
HEADER_BYTES, HEADER_BYTES_OF_LAYER, HEADER_SHARE = 2**18, 2**13, 0.1
"""Of a checkpoint, beyond its tensors, at most: two headers, what they say of each layer, and a share of the whole."""
MOST_BUFFERS = 0.5
"""Of a network in fp32, as a share of the bytes of its parameters."""


def _ranges(record: Record) -> Iterator[Problem]:
    """A score lies in its range (FD, KL and LMD at least 0, CLAP in [-1, 1], IS at least 1, CAS in [0, 1]); so does its
    interval, and full precision's own score, which follows from the difference. Which way is better is as it is known.

    Intervals are held to it since schema version 2.
    """
    for key, score in record.scores.items():
        for name, message in range_problems(key, score, intervals=record.schema_version >= 2):
            yield f"scores.{key}.{name}", message


def range_problems(key: str, score: Score, *, intervals: bool = True) -> Iterator[Problem]:
    """Yield where a score leaves its range, by the names of its own keys; nothing of a metric that is not known."""
    kind = score_kind(key)
    if kind is not None and score.value is not None:
        yield from _range(kind, score, intervals=intervals)


def _range(kind: ScoreKind, score: Score, *, intervals: bool) -> Iterator[Problem]:
    assert score.value is not None
    expected = _expected(kind)
    if not _within(kind, score.value):
        yield "value", f"{score.value:g} is outside of the score's range; expected {expected}"
        return
    if intervals and score.ci95 is not None and not all(_within(kind, bound) for bound in score.ci95):
        yield "ci95", f"[{score.ci95[0]:g}, {score.ci95[1]:g}] leaves the score's range; expected {expected}"
    if score.higher_is_better is not None and score.higher_is_better is not kind.higher_is_better:
        yield "higher_is_better", f"expected {str(kind.higher_is_better).lower()} for this score"
    difference = score.difference
    if difference is None or difference.value is None:
        return
    full = score.value - difference.value
    if not _within(kind, full, slack=abs(score.value) + abs(difference.value)):
        own = f"full precision's own score at {full:g}"
        yield "difference.value", f"{difference.value:g} puts {own}; expected {expected}"
    reach = kind.high - kind.low
    if intervals and difference.ci95 is not None and max(map(abs, difference.ci95)) > reach + ROUNDING:
        shown = f"[{difference.ci95[0]:g}, {difference.ci95[1]:g}]"
        yield "difference.ci95", f"{shown} is longer than two scores can differ by; expected at most {reach:g}"


def _within(kind: ScoreKind, value: float, slack: float = 0.0) -> bool:
    rounding = ROUNDING * (1 + slack)
    return kind.low - rounding <= value <= kind.high + rounding


def _expected(kind: ScoreKind) -> str:
    if math.isfinite(kind.low) and math.isfinite(kind.high):
        return f"{kind.low:g} to {kind.high:g}"
    return f"at least {kind.low:g}" if math.isfinite(kind.low) else f"at most {kind.high:g}"


def _magnitudes(record: Record) -> Iterator[Problem]:
    """No score, interval or difference is beyond 1e15, nor nearer to 0 than 1e-150 without being 0."""
    for key, score in record.scores.items():
        for name, message in magnitude_problems(score):
            yield f"scores.{key}.{name}", message


def magnitude_problems(score: Score) -> Iterator[Problem]:
    """Yield the numbers of a score that are no measurements, by the names of its own keys."""
    numbers: dict[str, Sequence[float | None]] = {"value": [score.value], "ci95": score.ci95 or []}
    if score.difference is not None:
        numbers |= {"difference.value": [score.difference.value], "difference.ci95": score.difference.ci95 or []}
    for name, values in numbers.items():
        for value in values:
            if value and not SMALLEST <= abs(value) <= LARGEST:
                yield name, f"{value:g} is no measurement; expected 0, or a size from {SMALLEST:g} to {LARGEST:g}"


def _settings(record: Record) -> Iterator[Problem]:
    """Sampling is possible: 1 to 100,000 steps, clips of up to an hour at 1 to 384 kHz; no suite has above 100,000
    captions."""
    generation = record.generation
    if record.suite.n is not None and record.suite.n > MAX_CLIPS:
        yield "suite.n", f"{record.suite.n} captions; expected at most {MAX_CLIPS}"
    if generation is None:
        return
    limits = {
        "steps": (1, 100_000),
        "guidance": (-1000, 1000),
        "batch_size": (1, MAX_CLIPS),
        "sample_rate": (1000, 384_000),
        "seconds": (0, 3600),
    }
    for key, (low, high) in limits.items():
        value = getattr(generation, key)
        if not low <= value <= high:
            yield f"generation.{key}", f"{value:g}; expected {low} to {high}"


def _sizes(record: Record) -> Iterator[Problem]:
    """Bytes agree with each other: the packed checkpoint is the sum of its components, the pipeline in fp32 differs
    from the quantized one by these alone; and with the parameters, where the backbone alone is quantized: 4 bytes for
    each in fp32, and the effective bits for each in the checkpoint."""
    size = record.size
    if size is None:
        return
    yield from _component_sum(size, record.method.components)
    if size.pipeline is not None and size.baseline_bytes is not None and size.checkpoint_bytes is not None:
        rest = size.pipeline.bytes - size.checkpoint_bytes
        if rest < 0 or rest != size.pipeline.baseline_bytes - size.baseline_bytes:
            expected = f"size.baseline_bytes and the {rest} bytes that are not quantized"
            yield "size.pipeline.baseline_bytes", f"{size.pipeline.baseline_bytes}; expected {expected}"
    parameters = record.model.parameters
    if parameters is None or record.method.components != ["backbone"]:
        return
    if size.baseline_bytes is not None:
        least, most = FLOAT_BYTES * parameters, FLOAT_BYTES * parameters * (1 + MOST_BUFFERS) + HEADER_BYTES
        if not least <= size.baseline_bytes <= most:
            expected = f"{least} for the {parameters} parameters in fp32, and little more"
            yield "size.baseline_bytes", f"{size.baseline_bytes}; expected {expected}"
    if size.effective_bits_per_weight is not None and size.checkpoint_bytes is not None:
        tensors = size.effective_bits_per_weight * parameters / 8
        headers = HEADER_BYTES + HEADER_BYTES_OF_LAYER * len(record.method.layers or ())
        if not tensors - 1 <= size.checkpoint_bytes <= (tensors + headers) / (1 - HEADER_SHARE):
            expected = f"those of {size.checkpoint_bytes} bytes over {parameters} parameters, headers left out"
            yield "size.effective_bits_per_weight", f"{size.effective_bits_per_weight:g}; expected {expected}"


def _component_sum(size: Size, quantized: list[str] | None) -> Iterator[Problem]:
    if size.components is None or quantized is None or size.checkpoint_bytes is None:
        return
    lacking = [name for name in quantized if name not in size.components]
    if lacking:
        yield "size.components", f"{lacking[0]} is quantized and has no bytes here"
        return
    whole = sum(size.components[name] for name in quantized)
    if whole != size.checkpoint_bytes:
        yield "size.checkpoint_bytes", f"{size.checkpoint_bytes}; expected the bytes of {'+'.join(quantized)}, {whole}"


def _medians(record: Record) -> Iterator[Problem]:
    """The median of a timing is that of its values."""
    for key in ("step_ms", "baseline_step_ms"):
        timing: Timing | None = getattr(record.latency, key, None)
        if timing is not None and not math.isclose(statistics.median(timing.values), timing.median, rel_tol=1e-3):
            expected = f"{statistics.median(timing.values):g}, the median of the values"
            yield f"latency.{key}.median", f"{timing.median:g}; expected {expected}"


def _dates(record: Record) -> Iterator[Problem]:
    """A cell started after 2020, and ended before now, or a day from now by a clock that is ahead."""
    if record.provenance is None:
        return
    started = datetime.fromisoformat(record.provenance.started)
    now = datetime.now(UTC)
    if not FIRST_YEAR <= started.year <= now.year + 1:  # before any arithmetic, which has no year 10000
        yield "provenance.started", f"{record.provenance.started}; expected a time from {FIRST_YEAR} to now"
        return
    if started > now + AHEAD:
        yield "provenance.started", f"{record.provenance.started} is in the future"
    elif started + timedelta(seconds=record.provenance.seconds) > now + AHEAD:
        yield "provenance.seconds", f"{record.provenance.seconds:g}: the cell would have ended in the future"


RULES: tuple[Callable[[Record], Iterator[Problem]], ...] = (
    _ranges,
    _magnitudes,
    _settings,
    _sizes,
    _medians,
    _dates,
)
