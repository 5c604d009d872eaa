"""`svdquant`: Li et al., "SVDQuant: Absorbing Outliers by Low-Rank Components for 4-Bit Diffusion Models"
(arXiv 2411.05007, ICLR 2025).

Three steps. Outliers are moved from activations to weights by smoothing (section 4.1, lambda), s = max|X|**a /
max|W|**b. What the smoothed weights gain in outliers, a low-rank branch in 16 bits takes up: the first `rank` singular
components of W diag(s) (section 4.2, eq. 6). The residual and the activations are rounded, in groups of 64, the
activations at run time. Then branch and residual take turns, as in the released code: L = SVD(W - Q), Q = round(W - L),
as long as the output error falls.

Smoothing is searched as in the released code (deepcompressor): none, (a, b) = (a, 0) and (a, 1 - a), a = 1/20 .. 19/20.
Each of the 39 is judged by the error of the layer's outputs as it runs: weights and inputs rounded, branch taken in. So
is each turn of branch and residual.

Departures. The error is that of the layer's own outputs, not of an attention's, on `positions` random positions of the
calibration set. ResNet blocks, which the released code leaves in 16 bits, take part: convolutions have branches, and
activations in groups of channels at every position. Layers that share an input are smoothed apart, and a layer divides
its own input. A branch is found through the eigenvectors of the smaller Gram matrix of the weight, in float64.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.calibration.statistics import ChannelStatistics, channel_statistics, input_rows
from admbench.methods.core.layers.kinds import QuantizableLayer, over_inputs, quantizable_layers
from admbench.methods.core.layers.policy import Policy, grouped_policy
from admbench.methods.core.layers.quantized import QuantizedLayer, dynamic_input
from admbench.methods.core.numbers.dynamic import DynamicQuantizer
from admbench.methods.core.numbers.fitting import fit_weight
from admbench.methods.core.numbers.scheme import LayerScheme, Scheme
from admbench.methods.core.reconstruction.branch import branch_weight, leading_components, rank_of_branch
from admbench.methods.core.reconstruction.smoothing import smoothing_scale
from admbench.methods.layerwise import GramConfig, LayerwiseMethod
from admbench.methods.protocol import DenoisingModel
from admbench.taxonomy import arxiv

GRID = 20
"""Exponents tried: 1/20, ... 19/20."""
CANDIDATES: tuple[tuple[float, float], ...] = (
    (0.0, 0.0),
    *((step / GRID, 0.0) for step in range(1, GRID)),
    *((step / GRID, 1 - step / GRID) for step in range(1, GRID)),
)
"""Exponents of max|X| and max|W| tried; the first smooths nothing."""


class SVDQuantConfig(GramConfig):
    """Options of `svdquant`."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"iterations": 3, "positions": 1024},
        "paper": {"iterations": 100, "positions": 8192},
    }

    positions: int = Field(default=1024, ge=1, le=10_000_000)
    """Positions of a layer's input that its output error is taken on."""
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


class SVDQuant(LayerwiseMethod[ChannelStatistics, Decomposition]):
    """Smooth, keep the leading singular components in 16 bits, round the rest and the activations in groups."""

    name = "svdquant"
    summary = "smoothing, a low-rank branch in 16 bits, groups of weights and activations (2411.05007)"
    version = "2"
    track = "post-training"
    family = "low rank"
    paper = arxiv(
        "2411.05007",
        "Li et al., SVDQuant: Absorbing Outliers by Low-Rank Components for 4-Bit Diffusion Models, ICLR 2025",
    )
    takes_formats = True
    claims = frozenset({"channel outliers", "heavy-tailed weights"})
    Config: ClassVar[type[SVDQuantConfig]] = SVDQuantConfig
    config: SVDQuantConfig

    def observe(self, model: DenoisingModel, calibration: CalibrationSet) -> Mapping[str, ChannelStatistics]:
        """See `LayerwiseMethod`: the extremes of each input channel."""
        return channel_statistics(model, calibration, quantizable_layers(model.backbone))

    def policy(self, ends: Sequence[str]) -> Policy:
        """See `LayerwiseMethod`: weights and activations in groups."""
        policy = grouped_policy(*self.spec.sides, ends, self.config.group)
        return policy.changed(activation=lambda scheme: _in_groups(scheme, self.config.group))

    def solve(
        self,
        model: DenoisingModel,
        calibration: CalibrationSet,
        policy: Policy,
        seen: Mapping[str, ChannelStatistics],
    ) -> Mapping[str, Decomposition]:
        """See `LayerwiseMethod`: scale, residual and branch; nothing where weights stay as they are."""
        if self.spec.bits[0] == 16:
            return {}
        layers = quantizable_layers(model.backbone)
        return {
            name: decompose(
                RunLayer.of(layers[name], policy.scheme_of(name), rows),
                seen[name],
                self.config.rank,
                self.config.iterations,
            )
            for name, rows in input_rows(model, calibration, list(seen), self.config.positions)
        }

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


@dataclass(frozen=True)
class RunLayer:
    """A layer with some of its inputs, to judge how it would run quantized."""

    layer: QuantizableLayer
    """In full precision."""
    scheme: Scheme
    """Of the weight, its groups fitted to the layer."""
    activation: DynamicQuantizer | None
    """Of the input; None where it stays as it is."""
    rows: Tensor
    """(n, terms), what n outputs are computed from."""
    exact: Tensor
    """(n, out), these outputs in full precision, without bias."""

    @classmethod
    def of(cls, layer: QuantizableLayer, scheme: LayerScheme, rows: Tensor) -> RunLayer:
        """Return a layer under a scheme of its weight, with inputs (n, terms)."""
        assert scheme.weight is not None
        activation = None if scheme.activation is None else dynamic_input(scheme.activation, layer)
        exact = rows @ layer.weight.detach().flatten(1).T
        return cls(layer, scheme.weight.for_terms(rows.shape[1]), activation, rows, exact)

    def error(self, scale: Tensor, rounded: Tensor, branch: tuple[Tensor, Tensor]) -> float:
        """Return the mean squared error of the outputs, summed over channels, with this scale, residual and branch."""
        weight = self.layer.weight
        smooth = self.rows / over_inputs(scale, weight).expand_as(weight[:1]).reshape(-1)
        down, up = (part.float() for part in branch)
        out = (smooth @ down.flatten(1).T) @ up.T
        if self.activation is not None:
            # the taps of a convolution are positions, each rounded in groups of channels of its own
            taps = smooth.view(len(smooth), weight.shape[1], *([-1] if weight.ndim > 2 else []))
            smooth = self.activation.fake_quantize(taps).flatten(1)
        out += smooth @ rounded.flatten(1).T
        return float((out - self.exact).square().mean(0).sum())


@torch.no_grad()
def decompose(run: RunLayer, seen: ChannelStatistics, rank: int, iterations: int) -> Decomposition:
    """Return scale, residual and branch of a layer: the best smoothing, then turns as long as they gain.

    Args:
        run: the layer with its inputs.
        seen: the extremes of its input channels.
        rank: of the branch, at most half of what the weight could have.
        iterations: most turns, the first one included.
    """
    weight = run.layer.weight.detach()
    rank = rank_of_branch(weight, rank)
    scales = (smoothing_scale(run.layer, seen, alpha, beta) for alpha, beta in CANDIDATES)
    nothing = torch.zeros_like(weight)
    least, best, rounded = min((_turn(run, scale, nothing, rank) for scale in scales), key=lambda turn: turn[0])
    for _ in range(iterations - 1):
        error, found, rounded = _turn(run, best.scale, rounded, rank)
        if error >= least:
            break
        least, best = error, found
    return best


def _turn(run: RunLayer, scale: Tensor, rounded: Tensor, rank: int) -> tuple[float, Decomposition, Tensor]:
    """Return the error, the decomposition and the rounded residual of a branch fitted beside a rounded residual."""
    weight = run.layer.weight.detach()
    smooth = weight * over_inputs(scale, weight)
    branch = leading_components(smooth - rounded, rank)
    residual = smooth - branch_weight(branch, weight)
    rounded = fit_weight(run.scheme, residual).fake_quantize(residual)
    return run.error(scale, rounded, branch), Decomposition(scale, residual, branch), rounded


def _in_groups(scheme: Scheme, group: int) -> Scheme:
    if scheme.published:
        return scheme
    return Scheme(bits=scheme.bits, granularity="group", symmetric=True, group_size=group, dynamic=True)
