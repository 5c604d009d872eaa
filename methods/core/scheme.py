"""Schemes: how numbers become integers, as frozen data that a checkpoint's header holds too."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Granularity = Literal["tensor", "channel"]
LayerKind = Literal["linear", "conv1d", "conv2d"]


class Scheme(BaseModel):
    """Uniform quantization of one tensor to unsigned codes: value = (code - zero_point) * scale.

    Zero is always a code, whatever the scheme, so that zero padding and zero weights stay exact.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)

    bits: int = Field(ge=2, le=8)
    """Bits of a code."""
    granularity: Granularity
    """`tensor`: one scale and zero point. `channel`: one of each per output channel, dimension 0 of a weight."""
    symmetric: bool
    """True: the zero point is the middle code 2**(bits-1), and code 0 is left out so that both signs reach equally far.
    False: the zero point is chosen per scale, and all 2**bits codes are used."""

    @property
    def code_min(self) -> int:
        """Smallest code."""
        return 1 if self.symmetric else 0

    @property
    def code_max(self) -> int:
        """Largest code."""
        return 2**self.bits - 1


class LayerScheme(BaseModel):
    """How one layer is quantized; None leaves that side in floating point."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)

    weight: Scheme | None = None
    """Scheme of the weights."""
    activation: Scheme | None = None
    """Scheme of the layer's input."""


FLOAT = LayerScheme()
"""A layer that is left alone."""


def weight_scheme(bits: int, granularity: Granularity) -> Scheme | None:
    """Return the scheme of weights at a number of bits, None for 16: asymmetric below 8 bits, symmetric at 8.

    With few codes it matters to use them all: on normal weights, per channel of 1,152 (a 3x3 convolution of 128
    channels), an asymmetric scheme has 2.9 dB less error than a symmetric one at 2 bits, 1.8 at 3, 1.1 at 4, and 0.5 at
    8. And `code - zero_point` then always fits a signed byte, the weight format of integer kernels, which know no
    weight zero point; at 8 bits only a symmetric scheme does that.
    """
    return None if bits == 16 else Scheme(bits=bits, granularity=granularity, symmetric=bits == 8)


def activation_scheme(bits: int) -> Scheme | None:
    """Return the scheme of activations, None for 16: asymmetric, one static range per tensor.

    Inputs of a layer that follow SiLU, GELU or softmax are one-sided, so a symmetric range would waste half the codes.
    """
    return None if bits == 16 else Scheme(bits=bits, granularity="tensor", symmetric=False)
