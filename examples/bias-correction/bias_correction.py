"""`bias-correction`: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction"
(arXiv 1906.04721, ICCV 2019), section 4.2.

A rounded layer writes W_q q(x) where it wrote W x, and the mean of the difference is no zero: the same few weights are
rounded the same way for every input. The mean over the data, one number per output channel, is taken off the bias:

    b' = b - E[ W_q q(x) - W x ]

Departures. The paper has no data and infers E[x] from batch normalization, which diffusion backbones lack; here it is
the mean over a calibration set, all timesteps together. x is the input in full precision, not after the layers before
it have been quantized. Layers without a bias, such as the projections of queries and keys, stay as they are rounded.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from admbench.methods.base import CalibratedMethod
from admbench.methods.core.backbone import QuantizedBackbone
from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.calibration.ranges import input_ranges
from admbench.methods.core.layers.kinds import quantizable_layers
from admbench.methods.core.layers.policy import backbone_ends, quantize_layers, uniform_policy
from admbench.methods.core.layers.quantized import QuantizedLayer, quantized_layers
from admbench.methods.core.numbers.quantizer import Quantizer
from admbench.methods.core.numbers.scheme import Scheme
from admbench.methods.protocol import DenoisingModel
from admbench.taxonomy import arxiv

BATCH_SIZE = 32
"""Samples in one call of the backbone."""


class BiasCorrection(CalibratedMethod):
    """Round to nearest as `naive` does, and take the mean error of each layer's output off its bias."""

    name = "bias-correction"
    summary = "round to nearest, mean error of every layer taken off its bias (1906.04721)"
    version = "1"
    track = "post-training"
    family = "rounding"
    paper = arxiv(
        "1906.04721",
        "Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, ICCV 2019",
    )

    def quantize(self, model: DenoisingModel, calibration: CalibrationSet | None) -> QuantizedBackbone:
        """Return the model's backbone, quantized; the model is left as it is."""
        started = time.perf_counter()
        calibration = self.check_calibration(model, calibration)
        seen = {} if calibration is None else input_ranges(model, calibration, quantizable_layers(model.backbone))

        def fit_activation(scheme: Scheme, layer: str) -> Quantizer | None:
            return Quantizer.from_range(scheme, seen[layer].low, seen[layer].high) if layer in seen else None

        ends = backbone_ends(model.backbone, [*seen]) if seen else ()
        policy = uniform_policy(*self.spec.bits, ends)
        module = quantize_layers(model.backbone, policy, fit_weight=Quantizer.min_max, fit_activation=fit_activation)
        if calibration is not None:
            layers = quantized_layers(module)
            for name, error in mean_errors(model, calibration, layers).items():
                bias = layers[name].bias
                if bias is not None:
                    layers[name].bias = nn.Parameter(bias.detach() - error, requires_grad=False)
        return self.result(model, module, started)


@torch.no_grad()
def mean_errors(
    model: DenoisingModel, calibration: CalibrationSet, quantized: Mapping[str, QuantizedLayer]
) -> dict[str, Tensor]:
    """Return the mean of W_q q(x) - W x of each layer over a calibration set, (output channels,) float32, by name.

    Args:
        model: in full precision; x is what its layers read.
        calibration: drawn from this model.
        quantized: layers by the name of what they take the place of.
    """
    sums: dict[str, Tensor] = {}
    counts: dict[str, int] = {}

    def see(name: str, layer: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        error = quantized[name](args[0]) - output
        rows = error.movedim(1, -1) if quantized[name].kind != "linear" else error  # channels last
        rows = rows.flatten(0, -2)
        sums[name] = sums.get(name, 0) + rows.sum(dim=0)
        counts[name] = counts.get(name, 0) + len(rows)

    hooks = [model.backbone.get_submodule(name).register_forward_hook(partial(see, name)) for name in quantized]
    try:
        for inputs in calibration.batches(BATCH_SIZE):
            model.call_backbone(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: total / counts[name] for name, total in sums.items()}
