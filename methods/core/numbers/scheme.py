"""Schemes: how numbers become integers, as frozen data that a checkpoint's header holds too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

Granularity = Literal["tensor", "channel", "group", "token", "sample"]
Codebook = Literal["uniform", "log2", "nf4", "e4m3", "e5m2", "e2m1"]
ScaleType = Literal["float32", "e8m0", "e4m3", "float16", "k"]
LayerKind = Literal["linear", "conv1d", "conv2d", "conv_transpose1d", "conv_transpose2d", "embedding"]

_STATIC: tuple[Granularity, ...] = ("tensor", "channel", "group")
_DYNAMIC: tuple[Granularity, ...] = ("token", "sample", "group")
FLOAT_CODEBOOKS: dict[Codebook, int] = {"e4m3": 8, "e5m2": 8, "e2m1": 4}
"""Codebooks whose codes are small floating-point numbers, and their bits."""
BLOCK_FORMATS: frozenset[tuple[Codebook, int, ScaleType, bool]] = frozenset(
    {
        ("e4m3", 8, "e8m0", True),
        ("e2m1", 4, "e8m0", True),
        ("e2m1", 4, "e4m3", True),
        ("uniform", 8, "float16", True),
        ("uniform", 4, "float16", True),
        ("uniform", 4, "k", False),
        ("uniform", 5, "k", False),
        ("uniform", 6, "k", True),
    }
)
"""What there is with scales of fewer than 32 bits: codebook, bits, type of the scales, symmetric; see `formats`."""


class Scheme(BaseModel):
    """Quantization of one tensor to unsigned codes; with the uniform codebook, value = (code - zero_point) * scale.

    Zero is always a code, so that zero padding and zero weights stay exact. The exceptions are for weights alone: a
    floating-point zero point, and asymmetric scales in `k`.

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
    `nf4`: 16 quantiles of a normal distribution times the scale (QLoRA, arXiv 2305.14314), for weights.
    `e4m3`, `e5m2`, `e2m1`: the code is the bits of a floating-point number of that many exponent and mantissa bits,
    which is multiplied by the scale."""
    zero: Literal["integer", "float"] = "integer"
    """Type of the zero point. `float`: not a code but any number, as HQQ has it."""
    scales: ScaleType = "float32"
    """What a group's scale is stored as. `e8m0`: the exponent of a power of two, in a byte. `e4m3`: a byte, times one
    float32 scale of the whole tensor. `float16`. `k`: an integer of 6 or 8 bits, times a float16 scale of a super-block
    of groups, and where the scheme is asymmetric a minimum likewise. The last two are GGUF's, of weights."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.granularity == "group") != (self.group_size is not None):
            raise ValueError("group_size goes with granularity group, and only with it")
        if self.granularity not in (_DYNAMIC if self.dynamic else _STATIC):
            kind = "dynamic" if self.dynamic else "static"
            raise ValueError(f"a {kind} scheme has no granularity {self.granularity}")
        if self.codebook not in ("uniform", *FLOAT_CODEBOOKS) and (self.dynamic or self.zero != "integer"):
            raise ValueError(f"codebook {self.codebook} is static and has no zero point of its own")
        if self.codebook in FLOAT_CODEBOOKS:
            self._check_floats()
        if self.scales != "float32":
            self._check_block()
        if self.codebook == "nf4" and (self.bits != 4 or not self.symmetric):
            raise ValueError("nf4 has 4 bits and is symmetric")
        if self.codebook == "log2" and (self.granularity != "tensor" or self.symmetric):
            raise ValueError("log2 has one scale per tensor and is asymmetric")
        if self.zero == "float" and (self.symmetric or self.dynamic):
            raise ValueError("a floating-point zero point is for static asymmetric schemes")
        return self

    def _check_floats(self) -> None:
        bits = FLOAT_CODEBOOKS[self.codebook]
        if self.bits != bits or not self.symmetric or self.zero != "integer":
            raise ValueError(f"{self.codebook} has {bits} bits, is symmetric, and has no zero point")
        if self.scales == "float32" and (bits != 8 or self.granularity == "group"):
            raise ValueError(f"{self.codebook} has no float32 scales per {self.granularity}")

    def _check_block(self) -> None:
        if (self.codebook, self.bits, self.scales, self.symmetric) not in BLOCK_FORMATS or self.zero != "integer":
            raise ValueError(f"there is no {self.codebook} codebook of {self.bits} bits with scales in {self.scales}")
        if self.granularity != "group":
            raise ValueError(f"scales in {self.scales} are those of groups")
        if self.dynamic and self.codebook == "uniform":
            raise ValueError(f"scales in {self.scales} are those of weights")

    @property
    def published(self) -> bool:
        """Whether this is a scheme of a published number format, which leaves nothing of it to a method."""
        return self.codebook in FLOAT_CODEBOOKS or self.scales != "float32"

    @property
    def searches(self) -> bool:
        """Whether the number format finds its scales by a search of its own, so that no rule of ranges applies."""
        return self.scales in ("float16", "k")

    @property
    def code_min(self) -> int:
        """Smallest code."""
        return 1 if self.symmetric and self.codebook == "uniform" and self.scales == "float32" else 0

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
    """Entries of its input quantizer's table over timesteps, of scales or, of a dynamic one, of ratios that ranges are
    clipped to; 0 is none."""
    rotation: int = Field(default=0, ge=0)
    """Input channels that are rotated together, see `layers.rotation`; 0 is none, and then no header has the key."""
    deflated: bool = False
    """Whether what the branch reads is taken off the input before this is rounded; if not, no header has the key."""

    @model_serializer(mode="wrap")
    def _without_later_keys(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        keys: dict[str, Any] = handler(self)
        return {key: value for key, value in keys.items() if value or key not in ("rotation", "deflated")}


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


@dataclass(frozen=True)
class NumberFormat:
    """A published number format, by the name that a spec has for it; the formats are in `numbers.formats`."""

    name: str
    weight: Scheme
    """Of weights; what is per channel may be per tensor instead."""
    activation: Scheme | None
    """Of a layer's input, whose scales are found at run time; None of a format of weights alone."""
    source: str
    """Where it is published."""

    @property
    def bits(self) -> int:
        """Bits of a code."""
        return self.weight.bits


Side = int | NumberFormat
"""What a spec says of weights or of activations: bits of integers, 16 to leave that side alone, or a number format."""


def bits_of(side: Side) -> int:
    """Return the bits of a code of one side of a spec, 16 where it is left alone."""
    return side if isinstance(side, int) else side.bits


def at_least(side: Side, bits: int) -> Side:
    """Return one side of a spec, or integers of so many bits where it has fewer."""
    return side if bits_of(side) >= bits else bits


def weight_scheme(side: Side, granularity: Granularity) -> Scheme | None:
    """Return the scheme of weights at a number of bits, None for 16: asymmetric below 8 bits, symmetric at 8.

    That of a number format is the format's own; `granularity` counts where the format has no groups.

    With few codes it matters to use them all: on normal weights, per channel of 1,152 (a 3x3 convolution of 128
    channels), an asymmetric scheme has 2.9 dB less error than a symmetric one at 2 bits, 1.8 at 3, 1.1 at 4, and 0.5 at
    8. And `code - zero_point` then always fits a signed byte, the weight format of integer kernels, which know no
    weight zero point; at 8 bits only a symmetric scheme does that.
    """
    if isinstance(side, NumberFormat):
        grouped = side.weight.granularity == "group"
        return side.weight if grouped else side.weight.model_copy(update={"granularity": granularity})
    return None if side == 16 else Scheme(bits=side, granularity=granularity, symmetric=side == 8)


def grouped(size: int) -> Callable[[Scheme], Scheme]:
    """Return what turns a scheme of weights into one with a scale per group of `size` numbers, asymmetric.

    A number format says itself what shares a scale, and stays.
    """

    def change(scheme: Scheme) -> Scheme:
        if scheme.published:
            return scheme
        return Scheme(bits=scheme.bits, granularity="group", symmetric=False, group_size=size)

    return change


def per_token(scheme: Scheme) -> Scheme:
    """Return a scheme of inputs of the same bits whose ranges are found at run time, one per position.

    A number format says itself what shares a scale, and stays.
    """
    if scheme.published:
        return scheme
    return Scheme(bits=scheme.bits, granularity="token", symmetric=False, dynamic=True)


def activation_scheme(side: Side) -> Scheme | None:
    """Return the scheme of activations, None for 16: asymmetric, one static range per tensor; or a number format's.

    Inputs of a layer that follow SiLU, GELU or softmax are one-sided, so a symmetric range would waste half the codes.
    """
    if isinstance(side, NumberFormat):
        assert side.activation is not None  # a spec of another is refused
        return side.activation
    return None if side == 16 else Scheme(bits=side, granularity="tensor", symmetric=False)
