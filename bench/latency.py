"""One model and one method, from loading to the `latency` section: what `bench latency` and the API do."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from admcore.errors import UsageError
from bench import environment
from bench.measurement.latency import (
    BASELINE,
    PIPELINE_STEPS,
    Settings,
    cost_of_step,
    process_memory,
    time_pipeline,
    time_steps,
)
from bench.pipeline import BACKBONE, quantize_components
from methods import from_spec
from methods.base import CalibratedConfig
from methods.core.layers import quantized_layers
from methods.kernels import with_kernels
from methods.spec import MethodSpec

if TYPE_CHECKING:
    from torch import nn

    from bench.models.base import AudioDiffusionModel

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
        baselines: specs to time beside it, with kernels where they have them; `fp32` is timed in any case.
        settings: batch, repetitions, threads; None is a call of two rows on all cores.
        steps: denoising steps of the pipeline that is timed as a whole; None is 25, or fewer where `TIME_LIMIT` asks.
        started: `time.perf_counter()` that the limit counts from; None is now.

    Returns:
        The `latency` section of a record; docs/latency.md says what is in it.

    Raises:
        BenchError: a spec is not valid, or the model cannot be quantized by it or is quantized already.
    """
    started = time.perf_counter() if started is None else started
    settings = settings or Settings(threads=environment.cores())
    if quantized_layers(model.backbone):
        raise UsageError(f"{model.name}: its backbone is quantized already; expected one in full precision")
    quantized, ranges = _quick_backbone(model, method)
    others = {spec: with_kernels(_quick_backbone(model, spec)[0]).module for spec in baselines if spec != BASELINE}
    limit = TIME_LIMIT - (time.perf_counter() - started)
    kernelled = with_kernels(quantized, str(model.device.type))
    section = time_steps(model, kernelled, replace(settings, limit_seconds=0.6 * limit), others)
    others.clear()
    section |= {"method": method, "ranges": ranges, "cost": cost_of_step(model, quantized, kernelled, settings.batch)}
    if kernelled.kernels:
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
        "memory": process_memory(),
        "environment": environment.describe(str(model.device.type), settings.threads),
        "model": {"name": model.name, "random_weights": model.random_weights, "seconds": model.seconds},
        "seconds": time.perf_counter() - started,
    }
    return section


def _quick_backbone(model: AudioDiffusionModel, text: str) -> tuple[nn.Module, str]:
    """Quantize with a calibration set that is quick to draw; also say how ranges were found."""
    spec = MethodSpec.parse(text)
    if isinstance(from_spec(spec).config, CalibratedConfig):
        spec = replace(spec, options={**_QUICK, **spec.options})
    quantized, calibration = quantize_components(model, str(spec))[BACKBONE]
    if calibration is None:
        return quantized.module, "none are needed"
    weights = "random" if model.random_weights else "trained"
    recipe, count = calibration.recipe, len(calibration)
    drawn = f"{recipe['timesteps']} of {recipe['steps']} steps, {recipe['prompts']} captions"
    return quantized.module, f"{count} samples of {drawn}, {weights} weights"
