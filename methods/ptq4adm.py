"""`ptq4adm`: Vora et al., "PTQ4ADM: Post-Training Quantization for Efficient Text Conditional Audio Diffusion Models".

arXiv 2409.13894, ICASSP 2025. Reconstructed from the abstract, which is all that could be read: it names
coverage-driven prompt augmentation, an activation-aware calibration set, and "specific layers" of the backbone in
4-bit weights and 8-bit activations. How any of them is done is not public; every definition is ours and is a part of
its own:

1. prompts: `core.calibration.prompts.coverage`;
2. samples: `core.calibration.samplers.activation_aware`;
3. layers: the noise that each layer's rounding makes in the output (`core.calibration.sensitivity`), and the choice of
   bits of least noise that fits the size (`core.layers.allocation`): the spec's bits where they are cheap, 8 where not;
4. roundings and step sizes: block reconstruction as in `q-diffusion`, shortcuts split likewise.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field
from torch import Tensor

from admbench.errors import UsageError
from admbench.methods.blockwise import BlockwiseMethod, StepSizeConfig
from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.calibration.sensitivity import output_noise
from admbench.methods.core.layers.allocation import Choice, allocate, float_bytes, mixed_policy, weight_bytes
from admbench.methods.core.layers.kinds import quantizable_layers
from admbench.methods.core.layers.policy import EDGE_BITS, backbone_ends
from admbench.methods.core.numbers.quantizer import Quantizer
from admbench.methods.core.numbers.scheme import Scheme, Side, weight_scheme
from admbench.methods.core.numbers.search import POWER, fit_lp
from admbench.methods.core.reconstruction.blockwise import BlockwiseQuantization
from admbench.methods.core.reconstruction.objective import Effort
from admbench.methods.protocol import DenoisingModel
from admbench.taxonomy import arxiv

WIDE_BITS = 8
"""Bits of the layers that are not cheap."""
AT_ONCE = 8
"""Samples whose activations are in memory while sensitivity is measured."""


class PTQ4ADMConfig(StepSizeConfig):
    """Options of `ptq4adm`."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"timesteps": 4, "sensitivity_samples": 32},
        "paper": {"timesteps": 8, "sensitivity_samples": 512},
    }

    calibration: str = "coverage-prompt+activation-aware"
    """How calibration data is drawn; by default as the abstract has it."""
    reduction: float = Field(0.8, gt=0, lt=1)
    """Share of the backbone's bytes to save at least, against 32-bit floats."""
    sensitivity_samples: int = Field(32, ge=1, le=1_000_000)
    """Samples that the sensitivity of layers is measured on, drawn at random; all if there are fewer."""


class PTQ4ADM(BlockwiseMethod):
    """Cover prompts and activations, give each layer the bits that it needs, reconstruct every block."""

    name = "ptq4adm"
    summary = (
        "coverage-driven prompts, activation-aware samples, bits by layer (2409.13894, reconstructed from the abstract)"
    )
    version = "2"
    track = "post-training"
    family = "block reconstruction"
    paper = arxiv(
        "2409.13894",
        "Vora et al., PTQ4ADM: Post-Training Quantization for Efficient Text Conditional Audio Diffusion Models, 2024",
        read="abstract",
    )
    takes_formats = True
    Config: ClassVar[type[PTQ4ADMConfig]] = PTQ4ADMConfig
    config: PTQ4ADMConfig

    def reconstruct(self, work: BlockwiseQuantization, model: DenoisingModel, calibration: CalibrationSet) -> None:
        """See `BlockwiseMethod`; raises UsageError too where `reduction` is more than the bits can give."""
        config, (weight_bits, activation_bits) = self.config, self.spec.bits
        ends = backbone_ends(model.backbone, work.order)
        work.split_concatenations()
        fit = _Remembering()
        sides = self._allocate(model, work, calibration, ends, fit)
        work.round_to_nearest(mixed_policy(sides, self.spec.sides[1], ends, EDGE_BITS), fit)
        if weight_bits != 16:
            work.learn_weights(Effort(config.iterations, config.batch, config.learning_rate))
        if activation_bits != 16:
            steps = Effort(config.step_iterations, config.batch, config.step_learning_rate, power=POWER)
            work.learn_inputs(fit_lp, steps)

    def _allocate(
        self,
        model: DenoisingModel,
        work: BlockwiseQuantization,
        calibration: CalibrationSet,
        ends: tuple[str, str],
        fit: _Remembering,
    ) -> dict[str, Side]:
        """Return the bits or the number format of each layer's weight."""
        weight_side, weight_bits = self.spec.sides[0], self.spec.bits[0]
        if weight_bits >= WIDE_BITS:
            return dict.fromkeys(work.order, weight_side)
        layers = {name: layer for name, layer in quantizable_layers(work.original).items() if name in work.order}
        options = {name: (WIDE_BITS,) if name in ends else (weight_bits, WIDE_BITS) for name in work.order}
        sides: dict[int, Side] = {weight_bits: weight_side, WIDE_BITS: WIDE_BITS}
        schemes: dict[str, dict[int, Scheme]] = {name: {} for name in options}
        for name, tried in options.items():
            for bits in tried:
                scheme = weight_scheme(sides[bits], "channel")
                assert scheme is not None
                schemes[name][bits] = scheme.for_terms(layers[name].weight[0].numel())
        quantizers = {
            name: {bits: fit(scheme, layers[name].weight) for bits, scheme in tried.items()}
            for name, tried in schemes.items()
        }
        some = calibration.sample(self.config.sensitivity_samples, calibration.seed)
        noise = output_noise(model, work.original, some.batches(AT_ONCE), quantizers, seed=calibration.seed)
        choices = {
            name: [
                Choice(bits, weight_bytes(layers[name], schemes[name][bits]), noise.get(name, {}).get(bits, 0.0))
                for bits in tried
            ]
            for name, tried in options.items()
        }
        whole = float_bytes(work.original)
        rest = whole - sum(weight_bytes(layer, None) for layer in layers.values())
        try:
            taken = allocate(choices, int((1 - self.config.reduction) * whole) - rest)
        except UsageError as error:
            smallest = rest + sum(min(choice.bytes for choice in some) for some in choices.values())
            raise UsageError(
                f'method "{self.spec}": reduction={self.config.reduction} is out of reach: with {weight_bits} bits'
                f" everywhere {model.name} saves {1 - smallest / whole:.3f}"
            ) from error
        return {name: sides[choice.bits] for name, choice in taken.items()}


class _Remembering:
    """`fit_lp` that does not search the range of a weight twice."""

    def __init__(self) -> None:
        self._known: dict[tuple[Scheme, int, tuple[int, ...]], Quantizer] = {}

    def __call__(self, scheme: Scheme, values: Tensor) -> Quantizer:
        key = scheme, values.data_ptr(), tuple(values.shape)
        if key not in self._known:
            self._known[key] = fit_lp(scheme, values)
        return copy.deepcopy(self._known[key])
