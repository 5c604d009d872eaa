"""Scales that move the outliers of a layer's input to its weight, channel by channel.

Every input channel j is divided by s_j and its weights are multiplied by it, which changes nothing in full precision:

    s_j = max|X_j|**alpha / max|W_j|**(1 - alpha)                           (SmoothQuant, arXiv 2211.10438, eq. 4)
"""

from __future__ import annotations

import torch
from torch import Tensor

from admbench.methods.core.calibration.statistics import ChannelStatistics
from admbench.methods.core.layers.kinds import QuantizableLayer, over_inputs
from admbench.methods.core.layers.policy import input_quantizer
from admbench.methods.core.layers.quantized import QuantizedLayer
from admbench.methods.core.layers.rotation import rotate
from admbench.methods.core.numbers.fitting import fit_weight
from admbench.methods.core.numbers.quantizer import Quantizer
from admbench.methods.core.numbers.scheme import LayerScheme, Scheme

LEAST_SCALE = 1e-5
"""Scales, and the weight maxima they are made of, are at least this, as in SmoothQuant's released code."""


def smoothing_scale(
    layer: QuantizableLayer, seen: ChannelStatistics, alpha: float, beta: float | None = None
) -> Tensor:
    """Return s for a layer, (in,) float32; ones for a convolution in groups, which is not smoothed.

    Args:
        layer: in full precision.
        seen: of its input.
        alpha: exponent of the input's maxima.
        beta: exponent of the weight's, by which they divide; None: 1 - alpha.
    """
    weight = layer.weight.detach()
    if getattr(layer, "groups", 1) != 1:
        return torch.ones_like(seen.largest)
    largest = weight.abs().transpose(0, 1).flatten(1).amax(1).clamp(min=LEAST_SCALE)
    scale = seen.largest.clamp(min=LEAST_SCALE) ** alpha / largest ** (1 - alpha if beta is None else beta)
    return scale.clamp(min=LEAST_SCALE)


def smoothed(
    name: str,
    layer: QuantizableLayer,
    scheme: LayerScheme,
    scale: Tensor,
    seen: ChannelStatistics,
    *,
    rotation: int = 0,
) -> QuantizedLayer:
    """Return a layer whose input is divided by a scale and rotated, rounded to nearest between minimum and maximum.

    Args:
        name: of the layer.
        layer: in full precision.
        scheme: of weight and input; an input that is rotated has ranges of run time.
        scale: (in,) float32.
        seen: of the input.
        rotation: input channels that are rotated together; 0 is none.
    """

    def fit(scheme: Scheme, name: str) -> Quantizer:
        return Quantizer.min_max(scheme, seen.range_over(scale))

    activation = input_quantizer(name, layer, scheme.activation, fit)
    in_groups = getattr(layer, "groups", 1) != 1
    weight = layer.weight.detach() if in_groups else layer.weight.detach() * over_inputs(scale, layer.weight)
    weight = rotate(weight, rotation, 1) if rotation else weight
    return QuantizedLayer.from_float(
        layer,
        None if scheme.weight is None else fit_weight(scheme.weight, weight),
        activation,
        weight=weight,
        input_scale=None if in_groups else scale,
        rotation=rotation,
    )
