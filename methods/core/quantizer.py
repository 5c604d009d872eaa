"""The quantizer: one scheme with its scales and zero points. All rounding of the package happens here.

For a scale s > 0 and a zero point z, both per tensor or per channel,

    steps(x)         = clamp(round(x * (1/s)), code_min - z, code_max - z)      half to even
    codes(x)         = steps(x) + z                                              unsigned, 0 .. 2**bits - 1
    dequantize(code) = (code - z) * s
    fake_quantize(x) = steps(x) * s                                              = dequantize(codes(x)), bit for bit

A range [low, high] is first widened to hold 0, and z is an integer: zero is always represented exactly. Inside the
range the error is at most s/2.
"""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn

from methods.core.scheme import Scheme


class Quantizer(nn.Module):
    """A scheme fitted to something.

    Args:
        scheme: bits, granularity, symmetry.
        scale: float32, positive and finite; shape () for granularity `tensor`, (channels,) for `channel`.
        zero_point: uint8, same shape; the code of the value 0.
    """

    scale: Tensor
    zero_point: Tensor

    def __init__(self, scheme: Scheme, scale: Tensor, zero_point: Tensor) -> None:
        super().__init__()
        self.scheme = scheme
        self.register_buffer("scale", scale)
        self.register_buffer("zero_point", zero_point)

    @classmethod
    def from_range(cls, scheme: Scheme, low: Tensor, high: Tensor) -> Self:
        """Fit to the range [low, high] of the values.

        Args:
            scheme: bits, granularity, symmetry.
            low: smallest value, finite; shape () or (channels,) as the granularity asks.
            high: largest value, likewise. Where low = high = 0 the scale is 1: every value that is 0 stays 0.
        """
        low, high = low.double().clamp(max=0), high.double().clamp(min=0)
        if scheme.symmetric:
            low, high = torch.minimum(low, -high), torch.maximum(-low, high)
        scale = (high - low) / (scheme.code_max - scheme.code_min)
        scale = torch.where(high > low, scale.clamp(min=torch.finfo(torch.float32).tiny), 1.0).float()
        zero_point = scheme.code_min + torch.round(-low / scale.double())
        if scheme.symmetric:
            zero_point = torch.full_like(zero_point, 2 ** (scheme.bits - 1))
        return cls(scheme, scale, zero_point.clamp(scheme.code_min, scheme.code_max).to(torch.uint8))

    @classmethod
    def min_max(cls, scheme: Scheme, values: Tensor) -> Self:
        """Fit to the smallest and largest of `values` (channels, ...), per channel or over all."""
        dimension = None if scheme.granularity == "tensor" else 1
        flat = values.detach().reshape(-1) if dimension is None else values.detach().flatten(1)
        low, high = torch.aminmax(flat, dim=dimension)
        return cls.from_range(scheme, low, high)

    @classmethod
    def unfitted(cls, scheme: Scheme, channels: int) -> Self:
        """Return one without numbers, on the meta device: the shapes and dtypes that a checkpoint must fill."""
        shape = () if scheme.granularity == "tensor" else (channels,)
        scale = torch.empty(shape, dtype=torch.float32, device="meta")
        return cls(scheme, scale, torch.empty(shape, dtype=torch.uint8, device="meta"))

    @torch.no_grad()
    def fake_quantize(self, values: Tensor) -> Tensor:
        """Return `values` rounded to what the codes can express, as a new tensor of the same shape and dtype."""
        return self._steps(values).mul_(self._along(self.scale, values))

    @torch.no_grad()
    def codes(self, values: Tensor) -> Tensor:
        """Return the uint8 codes of finite `values`, same shape."""
        return self._steps(values).add_(self._along(self.zero_point, values)).to(torch.uint8)

    @torch.no_grad()
    def dequantize(self, codes: Tensor) -> Tensor:
        """Return the float32 values of uint8 `codes`, same shape."""
        steps = codes.to(self.scale.dtype).sub_(self._along(self.zero_point, codes))
        return steps.mul_(self._along(self.scale, codes))

    def _steps(self, values: Tensor) -> Tensor:
        """Return the whole number of scales nearest to each value, within reach of the codes."""
        steps = (values * self._along(self.scale, values).reciprocal()).round_()
        if self.scheme.granularity == "tensor":  # numbers as bounds make clamp_ three times as fast as tensors do
            zero_point = int(self.zero_point)
            return steps.clamp_(self.scheme.code_min - zero_point, self.scheme.code_max - zero_point)
        zero_points = self._along(self.zero_point, values).to(values.dtype)
        return steps.clamp_(self.scheme.code_min - zero_points, self.scheme.code_max - zero_points)

    def _along(self, parameter: Tensor, values: Tensor) -> Tensor:
        """Return the scale or zero point shaped to broadcast over dimension 0 of `values`."""
        return parameter if parameter.ndim == 0 else parameter.view(-1, *[1] * (values.ndim - 1))

    def extra_repr(self) -> str:
        """Return the scheme in a few words, for printing."""
        kind = "symmetric" if self.scheme.symmetric else "asymmetric"
        return f"{self.scheme.bits} bits per {self.scheme.granularity}, {kind}"
