"""Quantizers whose codes are small floating-point numbers: FP8, and the blocks of MXFP8, MXFP4 and NVFP4.

For the largest magnitude a of what shares a scale, and an element type whose largest number is e:

| scales | scale | source |
|---|---|---|
| float32 | a / e: the largest becomes the largest | the usual way of FP8, such as torchao's |
| E8M0 | 2 ** (floor(log2 a) - floor(log2 e)): what is beyond e is cut off | OCP MX 1.0, section 6.3 |
| E4M3 | t * E4M3(a / (e t)), one t = max a / (448 e) a tensor, in float32 | NVIDIA, NVFP4, 2025 |

Each computes in floating point what such hardware would read: simulated, no kernel of this package reads these codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from admbench.methods.core.numbers.codebooks import CodebookQuantizer
from admbench.methods.core.numbers.dynamic import DynamicQuantizer
from admbench.methods.core.numbers.elements import ELEMENTS, Element
from admbench.methods.core.numbers.quantizer import Neighbours, Quantizer, along, as_rows, between_levels, per_row
from admbench.methods.core.numbers.scheme import Scheme

E8M0_BIAS, E8M0_LARGEST = 127, 254
"""A byte c stands for 2 ** (c - 127); 255 is NaN."""
_E4M3 = ELEMENTS["e4m3"]
LEAST_BLOCK_SCALE = 1
"""Code of the smallest E4M3 number above zero: no scale is zero."""
_TINY = torch.finfo(torch.float32).tiny


def float32_scales(element: Element, largest: Tensor) -> Tensor:
    """Return largest / (largest element), float32; 1 where there is nothing but zeros."""
    return torch.where(largest > 0, (largest.double() / element.largest).clamp(min=_TINY), 1.0).float()


def e8m0_codes(element: Element, largest: Tensor) -> Tensor:
    """Return the byte of each shared exponent; the smallest where there is nothing but zeros."""
    exponent = torch.frexp(largest).exponent - 1  # floor(log2), exact
    codes = (exponent - element.exponent + E8M0_BIAS).clamp(0, E8M0_LARGEST)
    return torch.where(largest > 0, codes, 0).to(torch.uint8)


def e8m0_values(codes: Tensor) -> Tensor:
    """Return the float32 powers of two of bytes."""
    return torch.ldexp(torch.ones_like(codes, dtype=torch.float32), codes.int() - E8M0_BIAS)


def e4m3_scales(element: Element, largest: Tensor, whole: Tensor) -> tuple[Tensor, Tensor]:
    """Return the codes of blocks' scales and the scale of the tensor, float32.

    Args:
        element: what the scales are of.
        largest: magnitude of each block.
        whole: the largest of the tensor, of a shape that broadcasts.
    """
    whole_scale = torch.where(whole > 0, (whole.double() / (element.largest * _E4M3.largest)).clamp(min=_TINY), 1.0)
    codes = _E4M3.encode((largest.double() / (element.largest * whole_scale)).float())
    return codes.clamp_(min=LEAST_BLOCK_SCALE), whole_scale.float()


class FloatQuantizer(CodebookQuantizer):
    """Floating-point codes under float32 scales, per tensor or channel.

    Args:
        scheme: with a codebook of `ELEMENTS`.
        scale: float32, positive.
    """

    def __init__(self, scheme: Scheme, scale: Tensor) -> None:
        torch.nn.Module.__init__(self)
        self.scheme = scheme
        self.register_buffer("scale", scale)

    @property
    def zero_point(self) -> Tensor:  # type: ignore[override]
        """The code of zero, 0."""
        return torch.zeros_like(self.scale, dtype=torch.uint8)

    @property
    def element(self) -> Element:
        """Type of the codes."""
        return ELEMENTS[self.scheme.codebook]

    @classmethod
    def unfitted(cls, scheme: Scheme, shape: Sequence[int]) -> Self:
        """See `Quantizer.unfitted`."""
        return cls(scheme, torch.empty(scheme.scale_shape(shape), dtype=torch.float32, device="meta"))

    @classmethod
    def fit(cls, scheme: Scheme, values: Tensor, whole: Tensor | None = None) -> Self:
        """Fit to the largest magnitudes of `values` (channels, ...).

        Args:
            scheme: granularity and element.
            values: finite.
            whole: largest magnitude of the tensor that the values are a part of; None where they are all of it.
        """
        largest = per_row(scheme, values, as_rows(scheme, values.detach()).abs().amax(dim=1)).float()
        return cls.from_largest(scheme, largest, largest.max() if whole is None else whole)

    @classmethod
    def from_largest(cls, scheme: Scheme, largest: Tensor, whole: Tensor) -> Self:
        """Fit to magnitudes in the shape of the scales; `whole` is the largest of the tensor, a scalar."""
        return cls(scheme, float32_scales(ELEMENTS[scheme.codebook], largest))

    @classmethod
    def from_range(cls, scheme: Scheme, low: Tensor, high: Tensor) -> Self:
        """Fit to the larger end of each range [low, high]."""
        largest = torch.maximum(-low, high).float()
        return cls.from_largest(scheme, largest, largest.max())

    @torch.no_grad()
    def codes(self, values: Tensor) -> Tensor:
        """Return the uint8 codes of finite `values`, same shape."""
        return self.element.encode(values / along(self.scale, values))

    @torch.no_grad()
    def dequantize(self, codes: Tensor) -> Tensor:
        """Return the float32 values of uint8 `codes`, same shape."""
        return self.element.decode(codes).mul_(along(self.scale, codes))

    def of_column(self, column: int) -> Quantizer:
        """See `Quantizer.of_column`."""
        if self.scale.ndim < 2:
            return self
        own = self.scheme.model_copy(update={"granularity": "channel", "group_size": None, "scales": "float32"})
        return FloatQuantizer(own, self.scale[:, column // (self.scheme.group_size or 1)])

    def neighbours(self, values: Tensor) -> Neighbours:
        """See `Quantizer.neighbours`."""
        return between_levels(values.detach(), self.element.levels, along(self.scale, values))

    def reach(self) -> tuple[float, float]:
        """Return the smallest and the largest value that the codes express."""
        largest = float(self.scale.max() * self.element.largest)
        return -largest, largest

    def allows(self, attribute: str, stored: Tensor) -> bool:
        """See `Quantizer.allows`."""
        return bool((stored > 0).all())

    def refuse_codes(self, codes: Tensor) -> str | None:
        """See `Quantizer.refuse_codes`."""
        return None if self.element.are_numbers(codes) else f"a code is no number of {self.scheme.codebook}"


class MXQuantizer(FloatQuantizer):
    """Blocks that share a power of two (OCP microscaling).

    Args:
        scheme: with scales in `e8m0`.
        exponents: uint8 (channels, groups), 0..254.
    """

    exponents: Tensor

    def __init__(self, scheme: Scheme, exponents: Tensor) -> None:
        torch.nn.Module.__init__(self)
        self.scheme = scheme
        self.register_buffer("exponents", exponents)

    @property
    def scale(self) -> Tensor:  # type: ignore[override]
        """The powers of two, float32 (channels, groups)."""
        return e8m0_values(self.exponents)

    @classmethod
    def unfitted(cls, scheme: Scheme, shape: Sequence[int]) -> Self:
        """See `Quantizer.unfitted`."""
        return cls(scheme, torch.empty(scheme.scale_shape(shape), dtype=torch.uint8, device="meta"))

    @classmethod
    def from_largest(cls, scheme: Scheme, largest: Tensor, whole: Tensor) -> Self:
        """See `FloatQuantizer.from_largest`."""
        return cls(scheme, e8m0_codes(ELEMENTS[scheme.codebook], largest))

    def allows(self, attribute: str, stored: Tensor) -> bool:
        """See `Quantizer.allows`."""
        return bool((stored <= E8M0_LARGEST).all())


class NVQuantizer(FloatQuantizer):
    """Blocks with scales in E4M3, under one float32 scale of the tensor (NVFP4).

    Args:
        scheme: with scales in `e4m3`.
        block_scales: uint8 (channels, groups), codes of positive E4M3 numbers.
        tensor_scale: float32 scalar, positive.
    """

    block_scales: Tensor
    tensor_scale: Tensor

    def __init__(self, scheme: Scheme, block_scales: Tensor, tensor_scale: Tensor) -> None:
        torch.nn.Module.__init__(self)
        self.scheme = scheme
        self.register_buffer("block_scales", block_scales)
        self.register_buffer("tensor_scale", tensor_scale)

    @property
    def scale(self) -> Tensor:  # type: ignore[override]
        """The scale of each block, both scales multiplied; float32 (channels, groups)."""
        return _E4M3.decode(self.block_scales) * self.tensor_scale

    @classmethod
    def unfitted(cls, scheme: Scheme, shape: Sequence[int]) -> Self:
        """See `Quantizer.unfitted`."""
        blocks = torch.empty(scheme.scale_shape(shape), dtype=torch.uint8, device="meta")
        return cls(scheme, blocks, torch.empty((), dtype=torch.float32, device="meta"))

    @classmethod
    def from_largest(cls, scheme: Scheme, largest: Tensor, whole: Tensor) -> Self:
        """See `FloatQuantizer.from_largest`."""
        return cls(scheme, *e4m3_scales(ELEMENTS[scheme.codebook], largest, whole))

    def allows(self, attribute: str, stored: Tensor) -> bool:
        """See `Quantizer.allows`."""
        if attribute == "tensor_scale":
            return super().allows(attribute, stored)
        return bool(((stored >= LEAST_BLOCK_SCALE) & (stored < 0x7F)).all())


class DynamicFloatQuantizer(DynamicQuantizer):
    """Floating-point codes of a layer's input, their scales found at every call.

    Rows of a batch never share a scale: what NVFP4 has one of a tensor is one of a row here, found at run time, too.
    """

    def scales_for(self, values: Tensor) -> Tensor:
        """Return float32 scales of `values` (n, ...), which broadcast over `_grouped(values)`."""
        grouped = self._grouped(values.detach()).abs()
        largest, element = grouped.amax(self._shared(values), True), ELEMENTS[self.scheme.codebook]
        if self.scheme.scales == "e8m0":
            return e8m0_values(e8m0_codes(element, largest))
        if self.scheme.scales == "e4m3":
            codes, whole = e4m3_scales(element, largest, largest.amax(tuple(range(1, largest.ndim)), True))
            return _E4M3.decode(codes) * whole
        return float32_scales(element, largest)

    def parameters_for(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """See `DynamicQuantizer`; zero points are 0."""
        scale = self.scales_for(values)
        return scale, torch.zeros_like(scale, dtype=torch.uint8)

    def fake_quantize(self, values: Tensor) -> Tensor:
        """Return `values` rounded, same shape; gradients pass straight through."""
        with torch.no_grad():
            scale, element = self.scales_for(values), ELEMENTS[self.scheme.codebook]
            rounded = element.decode(element.encode(self._grouped(values) / scale)).mul_(scale).reshape(values.shape)
        if torch.is_grad_enabled() and values.requires_grad:
            return values + (rounded - values).detach()
        return rounded

    @torch.no_grad()
    def codes(self, values: Tensor) -> Tensor:
        """Return the uint8 codes of `values`, same shape."""
        scale = self.scales_for(values)
        return ELEMENTS[self.scheme.codebook].encode(self._grouped(values) / scale).reshape(values.shape)


def float_quantizer(scheme: Scheme) -> type[FloatQuantizer]:
    """Return the quantizer of weights of a scheme with floating-point codes."""
    kinds: dict[str, type[FloatQuantizer]] = {"float32": FloatQuantizer, "e8m0": MXQuantizer, "e4m3": NVQuantizer}
    return kinds[scheme.scales]
