"""A smoothed layer with a branch of low rank: the search of both by the error of the layer's outputs as it runs.

That of SVDQuant's released code (2411.05007; deepcompressor): none, (a, 0) and (a, 1 - a) as exponents of input and
weight, then turns of branch and rounded residual as long as these gain.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from admbench.methods.core.calibration.statistics import ChannelStatistics
from admbench.methods.core.layers.kinds import over_inputs
from admbench.methods.core.numbers.fitting import fit_weight
from admbench.methods.core.reconstruction.branch import branch_weight, leading_components, rank_of_branch
from admbench.methods.core.reconstruction.run_layer import RunLayer
from admbench.methods.core.reconstruction.smoothing import smoothing_scale

GRID = 20
"""Exponents tried: 1/20, ... 19/20."""
CANDIDATES: tuple[tuple[float, float], ...] = (
    (0.0, 0.0),
    *((step / GRID, 0.0) for step in range(1, GRID)),
    *((step / GRID, 1 - step / GRID) for step in range(1, GRID)),
)
"""Exponents of max|X| and max|W| tried; the first smooths nothing."""


class Decomposition(NamedTuple):
    """A layer's weight as the method leaves it."""

    scale: Tensor
    """(in,), what the input is divided by."""
    residual: Tensor
    """(out, ...) float32, the smoothed weight less its branch."""
    branch: tuple[Tensor, Tensor]
    """float16 (rank, ...) and (out, rank)."""


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
