"""Small floating-point numbers: E4M3 and E5M2 of 8 bits (OCP OFP8), E2M1 of 4 (OCP MX). Codes are their bits.

| element | bits | largest | smallest above 0 | codes that are no numbers |
|---|---|---|---|---|
| E4M3 | 8 | 448 | 2^-9 | 0x7F, 0xFF: NaN |
| E5M2 | 8 | 57344 | 2^-16 | 0x7C..0x7F, 0xFC..0xFF: infinities, NaN |
| E2M1 | 4 | 6 | 0.5 | none |

Rounding is to nearest, half to even; what is beyond the largest becomes the largest. Zero has one code, 0: minus zero
is never written.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from admbench.methods.core.numbers.scheme import Codebook


@dataclass(frozen=True)
class Element:
    """A type of small floating-point numbers."""

    bits: int
    largest: float
    exponent: int
    """Of the largest number: floor(log2(largest))."""
    dtype: torch.dtype | None
    """Torch's type of it, which rounds and decodes; None where torch has none of one code a byte."""

    @cached_property
    def values(self) -> Tensor:
        """The float32 value of each code, (2**bits,); NaN or infinite where it is no number."""
        if self.dtype is not None:
            return torch.arange(2**self.bits, dtype=torch.int32).to(torch.uint8).view(self.dtype).float()
        positive = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])
        return torch.cat([positive, -positive])

    @cached_property
    def levels(self) -> Tensor:
        """The finite numbers that there are, float32, increasing."""
        return self.values[torch.isfinite(self.values)].unique()

    def encode(self, values: Tensor) -> Tensor:
        """Return the uint8 code of the nearest number to each of float32 `values`, finite; same shape."""
        clamped = values.clamp(-self.largest, self.largest)
        codes = _encode_e2m1(clamped) if self.dtype is None else clamped.to(self.dtype).view(torch.uint8)
        return codes.masked_fill_(codes == 2 ** (self.bits - 1), 0)  # minus zero

    def decode(self, codes: Tensor) -> Tensor:
        """Return the float32 values of uint8 `codes`, same shape."""
        if self.dtype is not None:
            return codes.view(self.dtype).float()
        return self.values.to(codes.device)[codes.int()]

    def are_numbers(self, codes: Tensor) -> bool:
        """Return whether every code is that of a finite number."""
        return bool(torch.isfinite(self.values.to(codes.device)[codes.int()]).all())


def _encode_e2m1(values: Tensor) -> Tensor:
    """Return the codes of numbers within -6..6.

    Between 2**e and 2**(e + 1) numbers are 2**(e - 1) apart, and 0.5 apart below 1; float32's own rounding to a whole
    number of these steps is half to even, as the bits of a code are.
    """
    size = values.abs()
    step = torch.where(size >= 4, 2.0, torch.where(size >= 2, 1.0, 0.5))
    nearest = (size / step).round_().mul_(step)  # 0, 0.5, 1, 1.5, 2, 3, 4, 6
    codes = torch.where(nearest < 2, 2 * nearest, torch.where(nearest < 4, nearest + 2, nearest / 2 + 4))
    return codes.to(torch.uint8).add_(8 * torch.signbit(values).to(torch.uint8))


ELEMENTS: dict[Codebook, Element] = {
    "e4m3": Element(8, 448.0, 8, torch.float8_e4m3fn),
    "e5m2": Element(8, 57344.0, 15, torch.float8_e5m2),
    "e2m1": Element(4, 6.0, 2, None),
}
"""Types by the codebook of a scheme."""
