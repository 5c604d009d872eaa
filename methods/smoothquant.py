"""`smoothquant`: Xiao et al., "SmoothQuant" (arXiv 2211.10438, ICML 2023).

Outliers of activations sit in fixed channels, and weights are easy to quantize. So every input channel j is divided by

    s_j = max|X_j|**alpha / max|W_j|**(1 - alpha)                                                         (eq. 4)

and its weights are multiplied by it, which changes nothing in full precision, and moves difficulty from activations to
weights. Then both are rounded to nearest.

Departures. The paper folds 1/s into the preceding LayerNorm; here a layer divides its own input, which also serves
layers behind an activation function, and costs a pass over it. Applied to convolutions alike, per input channel. The
paper smooths language models; layers that have no outliers are smoothed, too.
"""

from __future__ import annotations

import time
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from admbench.methods.base import CalibratedConfig, CalibratedMethod
from admbench.methods.core.backbone import QuantizedBackbone
from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.calibration.statistics import ChannelStatistics, channel_statistics
from admbench.methods.core.layers.kinds import QuantizableLayer, over_inputs, quantizable_layers
from admbench.methods.core.layers.policy import (
    backbone_ends,
    input_quantizer,
    replace_layers,
    uniform_policy,
)
from admbench.methods.core.layers.quantized import QuantizedLayer
from admbench.methods.core.numbers.quantizer import Quantizer
from admbench.methods.core.numbers.scheme import LayerScheme, Scheme, per_token
from admbench.methods.protocol import DenoisingModel

LEAST_SCALE = 1e-5
"""Scales, and the weight maxima they are made of, are at least this, as in the released code."""


class SmoothQuantConfig(CalibratedConfig):
    """Options of `smoothquant`."""

    alpha: float = Field(default=0.5, ge=0, le=1)
    """Migration strength: 0 leaves the difficulty with the activations, 1 gives all of it to the weights."""
    activations: Literal["static", "token"] = "static"
    """Ranges of inputs: one per tensor, of the calibration set (the paper's O3), or one per token, at run time (O1;
    of Linear layers, convolutions stay static)."""


class SmoothQuant(CalibratedMethod):
    """Divide each input channel by a scale, multiply its weights, round both to nearest."""

    name = "smoothquant"
    summary = "activation outliers migrated to the weights, channel by channel (2211.10438)"
    version = "1"
    Config: ClassVar[type[SmoothQuantConfig]] = SmoothQuantConfig
    config: SmoothQuantConfig

    def needs_calibration(self, model: DenoisingModel) -> bool:
        """Smoothing needs the activations, unless they stay as they are."""
        return self.spec.bits != (16, 16)

    def quantize(self, model: DenoisingModel, calibration: CalibrationSet | None) -> QuantizedBackbone:
        """See `Method`."""
        started = time.perf_counter()
        calibration = self._checked(model, calibration)
        layers = quantizable_layers(model.backbone)
        seen = {} if calibration is None else channel_statistics(model, calibration, layers)
        token = self.config.activations == "token"

        def make(name: str, layer: QuantizableLayer, scheme: LayerScheme) -> QuantizedLayer | None:
            if name not in seen:
                return None
            if token and scheme.activation is not None and isinstance(layer, torch.nn.Linear):
                scheme = scheme.model_copy(update={"activation": per_token(scheme.activation)})
            scale = smoothing_scale(layer, seen[name], self.config.alpha)
            return smoothed(name, layer, scheme, scale, seen[name])

        ends = () if self.spec.bits == (16, 16) else backbone_ends(model.backbone, [*seen])
        module = replace_layers(model.backbone, uniform_policy(*self.spec.bits, ends), make)
        return self._result(model, module, started)


def smoothing_scale(layer: QuantizableLayer, seen: ChannelStatistics, alpha: float) -> Tensor:
    """Return s of eq. 4 for a layer, (in,) float32; ones for a convolution in groups, which is not smoothed."""
    weight = layer.weight.detach()
    if getattr(layer, "groups", 1) != 1:
        return torch.ones_like(seen.largest)
    largest = weight.abs().transpose(0, 1).flatten(1).amax(1).clamp(min=LEAST_SCALE)
    scale = seen.largest.clamp(min=LEAST_SCALE) ** alpha / largest ** (1 - alpha)
    return scale.clamp(min=LEAST_SCALE)


def smoothed(
    name: str, layer: QuantizableLayer, scheme: LayerScheme, scale: Tensor, seen: ChannelStatistics
) -> QuantizedLayer:
    """Return a layer whose input is divided by `scale`, (in,), rounded to nearest between minimum and maximum."""

    def fit(scheme: Scheme, name: str) -> Quantizer:
        return Quantizer.min_max(scheme, seen.range_over(scale))

    activation = input_quantizer(name, layer, scheme.activation, fit)
    in_groups = getattr(layer, "groups", 1) != 1
    weight = layer.weight.detach() if in_groups else layer.weight.detach() * over_inputs(scale, layer.weight)
    return QuantizedLayer.from_float(
        layer,
        None if scheme.weight is None else Quantizer.min_max(scheme.weight, weight),
        activation,
        weight=weight,
        input_scale=None if in_groups else scale,
    )
