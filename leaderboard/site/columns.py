"""What a cell shows beside its scores: a column a fact of its record, as a number or in words, or why there is none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from admbench.leaderboard.identity import machine
from admbench.leaderboard.inference.sentences import measured
from admbench.leaderboard.record import FULL_PRECISION, Record
from admbench.leaderboard.site.numbers import decimals, fixed
from admbench.leaderboard.states import MEANING
from admbench.leaderboard.view import ViewRow, bits_per_weight
from admbench.leaderboard.view_words import NO_WORSE_BY, short_verdict

BUSY_CORES = 0.2
"""Other work on more cores than this while a step was timed, and the time is marked."""
DASH = "\N{EN DASH}"
TONES = {"no worse": "good", "worse": "bad", "cannot be told": "open"}
"""Of the words of a verdict."""


@dataclass(frozen=True, slots=True)
class Value:
    """What one cell has in one column."""

    number: float | None = None
    """In the unit of the column; None of a column of words, and where it is missing."""
    text: str = ""
    """Of a column of words."""
    note: str = ""
    """What has to be said beside it."""
    tone: str = ""
    """good | bad | open | busy | warn"""
    missing: str = ""
    """Why there is neither."""


@dataclass(frozen=True)
class Column:
    """A fact that cells have."""

    key: str
    label: str
    detail: str
    meaning: str
    of: Callable[[ViewRow], Value]
    better: str = ""
    """lower | higher, or neither."""
    unit: str = ""
    shown: bool = False
    """Whether the front page shows it unless asked otherwise."""
    places: int = 2
    """Decimals, one count for the whole column."""

    def __reduce__(self) -> tuple[Callable[[str, int], Column], tuple[str, int]]:
        """Go to another process by the key, as no function of a function can."""
        return _again, (self.key, self.places)


def _again(key: str, places: int) -> Column:
    return replace(next(column for column in _COLUMNS if column.key == key), places=places)


def columns_of(cells: Sequence[ViewRow]) -> list[Column]:
    """Return the columns that some cell fills, each with the decimals that its numbers need."""
    found = []
    for column in _COLUMNS:
        values = [column.of(own) for own in cells]
        numbers = [value.number for value in values if value.number is not None]
        if column.shown or numbers or any(value.text for value in values):
            found.append(replace(column, places=_places(numbers)))
    return found


def _places(numbers: Sequence[float]) -> int:
    """Return the decimals of a column: none where it counts."""
    return 0 if all(float(number).is_integer() for number in numbers) else decimals(numbers)


def words(column: Column, value: Value) -> str:
    """Return a value as it stands on the page, without its reason where it is missing."""
    if value.number is None:
        return value.text or DASH
    return f"{fixed(value.number, column.places)}{column.unit}"


def span(column: Column, values: Sequence[Value]) -> str:
    """Return the values of one method on several models as one text: a number, a span, or words, each once.

    The page's script says the same of the models that are chosen (front.js, `span`).
    """
    numbers = [value.number for value in values if value.number is not None]
    if not numbers:
        texts = list(dict.fromkeys(value.text for value in values if value.text))
        return ", ".join(texts) or DASH
    low, high = fixed(min(numbers), column.places), fixed(max(numbers), column.places)
    return f"{low if low == high else f'{low}{DASH}{high}'}{column.unit}"


def is_busy(record: Record) -> bool | None:
    """Return whether other work ran beside a timing; None where nothing was timed or the record does not say."""
    latency = record.latency
    timed = latency is not None and (latency.step_ms or latency.baseline_step_ms)
    load = (latency.model_extra or {}).get("other_load") if latency is not None and timed else None
    return load > BUSY_CORES if isinstance(load, int | float) else None


def kernels(record: Record) -> str:
    """Return how a step was computed: `real`, `simulated`, or `none` of what has no integers."""
    if record.latency is not None and record.latency.kernel is not None:
        return "real"
    return "simulated" if record.method.simulated else "none"


def width(record: Record) -> str:
    """Return the nominal bits of weights and activations: `W4A8`, `W4` where activations are left alone, `fp32`."""
    bits = record.method.bits
    if bits is None or bits.weight is None:
        return record.method.name
    return f"W{bits.weight}" + (f"A{bits.activation}" if bits.activation and bits.activation < 16 else "")


def _bits(own: ViewRow) -> Value:
    return _number(bits_per_weight(own.record), "the record does not say")


def _megabytes(own: ViewRow) -> Value:
    size = own.record.size
    return _number(size.checkpoint_bytes if size else None, (size and size.reason) or "no checkpoint", 1e-6)


def _speedup(own: ViewRow) -> Value:
    latency = own.record.latency
    if latency is None or latency.speedup is None:
        return Value(missing=_untimed(own))
    if latency.step_ms is None or latency.baseline_step_ms is None:
        return Value(latency.speedup)
    step, full = latency.step_ms.median, latency.baseline_step_ms.median
    note = f"{latency.kernel}: {step:.3g} ms a step, fp32 {full:.3g} ms"
    return _timed(Value(latency.speedup, note=note), own.record)


def _step(own: ViewRow) -> Value:
    latency = own.record.latency
    if latency is None or latency.step_ms is None:
        return Value(missing=_untimed(own))
    step = latency.step_ms
    return _timed(Value(step.median, note=f"10 to 90 %: {step.p10:.3g} to {step.p90:.3g} ms"), own.record)


def _full_step(own: ViewRow) -> Value:
    latency = own.record.latency
    if latency is None or latency.baseline_step_ms is None:
        return Value(missing=_untimed(own))
    step = latency.baseline_step_ms
    return _timed(Value(step.median, note=f"10 to 90 %: {step.p10:.3g} to {step.p90:.3g} ms"), own.record)


def _timed(value: Value, record: Record) -> Value:
    """Mark a time that was taken while other work ran."""
    if not is_busy(record):
        return value
    load = (record.latency.model_extra or {})["other_load"] if record.latency else 0
    cores = f"{load:.2g} core{'' if f'{load:.2g}' == '1' else 's'}"
    return replace(value, note=f"{value.note}; other work on {cores} ran beside it", tone="busy")


def _untimed(own: ViewRow) -> str:
    if own.spec == FULL_PRECISION:
        return "see fp32 step"
    latency = own.record.latency
    return (latency and latency.reason) or "not measured"


def _verdict(own: ViewRow) -> Value:
    if own.spec == FULL_PRECISION:
        return Value(missing="this is full precision")
    verdict = own.verdicts.get(NO_WORSE_BY)
    if verdict is None:
        return Value(missing=own.missing.get(NO_WORSE_BY) or f"no {NO_WORSE_BY} per caption")
    note = f"{short_verdict(verdict)}: {measured(verdict)}, margin {verdict.margin}"
    return Value(text=verdict.word, note=note, tone=TONES[verdict.word])


def _checked(own: ViewRow) -> Value:
    if own.state is None:
        return Value(missing="no scores")
    return Value(text=own.state, tone={"re-scored": "good", "self-reported": "warn"}.get(own.state, ""))


def _reduction(own: ViewRow) -> Value:
    size = own.record.size
    return _number(size.reduction if size else None, (size and size.reason) or "no checkpoint", 100)


def _pipeline(own: ViewRow) -> Value:
    size = own.record.size
    return _number(size.pipeline.reduction if size and size.pipeline else None, "the record does not say", 100)


def _quantized(own: ViewRow) -> Value:
    size = own.record.size
    return _number(size.quantized_fraction if size else None, "the record does not say", 100)


def _memory(own: ViewRow) -> Value:
    memory = own.record.memory
    value = _number(memory.peak_bytes if memory else None, (memory and memory.reason) or "not measured", 1e-6)
    process = (memory.model_extra or {}).get("process") if memory else None
    return replace(value, note=f"of {process}") if isinstance(process, str) and not value.missing else value


def _inference_memory(own: ViewRow) -> Value:
    found = (own.record.memory.model_extra or {}).get("generation_bytes") if own.record.memory else None
    return _number(found if isinstance(found, int) else None, "the record does not tell it from calibration", 1e-6)


def _weights_in_memory(own: ViewRow) -> Value:
    extra = (own.record.latency.model_extra or {}).get("weight_bytes") if own.record.latency else None
    found = extra.get("kernels") if isinstance(extra, dict) else None
    return _number(found if isinstance(found, int) else None, "no kernels ran", 1e-6)


def _operations(own: ViewRow) -> Value:
    cost = own.record.latency.cost if own.record.latency else None
    return _number(cost.bit_operations if cost else None, "not counted", 1e-9)


def _calibration(own: ViewRow) -> Value:
    calibration = own.record.calibration
    return _number(calibration.seconds if calibration else None, "it needs no calibration set")


def _quantization(own: ViewRow) -> Value:
    return _number(own.record.method.seconds, "the record does not say")


def _clips(own: ViewRow) -> Value:
    counts = {score.n for score in own.record.scores.values() if score.n is not None}
    if not counts:
        return Value(missing="no scores")
    return Value(max(counts), note="" if len(counts) == 1 else f"some scores: {min(counts)}")


def _audio(own: ViewRow) -> Value:
    audio = own.record.audio
    if audio is None:
        return Value(missing="no audio")
    counts = {"silent": audio.silent, "clipped": audio.clipped, "too short": audio.too_short, "NaN": audio.nan}
    counts["of a cut caption"] = audio.captions_cut.n if audio.captions_cut else 0
    bad = {name: number for name, number in counts.items() if number}
    return Value(
        sum(bad.values()),
        note=", ".join(f"{number} {name}" for name, number in bad.items()),
        tone="warn" if bad else "",
    )


def _text(of: Callable[[Record], str | None]) -> Callable[[ViewRow], Value]:
    def value(own: ViewRow) -> Value:
        found = of(own.record)
        return Value(text=found) if found else Value(missing="the record does not say")

    return value


def _draws(own: ViewRow) -> Value:
    return Value(len(own.rows))


def _components(record: Record) -> str:
    return "+".join(record.method.components or ())


def _number(value: float | None, missing: str, scale: float = 1) -> Value:
    return Value(missing=missing) if value is None else Value(value * scale)


_COLUMNS = (
    Column(
        "bits",
        "Bits",
        "a weight, on disk",
        "Bits that a weight takes on disk, on average over all of them, with scales and what stays in floating point.",
        _bits,
        "lower",
        shown=True,
    ),
    Column("size", "MB", "on disk", "Megabytes (10^6) of the packed checkpoint.", _megabytes, "lower", shown=True),
    Column(
        "speedup",
        "Speed",
        "times fp32's",
        "How many steps of this method run while full precision runs one, with real integer kernels on the machine "
        "named; below 1 it is slower. Grey: other work ran beside it.",
        _speedup,
        "higher",
        "\N{MULTIPLICATION SIGN}",
        shown=True,
    ),
    Column(
        "verdict",
        "No worse",
        "than fp32, by FD",
        "Whether FD to real audio is shown to be no worse than full precision's by the margin.",
        _verdict,
        shown=True,
    ),
    Column(
        "checked",
        "Checked",
        "how far",
        " ".join(f"{state}: {meaning}." for state, meaning in MEANING.items()),
        _checked,
        shown=True,
    ),
    Column("reduction", "Smaller by", "than fp32", "1 - bytes / bytes in fp32.", _reduction, "higher", " %"),
    Column("pipeline", "Pipeline", "smaller by", "All components, quantized or not.", _pipeline, "higher", " %"),
    Column("quantized", "Quantized", "of weights", "Share of weights in fewer bits.", _quantized, "", " %"),
    Column("step", "Step", "median", "Time of one denoising step with real kernels.", _step, "lower", " ms"),
    Column(
        "full_step",
        "fp32 step",
        "median, beside it",
        "Time of one denoising step in full precision, measured in the same minute as the method's.",
        _full_step,
        "lower",
        " ms",
    ),
    Column(
        "inference_memory",
        "Memory",
        "to generate and score",
        "Peak memory of the process that loads the packed checkpoint, generates and scores; it calibrates nothing.",
        _inference_memory,
        "lower",
        " MB",
    ),
    Column(
        "memory",
        "Peak memory",
        "of its process",
        "Peak memory of the cell's process. Where that process also calibrated and quantized, it is not what inference "
        "needs: the note beside each number says of what it is.",
        _memory,
        "lower",
        " MB",
    ),
    Column(
        "weights_memory",
        "Weights",
        "in memory, kernels",
        "Megabytes that the backbone's weights take in memory when kernels run.",
        _weights_in_memory,
        "lower",
        " MB",
    ),
    Column(
        "operations",
        "Bit operations",
        "billions a call",
        "Multiplications of the layers in one call of the backbone, each times the bits of its two numbers.",
        _operations,
        "lower",
    ),
    Column(
        "calibration", "Calibration", "of the set", "Time to draw the calibration set.", _calibration, "lower", " s"
    ),
    Column("quantization", "Quantizing", "without the set", "Time to quantize.", _quantization, "lower", " s"),
    Column("n", "n", "clips scored", "Number of clips the scores were computed from.", _clips),
    Column(
        "audio",
        "Faults",
        "of clips",
        "Silent, clipped, too short or non-finite clips; cut captions.",
        _audio,
        "lower",
    ),
    Column("draws", "Draws", "of calibration", "Calibration draws that it was run with.", _draws),
    Column("width", "Width", "nominal", "Bits of weights and activations that the method's name says.", _text(width)),
    Column("family", "Family", "", "What the method does to weights.", _text(lambda record: record.method.family)),
    Column("track", "Track", "", "Whether the network is trained.", _text(lambda record: record.method.track)),
    Column("components", "Components", "quantized", "Components that are quantized.", _text(_components)),
    Column("kernels", "Kernels", "", "Whether integer kernels ran.", _text(kernels)),
    Column("machine", "Machine", "", "Processor and accelerator.", _text(machine)),
)
