"""`awq`: Lin et al., "AWQ: Activation-aware Weight Quantization" (arXiv 2306.00978, MLSys 2024).

A few input channels matter more than others, and activations tell which. They are protected by multiplying their
weights by s and dividing the input by it (section 3.2), with s = mean|X|**r, of the r in a grid of 20 in [0, 1) the one
of least output error, and then by clipping each group of weights where that lowers its output error (released code: 10
shrunken ranges, down to half).

Departures. The error is that of the layer's own outputs, by the Gram matrix of its inputs, not of the transformer
block's. Layers that share an input are scaled apart. The paper folds 1/s into the layer before; here a layer divides
its own input. Convolutions take part. Queries and keys are not clipped, as in the released code. Activations,
where a spec gives them bits, are rounded as `naive` does, after the division.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.calibration.statistics import (
    ChannelStatistics,
    channel_statistics,
    gram_of_divided,
    output_error,
)
from admbench.methods.core.layers.kinds import QuantizableLayer, over_inputs, quantizable_layers
from admbench.methods.core.layers.policy import input_quantizer
from admbench.methods.core.layers.quantized import QuantizedLayer
from admbench.methods.core.numbers.fitting import fit_weight, quantizer_class
from admbench.methods.core.numbers.quantizer import Quantizer, as_rows, per_row
from admbench.methods.core.numbers.scheme import LayerScheme, Scheme
from admbench.methods.layerwise import GramMethod
from admbench.methods.protocol import DenoisingModel
from admbench.taxonomy import arxiv

GRID = 20
"""Exponents tried: 0, 1/20, ... 19/20."""
SHRINKS = [1 - step / 20 for step in range(10)]
"""Factors of a group's range tried: 1, 0.95, ... 0.55."""
NOT_CLIPPED = ("to_q", "to_k")
"""Layers whose weights are not clipped, by the last part of their name."""


class AWQ(GramMethod[ChannelStatistics, tuple[Tensor, Quantizer]]):
    """Scale up the weights of salient input channels, clip groups, round to nearest."""

    name = "awq"
    summary = "salient weights scaled by their activations' magnitude, groups clipped (2306.00978)"
    version = "1"
    track = "post-training"
    family = "transform"
    paper = arxiv(
        "2306.00978",
        "Lin et al., AWQ: Activation-aware Weight Quantization for LLM Compression and Acceleration, MLSys 2024",
    )
    takes_formats = True
    claims = frozenset({"channel outliers"})

    def observe(self, model: DenoisingModel, calibration: CalibrationSet) -> Mapping[str, ChannelStatistics]:
        """See `LayerwiseMethod`: which channels matter."""
        return channel_statistics(model, calibration, quantizable_layers(model.backbone))

    def solve_weight(
        self, name: str, layer: QuantizableLayer, gram: Tensor, scheme: Scheme, seen: ChannelStatistics
    ) -> tuple[Tensor, Quantizer]:
        """See `GramMethod`: the scale of the input, and the quantizer of the scaled weight."""
        weight = layer.weight.detach()
        scale = search_scale(weight, gram, scheme, seen.mean_magnitude)
        scaled = weight * over_inputs(scale, weight)
        if name.rpartition(".")[2] in NOT_CLIPPED or scheme.granularity != "group" or scheme.searches:
            return scale, fit_weight(scheme, scaled)
        return scale, clipped(scaled, gram_of_divided(gram, scale, weight), scheme)

    def quantize_layer(
        self,
        name: str,
        layer: QuantizableLayer,
        scheme: LayerScheme,
        seen: ChannelStatistics,
        solution: tuple[Tensor, Quantizer] | None,
    ) -> QuantizedLayer:
        """See `LayerwiseMethod`."""
        scale, weight_quantizer = solution or (None, None)
        over = torch.ones_like(seen.largest) if scale is None else scale

        def fit(scheme: Scheme, name: str) -> Quantizer:
            return Quantizer.min_max(scheme, seen.range_over(over))

        weight = None if scale is None else layer.weight.detach() * over_inputs(scale, layer.weight)
        if weight_quantizer is None and scheme.weight is not None:  # a convolution in groups
            weight_quantizer = fit_weight(scheme.weight, layer.weight.detach())
        activation = input_quantizer(name, layer, scheme.activation, fit)
        return QuantizedLayer.from_float(layer, weight_quantizer, activation, weight=weight, input_scale=scale)


def search_scale(weight: Tensor, gram: Tensor, scheme: Scheme, magnitude: Tensor) -> Tensor:
    """Return the scale of the input channels, (in,) float32, of least output error.

    Args:
        weight: (out, in, ...).
        gram: (terms, terms) of the layer's inputs.
        scheme: of the weights.
        magnitude: (in,), mean |X|.
    """
    best, least = torch.ones_like(magnitude), float("inf")
    for step in range(GRID):
        scale = magnitude.clamp(min=1e-4) ** (step / GRID)
        scale = scale / (scale.max() * scale.min()).sqrt()
        scaled = weight * over_inputs(scale, weight)
        rounded = fit_weight(scheme, scaled).fake_quantize(scaled) / over_inputs(scale, weight)
        error = float(output_error((rounded - weight).flatten(1), gram))
        if error < least:
            best, least = scale, error
    return best


def clipped(weight: Tensor, gram: Tensor, scheme: Scheme) -> Quantizer:
    """Return a quantizer whose groups are clipped where that lowers the group's own output error.

    Args:
        weight: (out, ...), scaled.
        gram: (terms, terms) of the scaled inputs; of a group counts the block on the diagonal.
        scheme: with groups.
    """
    size = scheme.group_size
    assert size is not None
    rows, kind = as_rows(scheme, weight), quantizer_class(scheme)
    groups = len(gram) // size
    blocks = torch.stack([gram[g * size : (g + 1) * size, g * size : (g + 1) * size] for g in range(groups)])
    low, high = torch.aminmax(rows, dim=1)
    errors = []
    for shrink in SHRINKS:
        ends = (per_row(scheme, weight, end * shrink) for end in (low, high))
        error = kind.from_range(scheme, *ends).fake_quantize(weight) - weight
        grouped_error = as_rows(scheme, error).view(len(weight), groups, size)
        errors.append((torch.einsum("ogi,gij->ogj", grouped_error, blocks) * grouped_error).sum(2).reshape(-1))
    best = torch.tensor(SHRINKS)[torch.stack(errors).argmin(0)]  # the first of equals: the widest
    return kind.from_range(scheme, *(per_row(scheme, weight, end * best) for end in (low, high)))
