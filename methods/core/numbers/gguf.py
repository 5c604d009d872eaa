"""The number formats of GGUF files (ggml, llama.cpp): Q8_0, Q4_0, Q4_K, Q5_K, Q6_K.

A code q of a group with scale s and offset o stands for q * s - o.

| format | group | stored of a group | of a super-block of 256 | offset |
|---|---|---|---|---|
| Q8_0 | 32 | s, float16 | | 128 s |
| Q4_0 | 32 | s, float16, of either sign | | 8 s |
| Q4_K, Q5_K | 32 | two integers of 6 bits, a and b | d and m, float16 | m b, not negative; s = d a |
| Q6_K | 16 | an integer of 8 bits, a | d, float16 | 32 s; s = d a |

Q8_0 and Q4_0 round as ggml's reference does, by the scale before it becomes float16: their bytes are those of the
package `gguf`. How a K format finds its scales is no part of the format, and here our own: of some scales per group the
one of least squared error, refined by least squares for the codes that it gives; ggml weighs that error by the weights'
magnitudes. A super-block is as many whole groups of a row as divide it, at most 256 numbers.

Simulated: layers compute in float32 what the codes say.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from admbench.methods.core.numbers.codebooks import CodebookQuantizer
from admbench.methods.core.numbers.quantizer import Neighbours, Quantizer, along, as_rows
from admbench.methods.core.numbers.scheme import Scheme, group_size_for

SUPER_BLOCK = 256
"""Most numbers of a super-block."""
LARGEST_HALF = torch.finfo(torch.float16).max
MOST_SUB = 63
"""Largest integer of 6 bits."""
SHIFTS = [step / 10 for step in range(-10, 11)]
"""By which the number of steps within a group's range is changed, of the scales that are tried."""


class AffineQuantizer(CodebookQuantizer):
    """Evenly spaced codes of either direction: value = code * scale - offset. Zero need not be a code.

    Args:
        scheme: bits.
        scale: float32 (channels,) or (channels, groups), of either sign or 0.
        offset: float32, same shape.
    """

    offset: Tensor

    def __init__(self, scheme: Scheme, scale: Tensor, offset: Tensor) -> None:
        torch.nn.Module.__init__(self)
        self.scheme = scheme
        self.register_buffer("scale", scale)
        self.register_buffer("offset", offset)

    @property
    def zero_point(self) -> Tensor:  # type: ignore[override]
        """Where zero lies among the codes, in floating point."""
        return self.offset * _reciprocal(self.scale)

    @torch.no_grad()
    def codes(self, values: Tensor) -> Tensor:
        """Return the uint8 codes of finite `values`, same shape."""
        return self._ratio(values).round_().clamp_(0, self.scheme.code_max).to(torch.uint8)

    @torch.no_grad()
    def dequantize(self, codes: Tensor) -> Tensor:
        """Return the float32 values of uint8 `codes`, same shape."""
        return codes.float().mul_(along(self.scale, codes)).sub_(along(self.offset, codes))

    def neighbours(self, values: Tensor) -> Neighbours:
        """See `Quantizer.neighbours`."""
        ratio, most = self._ratio(values.detach()), self.scheme.code_max
        floor = ratio.floor()
        free = ((floor >= 0) & (floor < most)).to(values.dtype)
        scale = along(self.scale, values)
        return Neighbours(floor.clamp(0, most) * scale - along(self.offset, values), free * scale, ratio - floor)

    def of_column(self, column: int) -> Quantizer:
        """See `Quantizer.of_column`."""
        if self.scale.ndim < 2:
            return self
        group = column // (self.scheme.group_size or 1)
        return AffineQuantizer(self.scheme, self.scale[:, group], self.offset[:, group])

    def reach(self) -> tuple[float, float]:
        """Return the smallest and the largest value that the codes express."""
        ends = torch.stack([-self.offset, self.scheme.code_max * self.scale - self.offset])
        return float(ends.min()), float(ends.max())

    def _ratio(self, values: Tensor) -> Tensor:
        return (values + along(self.offset, values)) * along(_reciprocal(self.scale), values)


class HalfScaleQuantizer(AffineQuantizer):
    """Groups under a float16 scale: Q8_0 and Q4_0.

    Args:
        scheme: with scales in `float16`.
        half_scale: float16 (channels, groups).
        exact: the scale before it was rounded, float32, by which `codes` rounds; None after loading.
    """

    half_scale: Tensor

    def __init__(self, scheme: Scheme, half_scale: Tensor, exact: Tensor | None = None) -> None:
        torch.nn.Module.__init__(self)
        self.scheme = scheme
        self.register_buffer("half_scale", half_scale)
        self._exact = exact

    @property
    def scale(self) -> Tensor:  # type: ignore[override]
        """The scales, float32 (channels, groups)."""
        return self.half_scale.float()

    @property
    def offset(self) -> Tensor:  # type: ignore[override]
        """The middle code times the scale."""
        return 2 ** (self.scheme.bits - 1) * self.scale

    @classmethod
    def unfitted(cls, scheme: Scheme, shape: Sequence[int]) -> Self:
        """See `Quantizer.unfitted`."""
        return cls(scheme, torch.empty(scheme.scale_shape(shape), dtype=torch.float16, device="meta"))

    @classmethod
    def fit(cls, scheme: Scheme, values: Tensor) -> Self:
        """Fit to `values` (channels, ...), the number of largest magnitude at the end of the codes."""
        rows = as_rows(scheme, values.detach().float())
        if scheme.bits == 8:
            scale = rows.abs().amax(1) / 127
        else:  # the largest is code 0, whatever its sign
            scale = rows.gather(1, rows.abs().argmax(1, keepdim=True)).squeeze(1) / -(2 ** (scheme.bits - 1))
        scale = scale.clamp(-LARGEST_HALF, LARGEST_HALF).view(scheme.scale_shape(values.shape))
        return cls(scheme, scale.half(), scale)

    @torch.no_grad()
    def codes(self, values: Tensor) -> Tensor:
        """Return the uint8 codes of finite `values`, same shape; halves are rounded as ggml rounds them."""
        scale = self.scale if self._exact is None else self._exact
        ratio, middle = values * along(_reciprocal(scale), values), 2 ** (self.scheme.bits - 1)
        if self.scheme.bits == 8:  # away from zero
            steps = ratio.abs().add_(0.5).floor_().copysign_(ratio).add_(middle)
        else:  # up
            steps = (ratio + (middle + 0.5)).floor_()
        return steps.clamp_(0, self.scheme.code_max).to(torch.uint8)

    def allows(self, attribute: str, stored: Tensor) -> bool:
        """See `Quantizer.allows`."""
        return self.scheme.bits != 8 or bool((stored >= 0).all())


class SuperBlockQuantizer(AffineQuantizer):
    """Groups whose scale is an integer times a float16 scale of their super-block: Q4_K, Q5_K and Q6_K.

    Args:
        scheme: with scales in `k`.
        super_scale: float16 (channels, super-blocks).
        sub_scales: (channels, groups): uint8 below 64, or int8 where the scheme is symmetric.
        super_min: float16, as `super_scale`, not negative; None where the scheme is symmetric.
        sub_mins: uint8 below 64, as `sub_scales`; likewise.
    """

    super_scale: Tensor
    sub_scales: Tensor
    super_min: Tensor | None
    sub_mins: Tensor | None

    def __init__(
        self,
        scheme: Scheme,
        super_scale: Tensor,
        sub_scales: Tensor,
        super_min: Tensor | None = None,
        sub_mins: Tensor | None = None,
    ) -> None:
        torch.nn.Module.__init__(self)
        self.scheme = scheme
        self.register_buffer("super_scale", super_scale)
        self.register_buffer("sub_scales", sub_scales)
        self.register_buffer("super_min", super_min)
        self.register_buffer("sub_mins", sub_mins)

    @property
    def scale(self) -> Tensor:  # type: ignore[override]
        """The scale of each group, float32 (channels, groups)."""
        return _spread(self.super_scale.float(), self.sub_scales) * self.sub_scales.float()

    @property
    def offset(self) -> Tensor:  # type: ignore[override]
        """The minimum of each group, its sign turned, or the middle code times the scale."""
        if self.super_min is None or self.sub_mins is None:
            return 2 ** (self.scheme.bits - 1) * self.scale
        return _spread(self.super_min.float(), self.sub_mins) * self.sub_mins.float()

    @property
    def packed_bits(self) -> dict[str, int]:
        """See `Quantizer.packed_bits`."""
        return {} if self.scheme.symmetric else {"sub_scales": 6, "sub_mins": 6}

    @classmethod
    def unfitted(cls, scheme: Scheme, shape: Sequence[int]) -> Self:
        """See `Quantizer.unfitted`."""
        channels, groups = scheme.scale_shape(shape)
        supers = groups // super_groups(scheme, groups)
        sub_type = torch.int8 if scheme.symmetric else torch.uint8
        halves = [torch.empty(channels, supers, dtype=torch.float16, device="meta") for _ in range(2)]
        subs = [torch.empty(channels, groups, dtype=sub_type, device="meta") for _ in range(2)]
        return cls(scheme, halves[0], subs[0], *(() if scheme.symmetric else (halves[1], subs[1])))

    @classmethod
    def fit(cls, scheme: Scheme, values: Tensor) -> Self:
        """Fit to `values` (channels, ...): groups by themselves, then their scales to those of their super-block."""
        rows = as_rows(scheme, values.detach().float())
        shape = scheme.scale_shape(values.shape)
        together = super_groups(scheme, shape[1])
        if scheme.symmetric:
            scale = symmetric_scales(rows, scheme.bits).view(shape[0], -1, together)
            # the largest, of whatever sign, becomes -128
            largest = scale.gather(2, scale.abs().argmax(2, keepdim=True))
            super_scale, sub = _shared(scale, largest / -128, -128, 127)
            return cls(scheme, super_scale, sub.to(torch.int8).view(shape))
        parts: list[Tensor] = []
        for numbers in affine_scales(rows, scheme.code_max):
            grouped = numbers.view(shape[0], -1, together)
            half, sub = _shared(grouped, grouped.amax(2, keepdim=True) / MOST_SUB, 0, MOST_SUB)
            parts += [half, sub.to(torch.uint8).view(shape)]
        return cls(scheme, *parts)

    def allows(self, attribute: str, stored: Tensor) -> bool:
        """See `Quantizer.allows`: six bits hold nothing else, and scales have either sign."""
        return attribute != "super_min" or bool((stored >= 0).all())


def super_groups(scheme: Scheme, groups: int) -> int:
    """Return how many groups a super-block of a row of `groups` has."""
    return group_size_for(groups, SUPER_BLOCK // (16 if scheme.symmetric else 32))


@torch.no_grad()
def affine_scales(rows: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Return scale and offset, neither negative, of least squared error among those tried for each row.

    Args:
        rows: (n, size) float32.
        most: largest code.
    """
    low, high = rows.amin(1, True).clamp(max=0), rows.amax(1, True)
    best_scale, best_offset = torch.zeros_like(low), torch.zeros_like(low)
    least = torch.full_like(low, torch.inf)
    for shift in SHIFTS:
        codes = ((rows - low) * _reciprocal((high - low) / (most + shift))).round_().clamp_(0, most)
        scale, offset = _least_squares(rows, codes)
        # codes that are nearest to what was found, and what they leave
        again = ((rows + offset) * _reciprocal(scale)).round_().clamp_(0, most)
        error = (again * scale - offset - rows).square_().sum(1, keepdim=True)
        better = error < least
        best_scale, best_offset = torch.where(better, scale, best_scale), torch.where(better, offset, best_offset)
        least = torch.minimum(error, least)
    return best_scale.squeeze(1), best_offset.squeeze(1)


def _least_squares(rows: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
    """Return the scale and the offset, neither negative, of least squared error for given codes, (n, 1) each."""
    size = rows.shape[1]
    q, qq, x, qx = (part.sum(1, keepdim=True) for part in (codes, codes * codes, rows, codes * rows))
    determinant = size * qq - q * q
    scale = ((size * qx - q * x) * _reciprocal(determinant)).clamp(min=0)
    offset = (q * scale - x) / size
    alone = (qx * _reciprocal(qq)).clamp(min=0)  # where the offset would be negative it is 0
    return torch.where(offset > 0, scale, alone), offset.clamp(min=0)


@torch.no_grad()
def symmetric_scales(rows: Tensor, bits: int) -> Tensor:
    """Return the scale, of either sign, of least squared error among those tried for each row; (n,)."""
    half = 2 ** (bits - 1)
    largest = rows.gather(1, rows.abs().argmax(1, keepdim=True))
    best, most = torch.zeros_like(largest), torch.zeros_like(largest)
    for shift in SHIFTS:
        codes = (rows * _reciprocal(largest / -(half + shift))).round_().clamp_(-half, half - 1)
        product, square = (codes * rows).sum(1, keepdim=True), (codes * codes).sum(1, keepdim=True)
        explained = product * product * _reciprocal(square)  # the error is sum x^2 less this
        best = torch.where(explained > most, product * _reciprocal(square), best)
        most = torch.maximum(explained, most)
    return best.squeeze(1)


def _shared(scales: Tensor, unit: Tensor, low: int, high: int) -> tuple[Tensor, Tensor]:
    """Return the float16 unit of scales (channels, super-blocks, groups), and the scales as multiples of it."""
    half = unit.clamp(-LARGEST_HALF, LARGEST_HALF).half()
    multiples = (scales * _reciprocal(half.float())).round_().clamp_(low, high)
    return half.squeeze(2), multiples


def _spread(of_supers: Tensor, of_groups: Tensor) -> Tensor:
    """Return what super-blocks have (channels, super-blocks) for each of their groups (channels, groups)."""
    return of_supers.repeat_interleave(of_groups.shape[1] // of_supers.shape[1], 1)


def _reciprocal(scale: Tensor) -> Tensor:
    """Return 1 / scale; 0 where it is 0, whose numbers are all 0."""
    return torch.where(scale == 0, 0.0, scale.reciprocal())
