"""The integer weights of a kernel in memory: arranged for the processor once, or kept packed and unpacked per call.

Weights of up to 4 bits take half a byte each while packed. Unpacking them at every call keeps them so: the memory of a
whole backbone at 4 bits, plus one layer at 8, for the time that unpacking takes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Self, TypeVar, cast

import torch
from torch import Tensor, nn

from admbench.methods.core.numbers.quantizer import Quantizer

Unpack = Literal["once", "layer"]
"""When weights become int8: `once`, and stay so, or `layer` by layer at every call."""

Arranged = TypeVar("Arranged", bound=Tensor | nn.Module)

HALF_BYTE = 4
"""Codes of at most this many bits are stored two to a byte."""


class Weights(nn.Module):
    """Weight codes less their zero points, as a signed byte each.

    Args:
        codes: (out, ...) uint8.
        zero_point: (out,) uint8.
        bits: of a code.
    """

    def __init__(self, codes: Tensor, zero_point: Tensor, bits: int) -> None:
        super().__init__()
        self._codes: Tensor | None = codes
        self._zero_point, self.bits, self.shape = zero_point, bits, tuple(codes.shape)
        self._packed = False
        self._arranged: Tensor | nn.Module | None = None

    @classmethod
    def of(cls, quantizer: Quantizer, codes: Tensor) -> Self:
        """Return those of a quantizer per tensor or per channel."""
        return cls(codes, quantizer.zero_point.expand(len(codes)).contiguous(), quantizer.scheme.bits)

    @classmethod
    def joined(cls, parts: Sequence[Weights]) -> Weights:
        """Return the weights of one layer with the outputs of all."""
        codes = torch.cat([part._unpacked() for part in parts])
        return cls(codes, torch.cat([part._zero_point for part in parts]), max(part.bits for part in parts))

    def part(self, outputs: slice) -> Weights:
        """Return those of some of the outputs."""
        return Weights(self._unpacked()[outputs].contiguous(), self._zero_point[outputs].contiguous(), self.bits)

    def signed(self) -> Tensor:
        """Return the weights in scales, int8 (out, ...)."""
        zero_point = self._zero_point.to(torch.int16).view(-1, *[1] * (len(self.shape) - 1))
        return (self._unpacked().to(torch.int16) - zero_point).to(torch.int8)

    def pack(self) -> None:
        """Keep them packed from now on, and unpack them at every call."""
        codes = self._unpacked().reshape(-1)
        self._packed = True
        if self.bits <= HALF_BYTE:
            codes = torch.cat([codes, codes.new_zeros(len(codes) % 2)]).view(-1, 2)
            codes = codes[:, 0] | (codes[:, 1] << HALF_BYTE)
        self._codes = codes

    @property
    def packed(self) -> bool:
        """Whether they are unpacked at every call."""
        return self._packed

    def arranged(self, arrange: Callable[[Tensor], Arranged]) -> Arranged:
        """Return what `arrange` makes of the signed weights; found once and kept in their stead, unless packed."""
        if self._packed:
            return arrange(self.signed())
        if self._arranged is None:
            self._arranged, self._codes = arrange(self.signed()), None
        return cast(Arranged, self._arranged)

    def _unpacked(self) -> Tensor:
        assert self._codes is not None, "the weights are arranged for the processor already"
        if not self._packed:
            return self._codes
        if self.bits > HALF_BYTE:
            return self._codes.view(self.shape)
        pairs = torch.stack([self._codes & 15, self._codes >> HALF_BYTE], dim=1)
        return pairs.reshape(-1)[: torch.Size(self.shape).numel()].view(self.shape)
