"""8-bit integer products through torch's oneDNN operators: uint8 input codes, int8 weights, 32-bit sums.

With input codes q of scale s and zero point z, weight codes c of scale t and zero point y per output channel o,

    out[o] = s * t[o] * sum((q - z) * (c - y[o])) + bias[o]

which is the simulated layer's sum with the two scales taken out of it: the integers are exact, and what differs is the
rounding of one float32 product per output instead of one per term. oneDNN knows no zero point of weights, so c - y is
what it is given: an int8 as long as the scheme is symmetric or has fewer than 8 bits. Weights are arranged for the
processor once, from codes of any number of bits: storage of 2 to 8 bits, computation in 8.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from admbench.methods.core.kernels.base import Kernel, Support
from admbench.methods.core.kernels.codes import InputCodes, TableCodes, input_codes
from admbench.methods.core.kernels.processor import is_x86, product_refusal
from admbench.methods.core.kernels.weights import Weights
from admbench.methods.core.layers.quantized import QuantizedLayer
from admbench.methods.core.numbers.dynamic import DynamicQuantizer
from admbench.methods.core.numbers.scheme import LayerKind, LayerParts, Scheme

_NO_POST_OP: tuple[str, list[Any], str] = ("none", [], "")


class Int8Linear(nn.Module):
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
        weights = self.weights.arranged(_arranged_linear)
        flat = codes.reshape(-1, codes.shape[-1])
        numbers = (flat, self.quantize.scale, self.quantize.zero_point, weights, self._scale, self._zero)
        if onto is not None:
            torch.ops.onednn.qlinear_pointwise.binary(
                *numbers, onto.view(-1, self.features), self._bias, 1.0, 0, dtype, 1.0, 0, "sum", 1.0, *_NO_POST_OP
            )
            return onto
        out: Tensor = torch.ops.onednn.qlinear_pointwise(
            *numbers, self._bias, 1.0, 0, dtype, activation, [], "none" if activation == "gelu" else ""
        )
        return out.view(*codes.shape[:-1], self.features)

    def _copy(self) -> Int8Linear:
        result = copy.copy(self)
        result._modules = dict(self._modules)
        return result

    def _finish(self) -> None:
        self.features = self.weights.shape[0]
        self._zero = torch.zeros(self.features, dtype=torch.int32)


class Int8Conv2d(nn.Module):
    """A Conv2d over the codes of its input; float32 in and out, the output in channels_last."""

    def __init__(self, layer: QuantizedLayer) -> None:
        super().__init__()
        self.quantize = _input_codes(layer)
        self.weights, self._scale = _weights(layer)
        stride, padding, dilation, groups = numeric_geometry(layer)
        if layer.kind == "conv1d":  # a Conv2d over pictures of height 1
            stride, padding, dilation = [1, *stride], [0, *padding], [1, *dilation]
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
        if any(self._padding):
            codes = F.pad(codes, self._padding, value=self.quantize.zero_point)
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


class TableInt8(nn.Module):
    """A product whose input has a scale per timestep."""

    def __init__(self, product: nn.Module) -> None:
        super().__init__()
        assert isinstance(product, Int8Linear | Int8Conv2d)
        self.product = product

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer to float32 x, rows at several timesteps one after the other."""
        assert isinstance(self.product.quantize, TableCodes)
        return self.product.quantize.by_rows(x, self.product)


class WithParts(nn.Module):
    """A product between a scaled or shifted input and a low-rank branch in floating point beside it.

    Args:
        layer: has the scale, shift and branch, which are computed as it does.
        product: of its codes.
    """

    def __init__(self, layer: QuantizedLayer, product: nn.Module) -> None:
        super().__init__()
        pixels = [1] * (len(layer.shape) - 2)
        scale, shift, down, up = layer.input_scale, layer.input_shift, layer.low_rank_down, layer.low_rank_up
        self._scale = None if scale is None else scale.view(-1, *pixels)
        self._shift = None if shift is None else shift.view(-1, *pixels)
        self._down = None if down is None else down.float()
        self._up = None if up is None else up.float().view(*up.shape, *pixels)
        self._operation: Callable[..., Tensor] = getattr(F, layer.kind)
        self._geometry = layer.geometry
        self.product = product

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer to float32 x."""
        if self._shift is not None:
            x = x - self._shift
        if self._scale is not None:
            x = x / self._scale
        out: Tensor = self.product(x)
        if self._down is not None and self._up is not None:
            narrow = self._operation(x, self._down, None, **self._geometry)
            out += self._operation(narrow, self._up)
        return out


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


def _refuse(layer: QuantizedLayer) -> str | None:
    weight, activation = layer.scheme.weight, layer.scheme.activation
    assert weight is not None
    assert activation is not None
    if not is_x86():
        return "runs on x86 processors"
    if layer.kind != "linear":
        try:
            numeric_geometry(layer)
        except ValueError as error:
            return str(error)
    return product_refusal(math.prod(layer.shape[1:]), activation.code_max, _most(weight))


def _most(scheme: Scheme) -> int:
    """Return the largest magnitude of a weight in scales; a range always holds 0, but may end there."""
    return 2 ** (scheme.bits - 1) - 1 if scheme.symmetric else scheme.code_max


def _build(product: type[nn.Module], layer: QuantizedLayer) -> nn.Module:
    module = product(layer)
    if layer.parts.timesteps:
        module = TableInt8(module)
    return WithParts(layer, module) if any(layer.parts.model_dump(exclude={"timesteps"}).values()) else module


ALL_PARTS = frozenset(LayerParts.model_fields)
_NEEDS = "AVX512-VNNI or AVX-VNNI; without them, codes small enough not to saturate in 16 bits"


def _kernel(kind: LayerKind, module: type[nn.Module]) -> Kernel:
    operations: dict[LayerKind, Any] = {
        "linear": "qlinear_pointwise",
        "conv1d": "qconv2d_pointwise over pictures of height 1",
        "conv2d": "qconv2d_pointwise",
    }
    return Kernel(
        name=f"onednn-int8-{kind}",
        summary=f"oneDNN {operations[kind]}: uint8 inputs, int8 weights arranged once, 32-bit sums, float32 out",
        kind=kind,
        weight=Support(bits=tuple(range(2, 9)), asymmetric_bits=tuple(range(2, 8))),
        activation=Support(bits=tuple(range(2, 9)), granularities=("tensor",), asymmetric_bits=tuple(range(2, 9))),
        parts=ALL_PARTS,
        device="cpu",
        instruction_sets=_NEEDS,
        refuse=_refuse,
        build=partial(_build, module),
    )


DYNAMIC_LINEAR = Kernel(
    name="onednn-int8-linear-dynamic",
    summary="oneDNN qlinear_pointwise: uint8 inputs, a range per row found at every call, int8 weights, float32 out",
    kind="linear",
    weight=Support(bits=tuple(range(2, 9)), asymmetric_bits=tuple(range(2, 8))),
    activation=Support(
        bits=tuple(range(2, 9)),
        granularities=("token", "sample"),
        asymmetric_bits=tuple(range(2, 9)),
        dynamic=True,
    ),
    parts=ALL_PARTS - {"timesteps"},
    device="cpu",
    instruction_sets=_NEEDS,
    refuse=_refuse,
    build=partial(_build, DynamicInt8Linear),
)
"""Of inputs quantized per token or per sample."""

INT8_KERNELS = (
    _kernel("linear", Int8Linear),
    DYNAMIC_LINEAR,
    _kernel("conv1d", Int8Conv1d),
    _kernel("conv2d", Int8Conv2d),
)
"""One per kind of layer, and one for dynamic inputs."""
