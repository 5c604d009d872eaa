"""Where to clip: the range that a quantizer is fitted to, from the values that it will round.

`minmax` loses nothing to clipping and spends codes on outliers. `percentile` cuts a fixed share of either tail. `mse`
(`lp_range`) tries shrunken ranges and keeps the one of least error. `ema` averages the ranges that inputs have in one
batch after another (`ranges.input_ranges`); of a weight, which is always the same, it is `minmax`. A number format that
finds its scales by a search of its own (`Scheme.searches`) has that search whatever the rule.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from admbench.methods.core.numbers.fitting import fit_weight, quantizer_class
from admbench.methods.core.numbers.floats import FloatQuantizer, float_quantizer
from admbench.methods.core.numbers.quantizer import Quantizer, as_rows, per_row, scale_and_zero_point
from admbench.methods.core.numbers.scheme import FLOAT_CODEBOOKS, Scheme

RangeRule = Literal["minmax", "percentile", "mse", "ema"]
PERCENTILE = 99.99
"""Values above this percentile, and below 100 minus it, are clipped by `percentile`."""
MOMENTUM = 0.95
"""Of the average of `ema`, as in Q-Diffusion's released code."""
CANDIDATES = 80
"""Shrink factors 1.00, 0.99, ... that `lp_range` tries, as Q-Diffusion's released code does."""
POWER = 2.4
"""p of `fit_lp`, in Q-Diffusion's released code and in those that followed it."""
TOGETHER = 10
"""Candidates that the search tries, at most, before it looks which channels need no further one."""
SLACK = 1e-3
"""Share by which what is clipped must exceed the least error so far: sums of float32 are good to less."""
WORKING_VALUES = 2**19
"""Numbers that one pass of the search works on, small enough for a cache; more if a single channel has more."""


def percentile_range(scheme: Scheme, values: Tensor) -> tuple[Tensor, Tensor]:
    """Return the percentiles 100 - `PERCENTILE` and `PERCENTILE` of values (channels, ...) as the granularity asks.

    Interpolated linearly between neighbours, by partial sorting: of tensors of any size.
    """
    rows = as_rows(scheme, values)
    count = rows.shape[1]
    position = (1 - PERCENTILE / 100) * (count - 1)
    below = int(position)
    share = position - below
    taken = min(below + 2, count)
    smallest = rows.topk(taken, dim=1, largest=False).values
    largest = rows.topk(taken, dim=1).values
    inner = min(below + 1, count - 1)
    low = smallest[:, below].lerp(smallest[:, inner], share)
    high = largest[:, below].lerp(largest[:, inner], share)
    return per_row(scheme, values, low), per_row(scheme, values, high)


def lp_range(scheme: Scheme, values: Tensor, *, p: float = 2.0, candidates: int = CANDIDATES) -> tuple[Tensor, Tensor]:
    """Return the shrunken min-max range whose rounding has the least sum of |error|**p.

    A range holds 0, so that padding stays exact: one of a single sign starts at 0, which costs a channel of far-off
    numbers codes (up to 3.6 times the error of a range of its own). Both ends shrink by the same factor
    1 - i/100, as in Q-Diffusion's released code (which takes p = 2.4). Candidate 0 is the min-max range, so the result
    is never worse than it. Candidates that cannot be the best are left out; passes are of
    bounded memory.

    Args:
        scheme: bits, granularity, symmetry.
        values: (channels, ...) float32, finite.
        p: power of the error.
        candidates: number of factors, 1..100.

    Returns:
        low and high, in the shape of the scheme's scales.
    """
    rows = as_rows(scheme, values)
    channels, count = rows.shape
    low, high = torch.aminmax(rows, dim=1)
    factors = 1 - torch.arange(candidates, device=rows.device) / 100
    scales, zero_points = scale_and_zero_point(scheme, low[:, None] * factors, high[:, None] * factors)
    width = max(1, min(candidates, TOGETHER, WORKING_VALUES // count))
    at_once = max(1, WORKING_VALUES // (count * width))
    best = torch.cat(
        [
            factors[_least_error(scheme, rows[some], scales[some], zero_points[some], p, width)]
            for some in (slice(first, first + at_once) for first in range(0, channels, at_once))
        ]
    )
    return per_row(scheme, values, low * best), per_row(scheme, values, high * best)


def _least_error(scheme: Scheme, rows: Tensor, scales: Tensor, zero_points: Tensor, p: float, width: int) -> Tensor:
    """Return which of its (c, k) candidates rounds each of (c, n) rows with the least sum of |error|**p, (c,).

    The first of equals, which is the widest. `width` candidates are tried together, and a row is left when what those
    that remain would clip of it alone is no less than its least error: most of 8 bits, half of 4.
    """
    candidates = scales.shape[1]
    zeros = zero_points.to(scales.dtype)
    # where the widest of a candidate and those after it ends
    lowest = ((scheme.code_min - zeros) * scales).flip(1).cummin(1).values.flip(1)
    highest = ((scheme.code_max - zeros) * scales).flip(1).cummax(1).values.flip(1)
    best = torch.zeros(len(rows), dtype=torch.int64, device=rows.device)
    least = torch.full((len(rows),), torch.inf, device=rows.device)
    left = torch.arange(len(rows), device=rows.device)
    for first in range(0, candidates, width):
        tried = slice(first, first + width)
        errors = _errors(scheme, rows, scales[left, tried], zero_points[left, tried], p)
        place = errors.argmin(dim=1, keepdim=True)
        error = errors.gather(1, place)[:, 0]
        better = error < least[left]
        best[left[better]] = place[better, 0] + first
        least[left] = torch.minimum(error, least[left])
        if tried.stop >= candidates:
            break
        clipped = rows.clamp(lowest[left, tried.stop, None], highest[left, tried.stop, None]).sub_(rows)
        undecided = _total(clipped, p) < (1 + SLACK) * least[left]
        left, rows = left[undecided], rows[undecided]
        if not len(left):
            break
    return best


def _errors(scheme: Scheme, rows: Tensor, scales: Tensor, zero_points: Tensor, p: float) -> Tensor:
    """Return sum |error|**p of each of (c, n) rows under each of its (c, k) candidates, (c, k)."""
    scale, zero = scales[:, :, None], zero_points[:, :, None].to(rows.dtype)
    steps = (rows[:, None] * scale.reciprocal()).round_()
    torch.maximum(steps, scheme.code_min - zero, out=steps)
    torch.minimum(steps, scheme.code_max - zero, out=steps)
    return _total(steps.mul_(scale).sub_(rows[:, None]), p)


def _total(error: Tensor, p: float) -> Tensor:
    """Return sum |error|**p over the last dimension; overwrites the errors."""
    return (error.square_() if p == 2 else error.abs_().pow_(p)).sum(dim=-1)


def fit_percentile(scheme: Scheme, values: Tensor) -> Quantizer:
    """Return a quantizer fitted by `percentile_range`."""
    if scheme.searches:
        return fit_weight(scheme, values)
    return quantizer_class(scheme).from_range(scheme, *percentile_range(scheme, values.detach()))


def fit_mse(scheme: Scheme, values: Tensor) -> Quantizer:
    """Return a quantizer fitted by the range of least squared error, see `lp_range`."""
    return _fit_power(scheme, values.detach(), 2.0)


def fit_lp(scheme: Scheme, values: Tensor) -> Quantizer:
    """Return a quantizer fitted by the range of least |error|**`POWER`, see `lp_range`."""
    return _fit_power(scheme, values.detach(), POWER)


def _fit_power(scheme: Scheme, values: Tensor, p: float) -> Quantizer:
    if scheme.searches:
        return fit_weight(scheme, values)
    if scheme.codebook in FLOAT_CODEBOOKS:
        return fit_float_lp(scheme, values, p=p)
    return Quantizer.from_range(scheme, *lp_range(scheme, values, p=p))


def fit_float_lp(scheme: Scheme, values: Tensor, *, p: float = 2.0) -> FloatQuantizer:
    """Return a quantizer with floating-point codes, of scaled largest magnitudes the ones of least |error|**p.

    Magnitudes are shrunk as `lp_range` shrinks ranges; where scales are powers of two, halved and doubled. The format's
    own scale is candidate 0, so the result is never worse than it.
    """
    kind = float_quantizer(scheme)
    largest = per_row(scheme, values, as_rows(scheme, values).abs().amax(dim=1)).float()
    whole = largest.max()
    least, best = torch.full_like(largest, torch.inf), torch.ones_like(largest)
    for factor in (1.0, 2.0, 0.5) if scheme.scales == "e8m0" else (1 - i / 100 for i in range(CANDIDATES)):
        error = kind.from_largest(scheme, largest * factor, whole).fake_quantize(values) - values
        total = per_row(scheme, values, as_rows(scheme, error).abs().pow_(p).sum(dim=1))
        best, least = torch.where(total < least, factor, best), torch.minimum(total, least)
    return kind.from_largest(scheme, largest * best, whole)


FITS: dict[RangeRule, Callable[[Scheme, Tensor], Quantizer]] = {
    "minmax": fit_weight,
    "percentile": fit_percentile,
    "mse": fit_mse,
    "ema": fit_weight,
}
"""Scheme and values (channels, ...) -> fitted quantizer, by the name of the rule."""
