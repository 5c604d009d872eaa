"""One model and one method, from loading to the `latency` section: what `bench latency` and the API do."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from admbench.bench.measurement import environment
from admbench.bench.measurement.alone import measured_alone
from admbench.bench.measurement.cost import LayerCost, cost_section
from admbench.bench.measurement.engines import ENGINES, EngineBackbone, recorded_call
from admbench.bench.measurement.engines.base import PositionalBackbone
from admbench.bench.measurement.latency import (
    BASELINE,
    METHOD,
    PIPELINE_STEPS,
    Settings,
    cost_of_step,
    float_bits_in,
    kernels_in,
    process_memory,
    profile_of_step,
    roofline_of_step,
    schemes_in,
    step_inputs,
    time_pipeline,
    time_steps,
)
from admbench.bench.measurement.timing import threads
from admbench.bench.models.quantization import BACKBONE, quantize_components
from admbench.errors import UsageError
from admbench.methods import from_spec
from admbench.methods.base import CalibratedConfig
from admbench.methods.core.checkpoint.third_party import third_party_layers
from admbench.methods.core.kernels import WithKernels
from admbench.methods.core.layers.quantized import quantized_layers
from admbench.methods.spec import MethodSpec

if TYPE_CHECKING:
    from torch import nn

    from admbench.bench.models.base import AudioDiffusionModel
    from admbench.methods.core.backbone import QuantizedBackbone

DEFAULT_BASELINES = ("bf16",)
"""Timed beside the method and fp32, which is always timed."""
TIME_LIMIT = 150.0
"""Seconds after which no further repetition is begun, and that the pipeline's steps are chosen to keep."""
_QUICK = {"prompts": "2", "timesteps": "1", "steps": "2"}
"""Calibration: the ranges of activations do not change how long a kernel takes. Two captions at the very step that is
timed: without training, later steps have latents of another size."""


def measure_latency(
    model: AudioDiffusionModel,
    method: str,
    *,
    baselines: Sequence[str] = DEFAULT_BASELINES,
    settings: Settings | None = None,
    steps: int | None = None,
    started: float | None = None,
) -> dict[str, Any]:
    """Quantize a model cheaply, put kernels in, and time them beside floating point.

    Args:
        model: in full precision; left as it is.
        method: spec of what is measured. Unless it says otherwise, a method with a calibration set draws it from two
            steps of one caption.
        baselines: specs to time beside it, with kernels where they have them, and names of `engines.ENGINES`;
            `fp32` is timed in any case.
        settings: batch, repetitions, threads; None is a call of two rows on as many cores as it is fastest with.
        steps: denoising steps of the pipeline that is timed as a whole; None is 25, or fewer where `TIME_LIMIT` asks.
        started: `time.perf_counter()` that the limit counts from; None is now.

    Returns:
        The `latency` section of a record; docs/latency.md says what is in it.

    Raises:
        BenchError: a spec is not valid, or the model cannot be quantized by it or is quantized already.
    """
    started = time.perf_counter() if started is None else started
    settings = settings or Settings(threads=environment.cores(), choose_threads=True)
    if quantized_layers(model.backbone) or third_party_layers(model.backbone):
        raise UsageError(f"{model.name}: its backbone is quantized already; expected one in full precision")
    quantized, ranges = _quick_backbone(model, method)
    began, building = started, time.perf_counter()
    engines = _built_engines(model, quantized.module, [name for name in baselines if name in ENGINES], settings)
    started += time.perf_counter() - building  # no limit is meant for what engines take to build
    others = {
        spec: kernels_in(model, _quick_backbone(model, spec)[0].module).module
        for spec in baselines
        if spec != BASELINE and spec not in ENGINES
    }
    others |= {name: engine.backbone for name, engine in engines.items() if engine.backbone is not None}
    limit = TIME_LIMIT - (time.perf_counter() - started)
    schemes, float_bits = schemes_in(quantized.module), float_bits_in(quantized.module)
    kernelled = kernels_in(model, quantized.module, settings.unpack)
    section = time_steps(model, kernelled, replace(settings, limit_seconds=0.6 * limit), others)
    for name, engine in engines.items():
        section["baselines"].setdefault(name, {}).update(engine.said)
    others.clear()
    costs = cost_of_step(model, schemes, dict(kernelled.chosen), settings.batch, float_bits)
    section |= {"method": method, "ranges": ranges, "unpack": settings.unpack, "cost": cost_section(costs)}
    if kernelled.kernels:
        settings = replace(settings, threads=most_used_threads(section))
        section |= _more(model, quantized, kernelled, costs, settings)
        left = TIME_LIMIT - (time.perf_counter() - started)
        # One clip with guidance: two rows. A clip's decoding, not known yet, may take as long as its denoising.
        fitting = int(left / 2 / (section["step_ms"]["median"] / 1e3 * 2 / settings.batch))
        pipeline = time_pipeline(
            model,
            kernelled.module,
            steps=max(1, min(PIPELINE_STEPS, fitting)) if steps is None else steps,
            thread_count=settings.threads,
        )
        section |= {"real_time_factor": pipeline.pop("real_time_factor"), "pipeline": pipeline}
    section |= {
        "memory": process_memory() | ({"alone": section.pop("alone")} if "alone" in section else {}),
        "environment": environment.describe(str(model.device.type), section["threads"]),
        "model": {"name": model.name, "random_weights": model.random_weights, "seconds": model.seconds},
        "seconds": time.perf_counter() - began,
    }
    return section


def most_used_threads(section: dict[str, Any]) -> int:
    """Return the threads that the kernels had in most of the rounds."""
    return int(next(iter(section.get("threads_used", {}).get(METHOD, {})), section["threads"]))


@dataclass(frozen=True)
class _Built:
    """What became of an engine: a backbone or None, and what the record says of it."""

    backbone: nn.Module | None
    said: dict[str, Any]


def _built_engines(
    model: AudioDiffusionModel, quantized: nn.Module, names: Sequence[str], settings: Settings
) -> dict[str, _Built]:
    """Build engines from the backbone that each takes; one that is not there or fails is left out, with the reason."""
    if not names:
        return {}
    inputs = step_inputs(model, settings.batch)
    network = recorded_call(model.backbone, lambda: model.call_backbone(inputs))
    built = {}
    for name in names:
        engine = ENGINES[name]
        reason = engine.missing()
        before = time.perf_counter()
        if reason is None:
            try:
                with threads(settings.threads):
                    taken = PositionalBackbone(quantized, network.call) if engine.takes_method else network
                    run = engine.build(taken, network.example, settings.threads)
                said: dict[str, Any] = {"compile_seconds": time.perf_counter() - before, "engine": engine.summary}
                built[name] = _Built(EngineBackbone(run), said)
                continue
            except Exception as error:  # whatever a compiler stumbles over is a reason, not a failure of the run
                reason = f"{type(error).__name__}: {(str(error).strip().splitlines() or ['no message'])[0][:200]}"
        built[name] = _Built(None, {"reason": reason, "engine": engine.summary})
    return built


def _more(
    model: AudioDiffusionModel,
    quantized: QuantizedBackbone,
    kernelled: WithKernels,
    costs: list[LayerCost],
    settings: Settings,
) -> dict[str, Any]:
    """Measure what was asked for beyond time."""
    more: dict[str, Any] = {}
    if settings.profile:
        more["profile"] = profile_of_step(model, kernelled.module, settings)
    if settings.roofline:
        more["roofline"] = roofline_of_step(model, quantized.module, costs, settings)
    if settings.alone:
        inputs = step_inputs(model, settings.batch)
        call = recorded_call(model.backbone, lambda: model.call_backbone(inputs)).call
        more["alone"] = measured_alone(quantized, call, settings.unpack, settings.threads)
    return more


def _quick_backbone(model: AudioDiffusionModel, text: str) -> tuple[QuantizedBackbone, str]:
    """Quantize with a calibration set that is quick to draw; also say how ranges were found."""
    spec = MethodSpec.parse(text)
    if isinstance(from_spec(spec).config, CalibratedConfig):
        spec = replace(spec, options={**_QUICK, **spec.options})
    quantized, calibration = quantize_components(model, spec)[BACKBONE]
    if calibration is None:
        return quantized, "none are needed"
    weights = "random" if model.random_weights else "trained"
    recipe, count = calibration.recipe, len(calibration)
    drawn = f"{recipe['timesteps']} of {recipe['steps']} steps, {recipe['prompts']} captions"
    return quantized, f"{count} samples of {drawn}, {weights} weights"
