"""`svdquant`: Li et al., "SVDQuant: Absorbing Outliers by Low-Rank Components for 4-Bit Diffusion Models"
(arXiv 2411.05007, ICLR 2025).

Three steps. Outliers are moved from activations to weights by smoothing (section 4.1, lambda), s = max|X|**a /
max|W|**(1 - a), of 20 exponents a the one of least output error. What the smoothed weights gain in outliers, a low-rank
branch in 16 bits takes up: the first `rank` singular components of W diag(s) (section 4.2, eq. 6). The residual and the
activations are rounded, in groups of 64, the activations at run time. Then branch and residual take turns, as in the
released code: L = SVD(W - Q), Q = round(W - L), as long as the output error falls.

Departures. The error is that of the layer's own outputs, by the Gram matrix of its inputs. ResNet blocks, which the
released code leaves in 16 bits, take part: convolutions have branches, and activations in groups of channels at every
position. Layers that share an input are smoothed apart, and a layer divides its own input.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.calibration.statistics import (
    ChannelStatistics,
    channel_statistics,
    gram_of_divided,
    output_error,
)
from admbench.methods.core.layers.kinds import QuantizableLayer, over_inputs, quantizable_layers
from admbench.methods.core.layers.policy import Policy
from admbench.methods.core.layers.quantized import QuantizedLayer, dynamic_input
from admbench.methods.core.numbers.fitting import fit_weight
from admbench.methods.core.numbers.scheme import LayerScheme, Scheme
from admbench.methods.core.reconstruction.smoothing import smoothing_scale
from admbench.methods.layerwise import GramConfig, GramMethod
from admbench.methods.protocol import DenoisingModel
from admbench.taxonomy import arxiv

GRID = 20
"""Exponents tried: 0, 1/20, ... 19/20."""


class SVDQuantConfig(GramConfig):
    """Options of `svdquant`."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"iterations": 3},
        "paper": {"iterations": 100},
    }

    group: int = Field(default=64, ge=1, le=100_000)
    """Most weights of an output channel, and channels of an input, that share a scale."""
    rank: int = Field(default=32, ge=1, le=4096)
    """Of the branch; at most half of what the layer's weight could have."""
    iterations: int = Field(default=3, ge=1, le=10_000)
    """Most turns of branch and residual."""


class Decomposition(NamedTuple):
    """A layer's weight as the method leaves it."""

    scale: Tensor
    """(in,), what the input is divided by."""
    residual: Tensor
    """(out, ...) float32, the smoothed weight less its branch."""
    branch: tuple[Tensor, Tensor]
    """float16 (rank, ...) and (out, rank)."""


class SVDQuant(GramMethod[ChannelStatistics, Decomposition]):
    """Smooth, keep the leading singular components in 16 bits, round the rest and the activations in groups."""

    name = "svdquant"
    summary = "smoothing, a low-rank branch in 16 bits, groups of weights and activations (2411.05007)"
    version = "1"
    track = "post-training"
    family = "low rank"
    paper = arxiv(
        "2411.05007",
        "Li et al., SVDQuant: Absorbing Outliers by Low-Rank Components for 4-Bit Diffusion Models, ICLR 2025",
    )
    takes_formats = True
    Config: ClassVar[type[SVDQuantConfig]] = SVDQuantConfig
    config: SVDQuantConfig

    def observe(self, model: DenoisingModel, calibration: CalibrationSet) -> Mapping[str, ChannelStatistics]:
        """See `LayerwiseMethod`: the extremes of each input channel."""
        return channel_statistics(model, calibration, quantizable_layers(model.backbone))

    def policy(self, ends: Sequence[str]) -> Policy:
        """See `LayerwiseMethod`: activations in groups, too."""
        return super().policy(ends).changed(activation=lambda scheme: _in_groups(scheme, self.config.group))

    def solve_weight(
        self, name: str, layer: QuantizableLayer, gram: Tensor, scheme: Scheme, seen: ChannelStatistics
    ) -> Decomposition:
        """See `GramMethod`: scale, residual and branch."""
        weight = layer.weight.detach()
        rank = max(1, min(self.config.rank, min(len(weight), len(gram)) // 2))
        tried = []
        for step in range(GRID):
            scale = smoothing_scale(layer, seen, step / GRID)
            smooth = weight * over_inputs(scale, weight)
            tried.append(
                (float(output_error(_rounding_error(smooth, scheme), gram_of_divided(gram, scale, weight))), step)
            )
        scale = smoothing_scale(layer, seen, min(tried)[1] / GRID)
        smooth, gram = weight * over_inputs(scale, weight), gram_of_divided(gram, scale, weight)
        best, least, rounded = None, float("inf"), torch.zeros_like(smooth)
        for _ in range(self.config.iterations):
            branch = leading_components(smooth - rounded, rank)
            residual = smooth - _product(branch, weight)
            error = _rounding_error(residual, scheme)
            rounded = residual + error.view(weight.shape)
            now = float(output_error(error, gram))
            if now >= least:
                break
            best, least = Decomposition(scale, residual, branch), now
        assert best is not None
        return best

    def quantize_layer(
        self,
        name: str,
        layer: QuantizableLayer,
        scheme: LayerScheme,
        seen: ChannelStatistics,
        solution: Decomposition | None,
    ) -> QuantizedLayer:
        """See `LayerwiseMethod`."""
        activation = None if scheme.activation is None else dynamic_input(scheme.activation, layer)
        if solution is None or scheme.weight is None:  # a convolution in groups, or weights in 16 bits
            weight = None if scheme.weight is None else fit_weight(scheme.weight, layer.weight.detach())
            return QuantizedLayer.from_float(layer, weight, activation)
        scale, residual, branch = solution
        quantizer = fit_weight(scheme.weight, residual)
        return QuantizedLayer.from_float(
            layer, quantizer, activation, weight=residual, input_scale=scale, low_rank=branch
        )


def leading_components(weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return the best approximation of a weight (out, ...) of some rank, as float16 (rank, ...) and (out, rank)."""
    left, values, right = torch.linalg.svd(weight.flatten(1), full_matrices=False)
    root = values[:rank].sqrt()
    down = (root[:, None] * right[:rank]).view(rank, *weight.shape[1:])
    return down.half().contiguous(), (left[:, :rank] * root).half().contiguous()


def _product(branch: tuple[Tensor, Tensor], weight: Tensor) -> Tensor:
    down, up = branch
    return (up.float() @ down.float().flatten(1)).view(weight.shape)


def _rounding_error(weight: Tensor, scheme: Scheme) -> Tensor:
    """Return what rounding to nearest changes, (out, terms)."""
    return (fit_weight(scheme, weight).fake_quantize(weight) - weight).flatten(1)


def _in_groups(scheme: Scheme, group: int) -> Scheme:
    if scheme.published:
        return scheme
    return Scheme(bits=scheme.bits, granularity="group", symmetric=True, group_size=group, dynamic=True)
