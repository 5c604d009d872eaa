"""8-bit integer products through torch's oneDNN operators: uint8 input codes, int8 weights, 32-bit sums.

With input codes q of scale s and zero point z, weight codes c of scale t and zero point y per output channel o,

    out[o] = s * t[o] * sum((q - z) * (c - y[o])) + bias[o]

which is the simulated layer's sum with the two scales taken out of it: the integers are exact, and what differs is the
rounding of one float32 product per output instead of one per term. oneDNN knows no zero point of weights, so c - y is
what it is given: an int8 as long as the scheme is symmetric or has fewer than 8 bits. Weights are arranged for the
processor once, from codes of any number of bits: storage of 2 to 8 bits, computation in 8.

Small products are ours where `core.native` compiles: bit for bit the same, without what torch does around each.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from admbench.methods.core.kernels.codes import InputCodes, TableCodes, input_codes
from admbench.methods.core.kernels.weights import Weights
from admbench.methods.core.layers.quantized import QuantizedLayer
from admbench.methods.core.native import products
from admbench.methods.core.numbers.dynamic import DynamicQuantizer

_NO_POST_OP: tuple[str, list[Any], str] = ("none", [], "")


class Product(nn.Module):
    """What products of both kinds have: weights, and who multiplies them, which the first call decides."""

    quantize: InputCodes | TableCodes
    weights: Weights
    native = False
    """Whether they may be those of `core.native`, if small."""
    small: bool | None = None
    """Whether they are; None before the first call, which says how many rows there are."""

    def _is_small(self, rows: int, groups: int = 1) -> bool:
        if self.small is None:
            may = self.native and not self.weights.packed and isinstance(self.quantize, InputCodes)
            self.small = may and products.takes(self.weights.shape, rows, groups)
        return self.small


class Int8Linear(Product):
    """A Linear over the codes of its input, any number of leading dimensions; float32 in and out."""

    def __init__(self, layer: QuantizedLayer) -> None:
        super().__init__()
        self.quantize = _input_codes(layer)
        self.weights, self._scale = _weights(layer)
        self._bias = _bias(layer)
        self._finish()

    @classmethod
    def joined(cls, layers: Sequence[Int8Linear]) -> Int8Linear | None:
        """Return one layer whose outputs are those of all, or None where inputs are not quantized alike.

        Layers that read the same tensor, such as an attention's query, key and value, are one product then.
        """
        first = layers[0]
        alike = all(layer.quantize.numbers == first.quantize.numbers for layer in layers)
        if not alike or any((layer._bias is None) != (first._bias is None) for layer in layers):
            return None
        result = first._copy()
        result.weights = Weights.joined([layer.weights for layer in layers])
        result._scale = torch.cat([layer._scale for layer in layers])
        if first._bias is not None:
            result._bias = torch.cat([layer._bias for layer in layers if layer._bias is not None])
        result._finish()
        return result

    def part(self, outputs: slice) -> Int8Linear:
        """Return a layer of some of the outputs."""
        result = self._copy()
        result.weights, result._scale = self.weights.part(outputs), self._scale[outputs].contiguous()
        result._bias = None if self._bias is None else self._bias[outputs].contiguous()
        result._finish()
        return result

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer to float32 x (..., in)."""
        return self.from_codes(self.quantize(x))

    def from_codes(
        self,
        codes: Tensor,
        *,
        dtype: torch.dtype = torch.float32,
        activation: Literal["none", "gelu"] = "none",
        onto: Tensor | None = None,
    ) -> Tensor:
        """Apply the layer to the codes of its input, uint8 (..., in).

        Args:
            codes: what `quantize` returns.
            dtype: float32 or bfloat16: what the float32 result is rounded to as it is written.
            activation: what is applied to the result before.
            onto: float32 (..., out), contiguous: the result is added to it, in place, and it is returned.
        """
        flat = codes.reshape(-1, codes.shape[-1])
        if self._is_small(len(flat)):
            small = self.weights.arranged(self._small)
            target = None if onto is None else onto.view(-1, self.features)
            plain = activation == "none"
            out = small.product(flat, dtype if plain else torch.float32, target)  # rounded once, as oneDNN does
            out = out if plain else F.gelu(out).to(dtype)
            return out.view(*codes.shape[:-1], self.features) if onto is None else onto
        weights = self.weights.arranged(_arranged_linear)
        numbers = (flat, self.quantize.scale, self.quantize.zero_point, weights, self._scale, self._zero)
        if onto is not None:
            torch.ops.onednn.qlinear_pointwise.binary(
                *numbers, onto.view(-1, self.features), self._bias, 1.0, 0, dtype, 1.0, 0, "sum", 1.0, *_NO_POST_OP
            )
            return onto
        out = torch.ops.onednn.qlinear_pointwise(
            *numbers, self._bias, 1.0, 0, dtype, activation, [], "none" if activation == "gelu" else ""
        )
        return out.view(*codes.shape[:-1], self.features)

    def _small(self, weights: Tensor) -> products.SmallProduct:
        return products.SmallProduct(weights, self._scale, self._bias, self.quantize.scale, self.quantize.zero_point)

    def _copy(self) -> Int8Linear:
        result = copy.copy(self)
        result._modules = dict(self._modules)
        return result

    def _finish(self) -> None:
        self.features = self.weights.shape[0]
        self._zero = torch.zeros(self.features, dtype=torch.int32)


class Int8Conv2d(Product):
    """A Conv2d over the codes of its input; float32 in and out, the output in channels_last."""

    def __init__(self, layer: QuantizedLayer) -> None:
        super().__init__()
        self.quantize = _input_codes(layer)
        self.weights, self._scale = _weights(layer)
        stride, padding, dilation, groups = numeric_geometry(layer)
        if layer.kind == "conv1d":  # a Conv2d over images of height 1
            stride, padding, dilation = [1, *stride], [0, *padding], [1, *dilation]
        self.padding = (padding[0], padding[1])
        self._padding = [p for p in reversed(padding) for _ in range(2)]
        self._geometry = (stride, [0, 0], dilation, groups)
        self._zero = torch.zeros(len(self._scale), dtype=torch.int32)
        sums = self.weights.signed().flatten(1).sum(1, dtype=torch.int64) * self._scale.double()
        bias = 0.0 if layer.bias is None else layer.bias.detach()
        self._biases = {numbers: (bias - numbers[0] * numbers[1] * sums).float() for numbers in self._all_numbers()}

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer to float32 x (n, in, height, width)."""
        return self.from_codes(self.quantize(x.contiguous(memory_format=torch.channels_last)))

    def from_codes(self, codes: Tensor) -> Tensor:
        """Apply the layer to the codes of its input, uint8 (n, in, height, width) in channels_last."""
        return self.from_padded_codes(
            F.pad(codes, self._padding, value=self.quantize.zero_point) if any(self._padding) else codes
        )

    def from_padded_codes(self, codes: Tensor) -> Tensor:
        """Apply the layer to codes that have its padding of zero points around them already."""
        stride, *_, groups = self._geometry
        if self._is_small(len(codes) * codes.shape[2] * codes.shape[3] // math.prod(stride), groups):
            return self.weights.arranged(self._small).product(codes)
        weights = self.weights.arranged(partial(self._arranged, shape=codes.shape))
        out: Tensor = torch.ops.onednn.qconv2d_pointwise(
            codes,
            self.quantize.scale,
            0,
            weights,
            self._scale,
            self._zero,
            self._biases[self.quantize.scale, self.quantize.zero_point],
            *self._geometry,
            1.0,
            0,
            torch.float32,
            *_NO_POST_OP,
        )
        return out

    def _all_numbers(self) -> list[tuple[float, int]]:
        """Return every scale and zero point that the input may have."""
        entries = self.quantize.entries if isinstance(self.quantize, TableCodes) else [self.quantize]
        return [(entry.scale, entry.zero_point) for entry in entries]

    def _small(self, weights: Tensor) -> products.SmallProduct:
        weights = weights.unsqueeze(2) if weights.ndim == 3 else weights
        stride, _, dilation, _ = self._geometry
        bias = self._biases[self.quantize.scale, self.quantize.zero_point]
        return products.SmallProduct(weights, self._scale, bias, self.quantize.scale, 0, stride, dilation)

    def _arranged(self, weights: Tensor, shape: Sequence[int]) -> Tensor:
        """Arrange weights as oneDNN wants them for this shape of codes; for others it may do so at each call."""
        weights = weights.unsqueeze(2) if weights.ndim == 3 else weights
        arranged: Tensor = torch.ops.onednn.qconv_prepack(
            weights, self._scale, self.quantize.scale, 0, *self._geometry, list(shape)
        )
        return arranged


class DynamicInt8Linear(nn.Module):
    """A Linear whose input has a scale s and a zero point z per row, found at every call; float32 in and out.

    The operator knows one of each, so it adds up t * sum(q * c), and what is missing of the sum above follows from it:
    out = s * (that - z * t * sum(c)) + bias, with s and z of the row.
    """

    def __init__(self, layer: QuantizedLayer) -> None:
        super().__init__()
        assert isinstance(layer.activation_quantizer, DynamicQuantizer)
        self._quantizer = layer.activation_quantizer
        self.weights, self._scale = _weights(layer)
        self._sums = (self.weights.signed().sum(1, dtype=torch.int64) * self._scale.double()).float()
        self._bias = _bias(layer)
        self.features = len(self._scale)
        self._zero = torch.zeros(self.features, dtype=torch.int32)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer to float32 x (..., in)."""
        scheme = self._quantizer.scheme
        scale, zero_point = self._quantizer.parameters_for(x)
        zero = zero_point.to(x.dtype)
        codes = (x * scale.reciprocal()).round_().add_(zero).clamp_(scheme.code_min, scheme.code_max).to(torch.uint8)
        weights = self.weights.arranged(_arranged_linear)
        numbers = (codes.reshape(-1, codes.shape[-1]), 1.0, 0, weights, self._scale, self._zero)
        flat: Tensor = torch.ops.onednn.qlinear_pointwise(*numbers, None, 1.0, 0, torch.float32, *_NO_POST_OP)
        out = flat.view(*codes.shape[:-1], self.features).addcmul_(zero, self._sums, value=-1).mul_(scale)
        return out if self._bias is None else out.add_(self._bias)


class Int8Conv1d(Int8Conv2d):
    """A Conv1d over the codes of its input; float32 (n, in, length) in and out."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer to float32 x (n, in, length)."""
        return super().forward(x.unsqueeze(2)).squeeze(2)


def numeric_geometry(layer: QuantizedLayer) -> tuple[list[int], list[int], list[int], int]:
    """Return stride, padding, dilation (a number per spatial dimension) and groups of a convolution.

    Raises:
        ValueError: `same` padding that differs between the two sides.
    """
    geometry = layer.geometry
    padding = geometry["padding"]
    if isinstance(padding, str):
        reach = [d * (size - 1) for d, size in zip(geometry["dilation"], layer.shape[2:], strict=True)]
        if padding == "same" and any(total % 2 for total in reach):
            raise ValueError("padding that differs between two sides")
        padding = [total // 2 if padding == "same" else 0 for total in reach]
    return list(geometry["stride"]), list(padding), list(geometry["dilation"]), geometry["groups"]


def _input_codes(layer: QuantizedLayer) -> InputCodes | TableCodes:
    assert layer.activation_quantizer is not None
    return input_codes(layer.activation_quantizer)


def _weights(layer: QuantizedLayer) -> tuple[Weights, Tensor]:
    """Return the weights in scales, and their scale per output channel."""
    weight, codes = layer.weight_quantizer, layer.weight_codes
    assert weight is not None
    assert codes is not None
    return Weights.of(weight, codes), weight.scale.expand(len(codes)).contiguous()


def _arranged_linear(weights: Tensor) -> Tensor:
    arranged: Tensor = torch.ops.onednn.qlinear_prepack(weights, None)
    return arranged


def _bias(layer: QuantizedLayer) -> Tensor | None:
    return None if layer.bias is None else layer.bias.detach()
