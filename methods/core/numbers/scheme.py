"""Schemes: how numbers become integers, as frozen data that a checkpoint's header holds too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Granularity = Literal["tensor", "channel", "group", "token", "sample"]
Codebook = Literal["uniform", "log2", "nf4"]
LayerKind = Literal["linear", "conv1d", "conv2d", "conv_transpose1d", "conv_transpose2d", "embedding"]

_STATIC: tuple[Granularity, ...] = ("tensor", "channel", "group")
_DYNAMIC: tuple[Granularity, ...] = ("token", "sample", "group")


class Scheme(BaseModel):
    """Quantization of one tensor to unsigned codes; with the uniform codebook, value = (code - zero_point) * scale.

    Zero is always a code, whatever the scheme, so that zero padding and zero weights stay exact. The one exception is a
    floating-point zero point, which is for weights alone.

    >>> scheme = Scheme(bits=4, granularity="channel", symmetric=True)
    >>> scheme.code_min, scheme.code_max, scheme.scale_shape((96, 64, 3, 3))
    (1, 15, (96,))
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)

    bits: int = Field(ge=2, le=8)
    """Bits of a code."""
    granularity: Granularity
    """What shares a scale and zero point. `tensor`: everything. `channel`: an output channel, dimension 0 of a weight.
    `group`: `group_size` neighbours, of a weight among the numbers of an output channel, of an input among its
    channels. `token`: an input's channels at one position. `sample`: one row of a batch."""
    symmetric: bool
    """True: the zero point is the middle code 2**(bits-1), and code 0 is left out so that both signs reach equally far.
    False: the zero point is chosen per scale, and all 2**bits codes are used."""
    group_size: int | None = Field(default=None, ge=1)
    """Numbers that share a scale, with granularity `group`; else None."""
    dynamic: bool = False
    """True: of an input, whose range is found anew at every call. False: the scale is part of the layer."""
    codebook: Codebook = "uniform"
    """`uniform`: evenly spaced. `log2`: powers of two times the scale, for values in [0, scale] as softmax's are.
    `nf4`: 16 quantiles of a normal distribution times the scale (QLoRA, arXiv 2305.14314), for weights."""
    zero: Literal["integer", "float"] = "integer"
    """Type of the zero point. `float`: not a code but any number, as HQQ has it."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.granularity == "group") != (self.group_size is not None):
            raise ValueError("group_size goes with granularity group, and only with it")
        if self.granularity not in (_DYNAMIC if self.dynamic else _STATIC):
            kind = "dynamic" if self.dynamic else "static"
            raise ValueError(f"a {kind} scheme has no granularity {self.granularity}")
        if self.codebook != "uniform" and (self.dynamic or self.zero != "integer"):
            raise ValueError(f"codebook {self.codebook} is static and has no zero point of its own")
        if self.codebook == "nf4" and (self.bits != 4 or not self.symmetric):
            raise ValueError("nf4 has 4 bits and is symmetric")
        if self.codebook == "log2" and (self.granularity != "tensor" or self.symmetric):
            raise ValueError("log2 has one scale per tensor and is asymmetric")
        if self.zero == "float" and (self.symmetric or self.dynamic):
            raise ValueError("a floating-point zero point is for static asymmetric schemes")
        return self

    @property
    def code_min(self) -> int:
        """Smallest code."""
        return 1 if self.symmetric and self.codebook == "uniform" else 0

    @property
    def code_max(self) -> int:
        """Largest code."""
        return 2**self.bits - 1

    def for_terms(self, terms: int) -> Scheme:
        """Return the scheme for rows of `terms` numbers: its groups no larger than asked for, and all of one size."""
        if self.group_size is None:
            return self
        return self.model_copy(update={"group_size": group_size_for(terms, self.group_size)})

    def scale_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return the shape of the scales of a weight of shape (out, ...), in static schemes."""
        if self.granularity == "tensor":
            return ()
        if self.granularity == "channel":
            return (shape[0],)
        terms = 1
        for size in shape[1:]:
            terms *= size
        assert self.group_size is not None
        return (shape[0], terms // self.group_size)


def group_size_for(terms: int, most: int) -> int:
    """Return the largest size of groups that divides `terms` numbers without rest and is not above `most`.

    >>> group_size_for(288, 64), group_size_for(128, 64), group_size_for(7, 64)
    (48, 64, 7)
    """
    return next(size for size in range(min(terms, most), 0, -1) if terms % size == 0)


class LayerScheme(BaseModel):
    """How one layer is quantized; None leaves that side in floating point."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)

    weight: Scheme | None = None
    """Scheme of the weights."""
    activation: Scheme | None = None
    """Scheme of the layer's input."""


FLOAT = LayerScheme()
"""A layer that is left alone."""


class LayerParts(BaseModel):
    """What a quantized layer has besides codes and quantizers; see `layers.quantized.QuantizedLayer`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)

    input_scale: bool = False
    """Whether its input is divided, channel by channel, by a scale that its weights are multiplied by."""
    input_shift: bool = False
    """Whether a shift is subtracted from its input, channel by channel, which its bias makes up for."""
    rank: int = Field(default=0, ge=0)
    """Rank of a floating-point branch beside it; 0 is none."""
    timesteps: int = Field(default=0, ge=0)
    """Entries of its input quantizer's table over timesteps; 0 is one scale for all."""


NO_PARTS = LayerParts()
"""A layer of codes and quantizers alone."""


class AttentionScheme(BaseModel):
    """How the operands of an attention's two products are quantized; None leaves one in floating point."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)

    query: Scheme | None = None
    """Of the queries."""
    key: Scheme | None = None
    """Of the keys."""
    softmax: Scheme | None = None
    """Of the attention weights, in [0, 1]."""
    value: Scheme | None = None
    """Of the values."""


def weight_scheme(bits: int, granularity: Granularity) -> Scheme | None:
    """Return the scheme of weights at a number of bits, None for 16: asymmetric below 8 bits, symmetric at 8.

    With few codes it matters to use them all: on normal weights, per channel of 1,152 (a 3x3 convolution of 128
    channels), an asymmetric scheme has 2.9 dB less error than a symmetric one at 2 bits, 1.8 at 3, 1.1 at 4, and 0.5 at
    8. And `code - zero_point` then always fits a signed byte, the weight format of integer kernels, which know no
    weight zero point; at 8 bits only a symmetric scheme does that.
    """
    return None if bits == 16 else Scheme(bits=bits, granularity=granularity, symmetric=bits == 8)


def grouped(size: int) -> Callable[[Scheme], Scheme]:
    """Return what turns a scheme of weights into one with a scale per group of `size` numbers, asymmetric."""

    def change(scheme: Scheme) -> Scheme:
        return Scheme(bits=scheme.bits, granularity="group", symmetric=False, group_size=size)

    return change


def per_token(scheme: Scheme) -> Scheme:
    """Return a scheme of inputs of the same bits whose ranges are found at run time, one per position."""
    return Scheme(bits=scheme.bits, granularity="token", symmetric=False, dynamic=True)


def activation_scheme(bits: int) -> Scheme | None:
    """Return the scheme of activations, None for 16: asymmetric, one static range per tensor.

    Inputs of a layer that follow SiLU, GELU or softmax are one-sided, so a symmetric range would waste half the codes.
    """
    return None if bits == 16 else Scheme(bits=bits, granularity="tensor", symmetric=False)
