"""The quantizer: one scheme with its scales and zero points. All uniform rounding of the package happens here.

For a scale s > 0 and a zero point z, both per tensor, per channel or per group of a channel's numbers,

    steps(x)         = clamp(round(x * (1/s)), code_min - z, code_max - z)      half to even
    codes(x)         = steps(x) + z                                              unsigned, 0 .. 2**bits - 1
    dequantize(code) = (code - z) * s
    fake_quantize(x) = steps(x) * s                                              = dequantize(codes(x)), bit for bit

A range [low, high] is first widened to hold 0, and z is an integer: zero is always represented exactly. Inside the
range the error is at most s/2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from admbench.methods.core.numbers.scheme import Scheme


def scale_and_zero_point(scheme: Scheme, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Return the scale and zero point of each range [low, high], elementwise, whatever the granularity.

    Args:
        scheme: bits and symmetry.
        low: smallest values, finite; any shape.
        high: largest values, same shape. Where low = high = 0 the scale is 1: every value that is 0 stays 0.

    Returns:
        float32 scales, positive; uint8 zero points; both of that shape.
    """
    low, high = low.double().clamp(max=0), high.double().clamp(min=0)
    if scheme.symmetric:
        low, high = torch.minimum(low, -high), torch.maximum(-low, high)
    scale = (high - low) / (scheme.code_max - scheme.code_min)
    scale = torch.where(high > low, scale.clamp(min=torch.finfo(torch.float32).tiny), 1.0).float()
    if scheme.symmetric:
        return scale, torch.full_like(scale, 2 ** (scheme.bits - 1), dtype=torch.uint8)
    zero_point = scheme.code_min + torch.round(-low / scale.double())
    return scale, zero_point.clamp(scheme.code_min, scheme.code_max).to(torch.uint8)


class FakeQuantize(torch.autograd.Function):
    """`clamp(round(x / s), low, high) * s` with gradients through the rounding.

    With respect to x: straight through, 1 inside the range and 0 outside (Bengio et al., arXiv 1308.3432). With
    respect to s, as learned step size quantization has it (LSQ, Esser et al., arXiv 1902.08153, eq. 3):
    round(x/s) - x/s inside the range, the bound outside.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, scale: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """Round `values`; `scale` and the bounds, in steps, broadcast to their shape."""
        ratio = values * scale.reciprocal()
        nearest = ratio.round()
        steps = torch.clamp(nearest, low, high)
        ctx.save_for_backward(ratio, steps, nearest == steps, scale)
        return steps * scale

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        """Return the gradients of values and scale."""
        ratio, steps, inside, scale = ctx.saved_tensors
        (gradient,) = gradients
        by_values = gradient * inside if ctx.needs_input_grad[0] else None
        by_scale = None
        if ctx.needs_input_grad[1]:
            by_scale = (gradient * (steps - ratio * inside)).sum_to_size(scale.shape)
        return by_values, by_scale, None, None


def fake_quantize(values: Tensor, scheme: Scheme, scale: Tensor, zero_point: Tensor) -> Tensor:
    """Return `values` rounded, with gradients with respect to them and to `scale`; see `Quantizer` for the shapes."""
    return fake_quantize_along(values, scheme, along(scale, values), along(zero_point, values))


def fake_quantize_along(values: Tensor, scheme: Scheme, scale: Tensor, zero_point: Tensor) -> Tensor:
    """Do the same with a scale and a zero point that broadcast over `values` as they are."""
    zero = zero_point.to(values.dtype)
    rounded: Tensor = FakeQuantize.apply(values, scale, scheme.code_min - zero, scheme.code_max - zero)
    return rounded


def along(parameter: Tensor, values: Tensor) -> Tensor:
    """Return a scale or zero point shaped to broadcast over `values`.

    Args:
        parameter: (), (channels,) or (channels, groups).
        values: (channels, ...); with groups, each channel's numbers in row-major order fall into groups of one size.
    """
    if parameter.ndim == 0:
        return parameter
    if parameter.ndim == 1:
        return parameter.view(-1, *[1] * (values.ndim - 1))
    size = values[0].numel() // parameter.shape[1]
    return parameter[:, :, None].expand(*parameter.shape, size).reshape(values.shape)


class Neighbours(NamedTuple):
    """The two values that each number can be rounded to, in the shape of the numbers."""

    below: Tensor
    """The value below (above, under a negative scale), or the last one within the reach of the codes."""
    span: Tensor
    """What is added to reach the other one; 0 where the number is clipped, and there is nothing to choose."""
    rest: Tensor
    """Share of the way between them, 0..1."""


def between_levels(values: Tensor, levels: Tensor, scale: Tensor) -> Neighbours:
    """Return the neighbours of values among increasing `levels` times a scale that broadcasts."""
    levels = levels.to(values.device)
    ratio = values / scale
    index = torch.bucketize(ratio, levels, right=True).sub_(1).clamp_(0, len(levels) - 2)
    low, high = levels[index], levels[index + 1]
    inside = (ratio >= levels[0]) & (ratio < levels[-1])
    below = torch.where(ratio >= levels[-1], high, low)
    rest = torch.where(inside, (ratio - low) / (high - low), 0.0)
    return Neighbours(below * scale, torch.where(inside, high - low, 0.0) * scale, rest)


class Quantizer(nn.Module):
    """A static scheme fitted to something.

    Args:
        scheme: bits, granularity, symmetry.
        scale: float32, positive and finite; shape () for granularity `tensor`, (channels,) for `channel`,
            (channels, groups) for `group`.
        zero_point: uint8, same shape; the code of the value 0.

    >>> weight = torch.tensor([[-1.0, 0.0, 0.3, 2.0]])
    >>> quantizer = Quantizer.min_max(Scheme(bits=2, granularity="channel", symmetric=False), weight)
    >>> codes = quantizer.codes(weight)
    >>> codes, quantizer.dequantize(codes)
    (tensor([[0, 1, 1, 3]], dtype=torch.uint8), tensor([[-1.,  0.,  0.,  2.]]))
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
            low: smallest value, finite; of the scale's shape.
            high: largest value, likewise. Where low = high = 0 the scale is 1: every value that is 0 stays 0.
        """
        return cls(scheme, *scale_and_zero_point(scheme, low, high))

    @classmethod
    def min_max(cls, scheme: Scheme, values: Tensor) -> Self:
        """Fit to the smallest and largest of `values` (channels, ...), over all, per channel or per group."""
        low, high = torch.aminmax(as_rows(scheme, values.detach()), dim=1)
        return cls.from_range(scheme, *(per_row(scheme, values, end) for end in (low, high)))

    @classmethod
    def fit(cls, scheme: Scheme, values: Tensor) -> Self:
        """Fit to `values` (channels, ...) by the scheme's own rule: `min_max`."""
        return cls.min_max(scheme, values)

    @classmethod
    def joined(cls, scheme: Scheme, parts: Sequence[Quantizer]) -> Self:
        """Return one of the columns of several, each of some columns of a weight (channels, columns).

        Args:
            scheme: of the whole.
            parts: of this class, in the order of their columns; what they have one of, for all columns, is the first's.
        """
        first, *_ = buffers = [dict(part.named_buffers()) for part in parts]
        whole = {
            name: torch.cat([one[name] for one in buffers], 1) if own.ndim == 2 else own for name, own in first.items()
        }
        return cls(scheme, **whole)

    @classmethod
    def unfitted(cls, scheme: Scheme, shape: Sequence[int]) -> Self:
        """Return one for values of a shape (channels, ...), without numbers, on the meta device.

        Its shapes and dtypes are those that a checkpoint must fill.
        """
        scales = scheme.scale_shape(shape)
        scale = torch.empty(scales, dtype=torch.float32, device="meta")
        return cls(scheme, scale, torch.empty(scales, dtype=torch.uint8, device="meta"))

    def of_column(self, column: int) -> Quantizer:
        """Return a quantizer of one column of a weight (channels, columns) that this one was fitted to."""
        if self.scale.ndim < 2:
            return self
        group = column // (self.scheme.group_size or 1)
        own = self.scheme.model_copy(update={"granularity": "channel", "group_size": None})
        return Quantizer(own, self.scale[:, group], self.zero_point[:, group])

    def fake_quantize(self, values: Tensor) -> Tensor:
        """Return `values` rounded to what the codes can express, as a new tensor of the same shape and dtype.

        Where a gradient of `values` or of the scale is asked for, it passes as `FakeQuantize` says.
        """
        if torch.is_grad_enabled() and (values.requires_grad or self.scale.requires_grad):
            return fake_quantize(values, self.scheme, self.scale, self.zero_point)
        with torch.no_grad():
            return self._steps(values).mul_(along(self.scale, values))

    @torch.no_grad()
    def codes(self, values: Tensor) -> Tensor:
        """Return the uint8 codes of finite `values`, same shape."""
        return self._steps(values).add_(along(self.zero_point, values)).to(torch.uint8)

    @torch.no_grad()
    def dequantize(self, codes: Tensor) -> Tensor:
        """Return the float32 values of uint8 `codes`, same shape."""
        steps = codes.to(self.scale.dtype).sub_(along(self.zero_point, codes))
        return steps.mul_(along(self.scale, codes))

    def reach(self) -> tuple[float, float]:
        """Return the smallest and the largest value that the codes express, whatever the channel."""
        ends = torch.tensor([self.scheme.code_min, self.scheme.code_max], device=self.scale.device)
        values = (ends - self.zero_point.reshape(-1, 1).float()) * self.scale.reshape(-1, 1)
        return float(values.min()), float(values.max())

    def neighbours(self, values: Tensor) -> Neighbours:
        """Return the values below and above each of `values` (channels, ...), for methods that choose between them."""
        scale, zero = along(self.scale, values), along(self.zero_point, values).to(values.dtype)
        low, high = self.scheme.code_min - zero, self.scheme.code_max - zero
        ratio = values.detach() * scale.reciprocal()
        floor = ratio.floor()
        free = ((floor >= low) & (floor < high)).to(values.dtype)
        return Neighbours(torch.clamp(floor, low, high) * scale, free * scale, ratio - floor)

    @property
    def packed_bits(self) -> dict[str, int]:
        """Bits of a number of each buffer that a checkpoint holds packed, as codes are; others it holds as they are."""
        return {}

    @property
    def stored_bytes(self) -> int:
        """Bytes of its buffers in a checkpoint."""
        return sum(
            -(-buffer.numel() * self.packed_bits.get(name, 8 * buffer.element_size()) // 8)
            for name, buffer in self.named_buffers()
        )

    def allows(self, attribute: str, stored: Tensor) -> bool:
        """Return whether a buffer may hold these numbers, which are finite; for what comes from a file."""
        if attribute == "scale":
            return bool((stored > 0).all())
        if self.scheme.symmetric:
            return bool((stored == 2 ** (self.scheme.bits - 1)).all())
        return bool((stored <= self.scheme.code_max).all())

    def refuse_codes(self, codes: Tensor) -> str | None:
        """Return what is wrong with codes of as many bits as the scheme has; None if all stand for a number."""
        if codes.numel() and int(codes.min()) < self.scheme.code_min:
            return f"code {int(codes.min())} is below {self.scheme.code_min}"
        return None

    def _steps(self, values: Tensor) -> Tensor:
        """Return the whole number of scales nearest to each value, within reach of the codes."""
        steps = (values * along(self.scale, values).reciprocal()).round_()
        if self.scheme.granularity == "tensor":  # numbers as bounds make clamp_ three times as fast as tensors do
            zero_point = int(self.zero_point)
            return steps.clamp_(self.scheme.code_min - zero_point, self.scheme.code_max - zero_point)
        zero_points = along(self.zero_point, values).to(values.dtype)
        return steps.clamp_(self.scheme.code_min - zero_points, self.scheme.code_max - zero_points)

    def extra_repr(self) -> str:
        """Return the scheme in a few words, for printing."""
        kind = "symmetric" if self.scheme.symmetric else "asymmetric"
        return f"{self.scheme.bits} bits per {self.scheme.granularity}, {kind}, {self.scheme.codebook}"


def as_rows(scheme: Scheme, values: Tensor) -> Tensor:
    """Return values (channels, ...) as (rows, n), every row of which shares a scale under a static scheme."""
    if scheme.granularity == "tensor":
        return values.reshape(1, -1)
    return values.flatten(1) if scheme.group_size is None else values.reshape(-1, scheme.group_size)


def per_row(scheme: Scheme, values: Tensor, numbers: Tensor) -> Tensor:
    """Return a number for each row of `as_rows`, (rows,), in the shape of the scheme's scales for these values."""
    return numbers.reshape(scheme.scale_shape(values.shape))
