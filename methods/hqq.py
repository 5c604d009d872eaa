"""`hqq`: Badri & Shaji, "Half-Quadratic Quantization of Large Machine Learning Models" (Mobius Labs, 2023).

Without data: the zero points of weight groups are chosen so that an lp norm, p < 1, of the weight error is small, which
forgives a few outliers. With an auxiliary variable E for the error (half-quadratic splitting), two steps alternate,
until the error no longer falls:

    E = shrink_lp(W - W_r, beta)            generalized soft threshold, sign(x) relu(|x| - |x|**(p-1) / beta)
    z = mean(W_q - (W - E) / s)             over the group; s stays that of minimum and maximum

where W_r = (W_q - z) s are the rounded weights, and beta grows by kappa. Constants are those of the released code.

Weight-only. Departure: the published method serves Linear layers; here convolutions, too.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from admbench.methods.base import MethodConfig
from admbench.methods.core.numbers.codebooks import FloatZeroQuantizer
from admbench.methods.core.numbers.quantizer import Quantizer, as_rows, per_row
from admbench.methods.core.numbers.scheme import Scheme
from admbench.methods.weight_only import WeightOnlyMethod
from admbench.taxonomy import Paper

P, BETA, KAPPA = 0.7, 10.0, 1.01
"""Norm, initial weight of the splitting, and its growth."""


class HQQConfig(MethodConfig):
    """Options of `hqq`."""

    group: int = Field(default=64, ge=1, le=100_000)
    """Most weights of an output channel that share a scale and a zero point."""
    iterations: int = Field(default=20, ge=0, le=10_000)
    """Most alternations."""


class HQQ(WeightOnlyMethod):
    """Choose a floating-point zero point for every group of weights, by half-quadratic splitting; without data."""

    name = "hqq"
    summary = "weight-only, zero points by half-quadratic optimization, no data (Mobius Labs 2023)"
    version = "1"
    track = "post-training"
    family = "rounding"
    paper = Paper(
        "Badri and Shaji, Half-Quadratic Quantization of Large Machine Learning Models, Mobius Labs 2023",
        "https://mobiusml.github.io/hqq_blog/",
    )
    claims = frozenset({"heavy-tailed weights"})
    Config: ClassVar[type[HQQConfig]] = HQQConfig
    config: HQQConfig

    def fit_weight(self, bits: int, weight: Tensor) -> Quantizer:
        """See `WeightOnlyMethod`."""
        scheme = Scheme(bits=bits, granularity="group", symmetric=False, group_size=self.config.group, zero="float")
        return fit_zero_points(scheme.for_terms(weight[0].numel()), weight, self.config.iterations)


@torch.no_grad()
def fit_zero_points(scheme: Scheme, weight: Tensor, iterations: int = 20) -> FloatZeroQuantizer:
    """Return a quantizer of a weight (out, ...) whose zero points are optimized; never worse than minimum and maximum.

    All groups are optimized together, and all stop at once, as in the released code, when the mean error stops falling.
    """
    quantizer = FloatZeroQuantizer.fit(scheme, weight)
    rows = as_rows(scheme, weight)
    scale, zero = quantizer.scale.reshape(-1, 1), quantizer.zero_point.reshape(-1, 1)
    best, least, beta = zero, float("inf"), BETA
    for _ in range(iterations + 1):
        codes = torch.clamp(torch.round(rows / scale + zero), 0, scheme.code_max)
        difference = rows - (codes - zero) * scale
        error = float(difference.abs().mean())
        if error >= least:
            break
        best, least = zero, error
        shrunk = difference.sign() * torch.relu(difference.abs() - difference.abs().clamp(min=1e-12).pow(P - 1) / beta)
        zero = (codes - (rows - shrunk) / scale).mean(dim=1, keepdim=True)
        beta *= KAPPA
    return FloatZeroQuantizer(scheme, quantizer.scale, per_row(scheme, weight, best.reshape(-1)))
