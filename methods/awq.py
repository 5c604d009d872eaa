"""`awq`: Lin et al., "AWQ: Activation-aware Weight Quantization" (arXiv 2306.00978, MLSys 2024).

A few input channels matter more than others, and activations tell which. They are protected by multiplying their
weights by s and dividing the input by it (section 3.2), with s = mean|X|**r, of the r in a grid of 20 in [0, 1) the one
of least output error, and then by clipping each group of weights where that lowers its output error (released code: 10
shrunken ranges, down to half).

Departures. The error is that of the layer's own outputs, by the Gram matrix of its inputs, not of the transformer
block's. Layers that share an input are scaled apart. The paper folds 1/s into the layer before; here a layer divides
its own input. Convolutions take part. Queries and keys are not clipped, as in the released code. Each group's clipping
is judged by the group alone, as there; all of a layer's is taken back if its outputs are worse for it, which that code
does not ask. Activations, where a spec gives them bits, are rounded as `naive` does, after the division: then both
choices are made on outputs as the layer runs, at `tried` random positions, with its input rounded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.calibration.statistics import (
    ChannelStatistics,
    channel_statistics,
    gram_of_divided,
    input_grams,
    input_rows,
    output_error,
)
from admbench.methods.core.layers.kinds import QuantizableLayer, over_inputs, quantizable_layers
from admbench.methods.core.layers.policy import Policy
from admbench.methods.core.layers.quantized import QuantizedLayer, dynamic_input
from admbench.methods.core.numbers.fitting import fit_weight, quantizer_class
from admbench.methods.core.numbers.quantizer import Quantizer, as_rows, per_row
from admbench.methods.core.numbers.scheme import LayerScheme, Scheme
from admbench.methods.core.reconstruction.run_layer import RunLayer
from admbench.methods.layerwise import GramConfig, GramMethod
from admbench.methods.protocol import DenoisingModel
from admbench.taxonomy import arxiv

GRID = 20
"""Exponents tried: 0, 1/20, ... 19/20."""
SHRINKS = [1 - step / 20 for step in range(10)]
"""Factors of a group's range tried: 1, 0.95, ... 0.55."""
NOT_CLIPPED = ("to_q", "to_k")
"""Layers whose weights are not clipped, by the last part of their name."""
Judge = Callable[[Tensor, Tensor], float]
"""Scale of the input (in,) and scaled, rounded weight (out, in, ...) -> mean squared error of the layer's outputs."""


class AWQConfig(GramConfig):
    """Options of `awq`."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"tried": 1024},
        "paper": {"tried": 8192},
    }

    tried: int = Field(default=1024, ge=1, le=10_000_000)
    """Positions of a layer's input that scale and clipping are judged on where the input is rounded."""


class Solution(NamedTuple):
    """A layer's weight as the method leaves it."""

    scale: Tensor
    """(in,), what the input is divided by."""
    quantizer: Quantizer
    """Of the scaled weight."""


class AWQ(GramMethod[ChannelStatistics, Solution]):
    """Scale up the weights of salient input channels, clip groups, round to nearest."""

    name = "awq"
    summary = "salient weights scaled by their activations' magnitude, groups clipped (2306.00978)"
    version = "2"
    track = "post-training"
    family = "transform"
    paper = arxiv(
        "2306.00978",
        "Lin et al., AWQ: Activation-aware Weight Quantization for LLM Compression and Acceleration, MLSys 2024",
    )
    takes_formats = True
    claims = frozenset({"channel outliers"})
    Config: ClassVar[type[AWQConfig]] = AWQConfig
    config: AWQConfig

    def observe(self, model: DenoisingModel, calibration: CalibrationSet) -> Mapping[str, ChannelStatistics]:
        """See `LayerwiseMethod`: which channels matter."""
        return channel_statistics(model, calibration, quantizable_layers(model.backbone))

    def solve(
        self,
        model: DenoisingModel,
        calibration: CalibrationSet,
        policy: Policy,
        seen: Mapping[str, ChannelStatistics],
    ) -> Mapping[str, Solution]:
        """See `LayerwiseMethod`: by Gram matrices alone, or with inputs to round; nothing where weights stay."""
        if 16 in self.spec.bits:
            return super().solve(model, calibration, policy, seen)
        found, layers = {}, quantizable_layers(model.backbone)
        grams = input_grams(model, calibration, list(seen), self.config.positions)
        for (name, gram), (own, rows) in zip(
            grams, input_rows(model, calibration, list(seen), self.config.tried), strict=True
        ):
            assert name == own
            scheme = policy.scheme_of(name)
            assert scheme.activation is not None
            inputs = partial(_input_quantizer, layers[name], scheme.activation, seen[name])
            run = RunLayer.of(layers[name], LayerScheme(weight=scheme.weight), rows)
            found[name] = choose(name, layers[name], gram, run.scheme, seen[name], as_it_runs(run, inputs))
        return found

    def solve_weight(
        self, name: str, layer: QuantizableLayer, gram: Tensor, scheme: Scheme, seen: ChannelStatistics
    ) -> Solution:
        """See `GramMethod`."""
        return choose(name, layer, gram, scheme, seen, by_gram(layer.weight.detach(), gram))

    def quantize_layer(
        self,
        name: str,
        layer: QuantizableLayer,
        scheme: LayerScheme,
        seen: ChannelStatistics,
        solution: Solution | None,
    ) -> QuantizedLayer:
        """See `LayerwiseMethod`."""
        scale, weight_quantizer = solution or (None, None)
        over = torch.ones_like(seen.largest) if scale is None else scale
        weight = None if scale is None else layer.weight.detach() * over_inputs(scale, layer.weight)
        if weight_quantizer is None and scheme.weight is not None:  # a convolution in groups
            weight_quantizer = fit_weight(scheme.weight, layer.weight.detach())
        activation = None if scheme.activation is None else _input_quantizer(layer, scheme.activation, seen, over)
        return QuantizedLayer.from_float(layer, weight_quantizer, activation, weight=weight, input_scale=scale)


def _input_quantizer(layer: QuantizableLayer, scheme: Scheme, seen: ChannelStatistics, scale: Tensor) -> Quantizer:
    """Return the quantizer of an input that is divided by a scale: that of a number format, or of its static range."""
    return dynamic_input(scheme, layer) if scheme.dynamic else Quantizer.min_max(scheme, seen.range_over(scale))


def by_gram(weight: Tensor, gram: Tensor) -> Judge:
    """Return what judges a weight by the Gram matrix (terms, terms) of inputs that are not rounded."""

    def error(scale: Tensor, rounded: Tensor) -> float:
        return float(output_error((rounded / over_inputs(scale, weight) - weight).flatten(1), gram))

    return error


def as_it_runs(run: RunLayer, inputs: Callable[[Tensor], Quantizer]) -> Judge:
    """Return what judges a layer by the outputs of its inputs, divided by the scale and rounded by `inputs(scale)`."""

    def error(scale: Tensor, rounded: Tensor) -> float:
        return replace(run, activation=inputs(scale)).error(scale, rounded)

    return error


@torch.no_grad()
def choose(
    name: str, layer: QuantizableLayer, gram: Tensor, scheme: Scheme, seen: ChannelStatistics, judge: Judge
) -> Solution:
    """Return scale and quantizer of a layer's weight.

    Args:
        name: of the layer; says whether it may be clipped.
        layer: in full precision.
        gram: (terms, terms) of its inputs, by which groups are clipped.
        scheme: of the weight, its groups fitted to the layer.
        seen: of its input channels.
        judge: of outputs.
    """
    weight = layer.weight.detach()
    scale = search_scale(weight, scheme, seen.mean_magnitude, judge)
    scaled = weight * over_inputs(scale, weight)
    whole = fit_weight(scheme, scaled)
    if name.rpartition(".")[2] in NOT_CLIPPED or scheme.granularity != "group" or scheme.searches:
        return Solution(scale, whole)
    tighter = clipped(scaled, gram_of_divided(gram, scale, weight), scheme)
    better = judge(scale, tighter.fake_quantize(scaled)) < judge(scale, whole.fake_quantize(scaled))
    return Solution(scale, tighter if better else whole)


def search_scale(weight: Tensor, scheme: Scheme, magnitude: Tensor, judge: Judge) -> Tensor:
    """Return the scale of the input channels, (in,) float32, of least output error.

    Args:
        weight: (out, in, ...).
        scheme: of the weights.
        magnitude: (in,), mean |X|.
        judge: of outputs.
    """
    best, least = torch.ones_like(magnitude), float("inf")
    for step in range(GRID):
        scale = magnitude.clamp(min=1e-4) ** (step / GRID)
        scale = scale / (scale.max() * scale.min()).sqrt()
        scaled = weight * over_inputs(scale, weight)
        error = judge(scale, fit_weight(scheme, scaled).fake_quantize(scaled))
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
