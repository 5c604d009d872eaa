"""Quantizers whose codes are not whole steps from an integer zero: NF4, log2, and HQQ's floating-point zero.

| codebook | value of code c, for scale s | for |
|---|---|---|
| `nf4` | s * level[c], 16 quantiles of a normal distribution in [-1, 1], 0 among them | weights |
| `log2` | s * 2**-c, and 0 for the last code | attention weights |
| uniform with zero point z in floating point | s * (c - z) | weights |

Each is a `Quantizer`: `codes`, `dequantize`, and `fake_quantize` = `dequantize(codes(x))`, bit for bit, whose gradient
passes straight through.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from admbench.methods.core.numbers.quantizer import Neighbours, Quantizer, along, as_rows, between_levels, per_row
from admbench.methods.core.numbers.scheme import Scheme

NF4_LEVELS = (
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
)
"""Quantiles of the normal distribution, scaled to [-1, 1] (QLoRA, arXiv 2305.14314, appendix E)."""


class CodebookQuantizer(Quantizer):
    """A quantizer that rounds through its codes."""

    def fake_quantize(self, values: Tensor) -> Tensor:
        """Return `values` rounded to what the codes can express; gradients pass straight through."""
        rounded = self.dequantize(self.codes(values))
        if torch.is_grad_enabled() and values.requires_grad:
            return values + (rounded - values).detach()
        return rounded

    def neighbours(self, values: Tensor) -> Neighbours:
        """Raise: no method chooses between the values of this codebook."""
        raise TypeError(f"codes of {type(self).__name__} have no neighbours to choose from")


class NF4Quantizer(CodebookQuantizer):
    """Normal-float levels times an absolute maximum, per tensor, channel or group. The zero point is level 7, 0."""

    @classmethod
    def fit(cls, scheme: Scheme, values: Tensor) -> Self:
        """Fit to the largest magnitudes of `values` (channels, ...)."""
        largest = per_row(scheme, values, as_rows(scheme, values.detach()).abs().amax(dim=1)).float()
        scale = torch.where(largest > 0, largest, 1.0)
        return cls(scheme, scale, torch.full_like(scale, NF4_LEVELS.index(0.0), dtype=torch.uint8))

    @torch.no_grad()
    def codes(self, values: Tensor) -> Tensor:
        """Return the uint8 code of the nearest level, same shape; of two equally near, the lower."""
        levels = torch.tensor(NF4_LEVELS, device=values.device)
        between = (levels[1:] + levels[:-1]) / 2
        return torch.bucketize(values / along(self.scale, values), between).to(torch.uint8)

    @torch.no_grad()
    def dequantize(self, codes: Tensor) -> Tensor:
        """Return the float32 values of uint8 `codes`, same shape."""
        levels = torch.tensor(NF4_LEVELS, device=codes.device)
        return levels[codes.int()].mul_(along(self.scale, codes))

    def reach(self) -> tuple[float, float]:
        """Return the smallest and the largest value that the codes express."""
        return -float(self.scale.max()), float(self.scale.max())

    def neighbours(self, values: Tensor) -> Neighbours:
        """See `Quantizer.neighbours`."""
        return between_levels(values.detach(), torch.tensor(NF4_LEVELS), along(self.scale, values))

    def allows(self, attribute: str, stored: Tensor) -> bool:
        """See `Quantizer.allows`."""
        return bool((stored > 0 if attribute == "scale" else stored == NF4_LEVELS.index(0.0)).all())


class Log2Quantizer(CodebookQuantizer):
    """Powers of two below a scale, for values in [0, scale]: what is small keeps its relative precision.

    Rounded is the exponent, to the nearest; what is below the last power becomes 0. The zero point is the last code.
    """

    @classmethod
    def fit(cls, scheme: Scheme, values: Tensor) -> Self:
        """Fit to the largest of `values`, none of them negative."""
        largest = values.detach().max().float()
        scale = torch.where(largest > 0, largest, 1.0)
        return cls(scheme, scale, torch.full_like(scale, scheme.code_max, dtype=torch.uint8))

    @torch.no_grad()
    def codes(self, values: Tensor) -> Tensor:
        """Return the uint8 codes, same shape."""
        exponents = torch.log2(values / self.scale).neg_().round_()
        return exponents.clamp_(0, self.scheme.code_max).to(torch.uint8)

    @torch.no_grad()
    def dequantize(self, codes: Tensor) -> Tensor:
        """Return the float32 values of uint8 `codes`, same shape."""
        values = torch.exp2(-codes.float()).mul_(self.scale)
        return torch.where(codes == self.scheme.code_max, 0.0, values)

    def reach(self) -> tuple[float, float]:
        """Return the smallest and the largest value that the codes express."""
        return 0.0, float(self.scale)

    def allows(self, attribute: str, stored: Tensor) -> bool:
        """See `Quantizer.allows`."""
        return bool((stored > 0 if attribute == "scale" else stored == self.scheme.code_max).all())


class FloatZeroQuantizer(CodebookQuantizer):
    """Evenly spaced codes around a zero point that is no code (HQQ): zero itself is rounded like any number.

    Args:
        scheme: with `zero` = `float`.
        scale: float32, positive.
        zero_point: float32, same shape.
    """

    @classmethod
    def unfitted(cls, scheme: Scheme, shape: Sequence[int]) -> Self:
        """Return one without numbers; see `Quantizer.unfitted`."""
        scales = scheme.scale_shape(shape)
        return cls(scheme, *(torch.empty(scales, dtype=torch.float32, device="meta") for _ in range(2)))

    @classmethod
    def fit(cls, scheme: Scheme, values: Tensor) -> Self:
        """Fit to the smallest and largest of `values` (channels, ...): these are codes, zero need not be."""
        low, high = torch.aminmax(as_rows(scheme, values.detach()), dim=1)
        scale = (high - low).double() / scheme.code_max
        scale = torch.where(high > low, scale.clamp(min=torch.finfo(torch.float32).tiny), 1.0)
        zero = torch.where(high > low, -low.double() / scale, -low.double())
        return cls(scheme, *(per_row(scheme, values, numbers.float()) for numbers in (scale, zero)))

    @torch.no_grad()
    def codes(self, values: Tensor) -> Tensor:
        """Return the uint8 codes, same shape."""
        raw = values / along(self.scale, values) + along(self.zero_point, values)
        return raw.round_().clamp_(self.scheme.code_min, self.scheme.code_max).to(torch.uint8)

    def allows(self, attribute: str, stored: Tensor) -> bool:
        """See `Quantizer.allows`: a zero point may be any number."""
        return attribute == "zero_point" or bool((stored > 0).all())


CODEBOOKS: dict[str, type[NF4Quantizer] | type[Log2Quantizer]] = {"nf4": NF4Quantizer, "log2": Log2Quantizer}
"""Quantizers by the codebook of their scheme."""
