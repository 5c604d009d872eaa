"""What must hold between the keys of a record, beyond their types: every rule in one place, each with its message.

A rule is a function from a record to (key path, message) pairs; `problems` runs them all.
"""

import math
import re
from collections.abc import Callable, Iterator

from admbench.leaderboard import bounds
from admbench.leaderboard.record import Latency, Record, Score

Problem = tuple[str, str]

# What a cell that is done knows, whatever its method.
_KNOWN_WHEN_DONE = (
    ("model", ("source", "weights_sha256", "parameters", "random_weights")),
    ("method", ("version", "bits", "config", "components", "simulated", "layers")),
    ("suite", ("sha256", "n")),
)
_KNOWN_SINCE_2 = (("method", ("track", "family")),)
MOST_BITS = 32
"""Of a weight or an input that a step computes with."""
_SECTIONS_WHEN_DONE = ("size", "latency", "memory", "environment", "provenance")

_SPEC_BITS = re.compile(r"@w(\d+)a(\d+)(?:\[|$)")


def problems(record: Record) -> list[Problem]:
    """All violations, in the order of the rules below; empty for a consistent record."""
    return [problem for rule in RULES for problem in rule(record)]


def score_problems(key: str, score: Score) -> Iterator[Problem]:
    """Yield what is wrong with a score of today's schema by itself, whatever record it is in; none if it is missing."""
    yield from _score(score)
    if score.value is not None:
        yield from _about(key, score)
    yield from bounds.range_problems(key, score)
    yield from bounds.magnitude_problems(score)


def _status(record: Record) -> Iterator[Problem]:
    """A cell that is done lacks nothing and has no reason; one that failed or was skipped has a reason and no score."""
    if record.status != "done" and record.reason is None:
        yield "reason", f"a cell that is {record.status} needs a reason"
    if record.status == "done" and record.reason is not None:
        yield "reason", "a cell that is done has no reason; expected null"
    if record.status == "done":
        for section, keys in (*_KNOWN_WHEN_DONE, *(_KNOWN_SINCE_2 if record.schema_version >= 2 else ())):
            for key in keys:
                if getattr(getattr(record, section), key) is None:
                    yield f"{section}.{key}", "a cell that is done needs this; found null"
        for section in _SECTIONS_WHEN_DONE:
            if getattr(record, section) is None:
                yield section, "a cell that is done needs this section; found null"
    else:
        for key, score in record.scores.items():
            if score.value is not None:
                yield f"scores.{key}.value", f"a {record.status} cell has no scores; expected null with a reason"


def _spec(record: Record) -> Iterator[Problem]:
    """`method.spec` begins with `method.name`, and the bits it states are those of `method.bits`."""
    method = record.method
    if re.split(r"[@\[]", method.spec)[0] != method.name:
        yield "method.spec", f'expected the spec of method "{method.name}", found "{method.spec}"'
    written = _SPEC_BITS.search(method.spec)
    if written and method.bits is not None:
        found = (method.bits.weight, method.bits.activation)
        if found != (int(written[1]), int(written[2])):
            yield "method.bits", f"weight {found[0]} and activation {found[1]} contradict the spec {method.spec}"


def _scores(record: Record) -> Iterator[Problem]:
    """A score has n, says which way is better, and its interval contains its value; what is missing has a reason.

    Scores against the baseline, and only those, have keys that end in `_vs_baseline`; `difference.significant` says
    that the interval of the difference does not hold zero; no score has more clips than the suite has captions.
    """
    for key, score in record.scores.items():
        for name, message in _score(score):
            yield f"scores.{key}.{name}", message
        if score.value is None:
            continue
        for name, message in _about(key, score):
            if name != "version" or record.schema_version >= 2:
                yield f"scores.{key}.{name}", message
        if record.audio is None or record.generation is None:
            yield f"scores.{key}.value", "a score needs audio: the sections generation and audio are null"
        if score.n is not None and record.suite.n is not None and score.n > record.suite.n:
            yield f"scores.{key}.n", f"{score.n} clips, but the suite has {record.suite.n} captions"


def _about(key: str, score: Score) -> Iterator[Problem]:
    if score.version is None:
        yield "version", "a score needs the version of its metric"
    if key.endswith("_vs_baseline") != (score.against == "baseline"):
        yield "against", "against the baseline if, and only if, the key ends in _vs_baseline"


def _score(score: Score) -> Iterator[Problem]:
    yield from _estimate(score.value, score.ci95, score.reason)
    if score.value is not None:
        if score.n is None:
            yield "n", "a score needs the number of clips it was computed from"
        if score.higher_is_better is None:
            yield "higher_is_better", "a score needs to say which way is better"
    if (score.backbone is None) != (score.backbone_sha256 is None):
        yield "backbone_sha256", "a backbone and the hash of its weights go together"
    if score.difference is not None:
        difference = score.difference
        for name, message in _estimate(difference.value, difference.ci95, difference.reason):
            yield f"difference.{name}", message
        if difference.ci95 is not None:
            apart = not difference.ci95[0] <= 0 <= difference.ci95[1]
            if difference.significant is not apart:
                where = "does not hold" if apart else "holds"
                yield "difference.significant", f"expected {str(apart).lower()}: the interval {where} zero"


def _estimate(value: float | None, ci95: list[float] | None, reason: str | None) -> Iterator[Problem]:
    if value is None:
        if reason is None:
            yield "reason", "a missing value needs a reason"
        if ci95 is not None:
            yield "ci95", "an interval without a value"
    elif ci95 is None:
        if reason is None:
            yield "reason", "a value without an interval needs a reason"
    elif ci95[0] > ci95[1]:
        yield "ci95", f"the lower bound {ci95[0]:g} is above the upper bound {ci95[1]:g}"
    elif not ci95[0] <= value <= ci95[1]:
        yield "ci95", f"[{ci95[0]:g}, {ci95[1]:g}] does not contain the value {value:g}"


def _audio(record: Record) -> Iterator[Problem]:
    """There is one clip per caption, and no more bad clips than clips."""
    if record.audio is None:
        return
    for key in ("silent", "clipped", "too_short", "nan"):
        count = getattr(record.audio, key)
        if count > record.audio.clips:
            yield f"audio.{key}", f"{count} of {record.audio.clips} clips"
    if (cut := record.audio.captions_cut) is not None and not len(cut.first) <= cut.n <= record.audio.clips:
        yield "audio.captions_cut", f"{cut.n} of {record.audio.clips} captions, {len(cut.first)} of them by name"
    if record.status == "done" and record.suite.n is not None and record.audio.clips != record.suite.n:
        yield "audio.clips", f"{record.audio.clips} clips for {record.suite.n} captions"


def _size(record: Record) -> Iterator[Problem]:
    """`size.reduction` is 1 - checkpoint_bytes / baseline_bytes; a missing size has a reason.

    `size.pipeline.bytes` is the sum of `size.components`, and `size.pipeline.reduction` follows like the other.
    """
    size = record.size
    if size is None:
        return
    if None in (size.checkpoint_bytes, size.baseline_bytes, size.reduction) and size.reason is None:
        yield "size.reason", "a missing value needs a reason"
    if record.schema_version >= 2 and size.checkpoint_bytes is not None and size.effective_bits_per_weight is None:
        yield "size.effective_bits_per_weight", "a checkpoint that was written has its bits a weight; found null"
    if size.checkpoint_bytes is not None and size.baseline_bytes is not None and size.reduction is not None:
        expected = 1 - size.checkpoint_bytes / size.baseline_bytes
        if not math.isclose(size.reduction, expected, abs_tol=5e-4):
            formula = f"1 - checkpoint_bytes / baseline_bytes = {expected:.4f}"
            yield "size.reduction", f"expected {formula}, found {size.reduction:g}"
    if size.pipeline is not None:
        whole = size.pipeline
        if size.components is not None and whole.bytes != sum(size.components.values()):
            yield "size.pipeline.bytes", f"expected the sum of the components, {sum(size.components.values())}"
        expected = 1 - whole.bytes / whole.baseline_bytes
        if not math.isclose(whole.reduction, expected, abs_tol=5e-4):
            yield "size.pipeline.reduction", f"expected 1 - bytes / baseline_bytes = {expected:.4f}"


def _latency(record: Record) -> Iterator[Problem]:
    """Without a kernel there is a reason and no number, but full precision's time where nothing is quantized; for
    simulated quantization the reason is `simulated`.

    Percentiles are in order, and `speedup` is the quotient of the medians. A roofline has no reason to be missing. A
    multiplication of the cost is of 1 to 1,024 bit operations.
    """
    latency = record.latency
    if latency is None:
        return
    if record.method.simulated and (latency.kernel is not None or latency.reason != "simulated"):
        yield "latency.kernel", 'simulated quantization has no kernel: expected null with the reason "simulated"'
    if latency.kernel is None:
        if latency.reason is None:
            yield "latency.reason", "a missing value needs a reason"
        for key in ("layers", "step_ms", "baseline_step_ms", "speedup", "real_time_factor"):
            of_full_precision = key == "baseline_step_ms" and not record.method.layers and not record.method.simulated
            if getattr(latency, key) is not None and not of_full_precision:
                yield f"latency.{key}", "no kernel ran, so there is nothing to report; expected null"
    elif latency.step_ms is None:
        yield "latency.step_ms", "a kernel ran, so its time is needed"
    if latency.roofline is not None and latency.roofline_reason is not None:
        yield "latency.roofline_reason", "a roofline beside the reason that there is none; expected one of the two"
    cost = latency.cost
    if cost and cost.flops and cost.bit_operations and not 1 <= 2 * cost.bit_operations / cost.flops <= MOST_BITS**2:
        yield "latency.cost.bit_operations", f"expected 1 to {MOST_BITS**2} for each of {cost.flops // 2} products"
    yield from _timings(latency)


def _timings(latency: Latency) -> Iterator[Problem]:
    for key in ("step_ms", "baseline_step_ms"):
        timing = getattr(latency, key)
        if timing is None:
            continue
        ordered = [min(timing.values), timing.p10, timing.median, timing.p90, max(timing.values)]
        if ordered != sorted(ordered):
            yield f"latency.{key}", "expected min(values) <= p10 <= median <= p90 <= max(values)"
    if latency.speedup is not None and latency.step_ms is not None and latency.baseline_step_ms is not None:
        expected = latency.baseline_step_ms.median / latency.step_ms.median
        if not math.isclose(latency.speedup, expected, rel_tol=5e-3):
            yield "latency.speedup", f"expected the quotient of the medians = {expected:.3f}, found {latency.speedup:g}"


def _memory(record: Record) -> Iterator[Problem]:
    """A missing peak has a reason."""
    if record.memory is not None and record.memory.peak_bytes is None and record.memory.reason is None:
        yield "memory.reason", "a missing value needs a reason"


RULES: tuple[Callable[[Record], Iterator[Problem]], ...] = (
    _status,
    _spec,
    _scores,
    _audio,
    _size,
    _latency,
    _memory,
    *bounds.RULES,
)
