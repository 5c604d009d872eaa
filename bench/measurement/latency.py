"""How fast a quantized model is with real integer kernels, beside floating point in the same process."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from admbench.bench.measurement.cost import FLOAT_BITS, LayerCost, layer_costs
from admbench.bench.measurement.engines.base import EngineBackbone
from admbench.bench.measurement.fastest_threads import ThreadChoice, fastest_threads
from admbench.bench.measurement.memory import peak_resident_bytes
from admbench.bench.measurement.profile import operator_profile
from admbench.bench.measurement.roofline import layer_seconds, measured_roof, roofline_section
from admbench.bench.measurement.timing import (
    REPEATS,
    WARM_UP,
    OtherWork,
    Samples,
    interleave,
    load_average,
    threads,
)
from admbench.bench.models.sqnr import sqnr_db
from admbench.bench.suites import calibration_prompts
from admbench.methods.core.checkpoint.third_party import third_party_layers
from admbench.methods.core.kernels import WithKernels, with_kernels
from admbench.methods.core.kernels.observed import observed
from admbench.methods.core.kernels.select import SIMULATED, resident_bytes, small_products
from admbench.methods.core.kernels.weights import Unpack
from admbench.methods.core.layers.quantized import quantized_layers
from admbench.methods.core.numbers.scheme import LayerScheme, activation_scheme, weight_scheme
from admbench.methods.spec import FULL_PRECISION

if TYPE_CHECKING:
    from admbench.bench.models.base import AudioDiffusionModel

BASELINE = FULL_PRECISION
"""Name of the full-precision backbone among what is timed; `speedup` is against it."""
METHOD = "kernels"
"""Name of the quantized backbone among what is timed."""
NO_INTEGERS = "no layer is quantized: there are no integers to compute with"
"""Why full precision has no kernel."""
PIPELINE_STEPS = 25
"""Denoising steps of the pipeline that is timed as a whole, unless asked otherwise."""


@dataclass(frozen=True)
class Settings:
    """What is timed and how often."""

    batch: int = 2
    """Rows of a call of the backbone: one clip with guidance takes two."""
    warm_up: int = WARM_UP
    repeats: int = REPEATS
    threads: int = 1
    choose_threads: bool = False
    """Whether each backbone of torch has as many of these threads as it is fastest with; see `fastest_threads`."""
    limit_seconds: float | None = None
    """For the timed rounds; see `interleave`."""
    unpack: Unpack = "once"
    """When weights become bytes; see `admbench.methods.core.kernels.weights`."""
    profile: bool = False
    """Also say where the time of a step goes, operator by operator."""
    roofline: bool = False
    """Also time every layer by itself, and compare it with what the machine gives."""
    alone: bool = False
    """Also measure the memory of a process of its own that holds nothing but the quantized backbone."""


def kernels_in(model: AudioDiffusionModel, quantized: nn.Module, unpack: Unpack = "once") -> WithKernels:
    """Return a quantized backbone as it is timed and sampled: with our kernels, or those of a bridge's package.

    Args:
        model: that the backbone belongs to; what a bridge's package runs is found by one call on its inputs.
        quantized: as a method or a checkpoint gives it.
        unpack: when weights become bytes, of our kernels; a bridge's package has its own way.
    """
    if third_party_layers(quantized) is None:
        return with_kernels(quantized, model.device.type, unpack=unpack)
    inputs = step_inputs(model, 2)
    return observed(quantized, lambda: run_backbone(model, quantized, inputs))


def time_steps(
    model: AudioDiffusionModel,
    kernelled: WithKernels,
    settings: Settings,
    others: Mapping[str, nn.Module] | None = None,
) -> dict[str, Any]:
    """Time one denoising step of a quantized backbone with kernels, beside the full-precision one.

    Args:
        model: with its full-precision backbone in place, which stays there.
        kernelled: the same backbone, quantized, with kernels.
        settings: batch, repetitions, threads.
        others: further backbones to time in the same rounds, by name.

    Returns:
        The `latency` section of a record, without what concerns the whole pipeline. Where no kernel runs, `kernel` is
        null with the reason, and nothing is reported of the quantized backbone; where nothing is quantized,
        `baseline_step_ms` is there.
    """
    full = model.backbone
    inputs = step_inputs(model, settings.batch)
    backbones = {BASELINE: full, **({METHOD: kernelled.module} if kernelled.kernels else {}), **(others or {})}
    outputs: dict[str, Tensor] = {}

    def step(name: str) -> Callable[[], None]:
        def call() -> None:
            outputs[name] = run_backbone(model, backbones[name], inputs)

        return call

    choices: dict[str, ThreadChoice] = {}
    with threads(settings.threads), ExitStack() as stack:
        if settings.choose_threads:
            ours = {name: one for name, one in backbones.items() if not isinstance(one, EngineBackbone)}
            choices = {name: stack.enter_context(fastest_threads(one, settings.threads)) for name, one in ours.items()}
        tries = 2 * max((len(choice.counts) - 1 for choice in choices.values()), default=0)
        elsewhere = OtherWork()
        samples = interleave(
            {name: step(name) for name in backbones},
            warm_up=settings.warm_up + tries,
            repeats=settings.repeats,
            limit_seconds=settings.limit_seconds,
        )
        busy = elsewhere.cores()
    section = _with_kernels(kernelled, samples) if METHOD in samples else without_kernels(kernelled)
    if section.get("reason") == NO_INTEGERS:
        section["baseline_step_ms"] = samples[BASELINE].to_json()
    section |= {
        "baselines": {name: _baseline(samples, name) for name in backbones if name != METHOD},
        "batch": settings.batch,
        "latent": list(inputs["sample"].shape),
        "threads": settings.threads,
        "warm_up": settings.warm_up,
        "repeats": len(samples[BASELINE].values_ms),
        "other_load": busy,
        "load_average": load_average(),
        "weight_bytes": {
            name: resident_bytes(backbone)
            for name, backbone in backbones.items()
            if not isinstance(backbone, EngineBackbone)
        },
    }
    if choices:
        section["threads_used"] = _threads_used(choices, samples)
    for name, found in section["baselines"].items():
        found["sqnr_db"] = sqnr_db(outputs[BASELINE], outputs[name])
    if kernelled.kernels:
        section["sqnr_db"] = sqnr_db(outputs[BASELINE], outputs[METHOD])
    return section


def schemes_in(quantized: nn.Module) -> dict[str, LayerScheme]:
    """Return how the layers of a quantized backbone are quantized, by name; it may have no kernels in it yet."""
    schemes = {name: layer.scheme for name, layer in quantized_layers(quantized).items()}
    for name, found in (third_party_layers(quantized) or {}).items():
        schemes[name] = LayerScheme(
            weight=weight_scheme(found.weight_bits, "channel"), activation=activation_scheme(found.activation_bits)
        )
    return schemes


def float_bits_in(backbone: nn.Module) -> int:
    """Return the bits of what a backbone computes in floating point: 16 where all its weights are bfloat16."""
    found = [parameter.element_size() for parameter in backbone.parameters() if parameter.is_floating_point()]
    return 8 * max(found, default=FLOAT_BITS // 8)


def cost_of_step(
    model: AudioDiffusionModel,
    schemes: dict[str, LayerScheme],
    kernels: dict[str, str],
    batch: int,
    float_bits: int = FLOAT_BITS,
) -> list[LayerCost]:
    """Return the cost of every layer of one step: operations and bytes; its arguments are as of `layer_costs`."""
    inputs = step_inputs(model, batch)
    return layer_costs(model.backbone, lambda: model.call_backbone(inputs), schemes, kernels, float_bits)


def roofline_of_step(
    model: AudioDiffusionModel, quantized: nn.Module, costs: list[LayerCost], settings: Settings
) -> dict[str, Any]:
    """Return the `roofline` part of a latency section: layers called one by one, in blocks as diffusers has them."""
    inputs = step_inputs(model, settings.batch)
    plain = with_kernels(quantized, unpack=settings.unpack, streamlined=False).module
    with threads(settings.threads):
        names = [cost.name for cost in costs]
        seconds = layer_seconds(plain, names, lambda: run_backbone(model, plain, inputs))
        return roofline_section(measured_roof(), costs, seconds)


def profile_of_step(model: AudioDiffusionModel, backbone: nn.Module, settings: Settings) -> dict[str, Any]:
    """Return the `profile` part of a latency section: where the time of one step goes."""
    inputs = step_inputs(model, settings.batch)
    with threads(settings.threads):
        return operator_profile(lambda: run_backbone(model, backbone, inputs))


def time_pipeline(model: AudioDiffusionModel, backbone: nn.Module, *, steps: int, thread_count: int) -> dict[str, Any]:
    """Time the whole pipeline once, for one clip with the model's own guidance: caption to waveform.

    Args:
        model: its backbone is put back afterwards.
        backbone: what denoises meanwhile.
        steps: denoising steps.
        thread_count: threads.

    Returns:
        Seconds of denoising (conditioning and scheduler included) and of decoding, and `real_time_factor`: seconds of
        computing per second of audio.
    """
    full = model.backbone
    model.backbone = backbone
    try:
        with threads(thread_count):
            started = time.perf_counter()
            latents = model.latents(
                calibration_prompts(1), [0], steps=steps, guidance=model.default_guidance, batch_size=1
            )
            denoised = time.perf_counter()
            model.decode(latents)
            decoded = time.perf_counter()
    finally:
        model.backbone = full
    return {
        "steps": steps,
        "guidance": model.default_guidance,
        "clips": 1,
        "seconds_of_audio": model.seconds,
        "denoising_seconds": denoised - started,
        "decoding_seconds": decoded - denoised,
        "real_time_factor": (decoded - started) / model.seconds,
    }


def process_memory() -> dict[str, Any]:
    """Return the peak memory of this process, with everything that was timed in it."""
    return {"peak_bytes": peak_resident_bytes(), "process": "every backbone that was timed, one process"}


def step_inputs(model: AudioDiffusionModel, batch: int) -> dict[str, Tensor]:
    """Return the inputs of the first denoising step of `batch` captions: what a call of the backbone is timed on."""
    prompts = calibration_prompts(batch)
    calls = model.trajectories(prompts, seeds=list(range(batch)), steps=2, guidance=1.0, batch_size=batch)
    return next(iter(calls)).inputs


def run_backbone(model: AudioDiffusionModel, backbone: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
    """Run a backbone in the model's place of its own, and return its prediction once it is there."""
    own, model.backbone = model.backbone, backbone
    try:
        predicted = model.call_backbone(inputs)
        if model.device.type == "cuda":
            torch.cuda.synchronize()
    finally:
        model.backbone = own
    return predicted


def without_kernels(kernelled: WithKernels) -> dict[str, Any]:
    """Return the `latency` section of a backbone in which no kernel runs: why, and no number."""
    reason = SIMULATED if SIMULATED in kernelled.layers else next(iter(kernelled.reasons), NO_INTEGERS)
    return {"kernel": None, "reason": reason, "fallbacks": kernelled.reasons}


def _with_kernels(kernelled: WithKernels, samples: Mapping[str, Samples]) -> dict[str, Any]:
    return {
        "kernel": " + ".join(kernelled.kernels),
        "layers": kernelled.layers,
        "glue": kernelled.glue,
        "attention": kernelled.attention,
        "small_products": small_products(kernelled.module),
        "blocks": dict(kernelled.blocks),
        "fallbacks": kernelled.reasons,
        "step_ms": samples[METHOD].to_json(),
        "baseline_step_ms": samples[BASELINE].to_json(),
        "speedup": samples[BASELINE].median_ms / samples[METHOD].median_ms,
        "first_call_ms": samples[METHOD].first_ms,
    }


def _threads_used(choices: Mapping[str, ThreadChoice], samples: Mapping[str, Samples]) -> dict[str, dict[str, int]]:
    """Return, of each backbone whose threads were chosen, the rounds that it had each number in, most rounds first."""
    counted = {name: choice.used[-len(samples[name].values_ms) :] for name, choice in choices.items()}
    return {name: {str(n): times for n, times in Counter(used).most_common()} for name, used in counted.items()}


def _baseline(samples: Mapping[str, Samples], name: str) -> dict[str, Any]:
    found: dict[str, Any] = {"step_ms": samples[name].to_json(), "first_call_ms": samples[name].first_ms}
    if METHOD in samples:
        found["speedup"] = samples[name].median_ms / samples[METHOD].median_ms
    return found
