"""Quantizers and layers of a network that is being traced to ONNX, in ONNX's own operators.

| ours | ONNX |
|---|---|
| weight codes less an integer zero point, times a scale per tensor or channel | DequantizeLinear along axis 0 |
| ... times a scale per group | DequantizeLinear with blocks along axis 1 of (out, terms), then Reshape |
| ... with a zero point in floating point, or a minimum, as HQQ and GGUF have | DequantizeLinear, Sub |
| a static input | QuantizeLinear, DequantizeLinear; of fewer than 8 bits behind Clip |
| an input's scale by timestep | the table's nearest entry (ArgMin, Gather), then rounding by row |
| a dynamic input, per token, sample or group | ReduceMin, ReduceMax, Round, Clip |
| folded scale, shift, rotation, low-rank branch, deflated input | Div, Sub, MatMul or Conv |

Weights of up to 4 bits are stored as UINT4, which `onnx_model` does, as torch has no such type; those of more as UINT8,
but for symmetric ones of 8 bits, which are INT8, the type that integer kernels take. Other codebooks, and
ranges found at run time that are clipped by timestep, are refused by name.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from admbench.errors import UsageError
from admbench.methods.core.layers.quantized import QuantizedLayer
from admbench.methods.core.layers.rotation import rotate
from admbench.methods.core.numbers.dynamic import DynamicQuantizer
from admbench.methods.core.numbers.gguf import AffineQuantizer
from admbench.methods.core.numbers.quantizer import Quantizer
from admbench.methods.core.numbers.scheme import LayerKind, Scheme
from admbench.methods.core.numbers.timesteps import ClippedInput, TimestepTable

_OPERATIONS: dict[LayerKind, Any] = {"linear": F.linear, "conv1d": F.conv1d, "conv2d": F.conv2d}


def require_uniform(scheme: Scheme, what: str) -> None:
    """Raise UsageError for codes that are not evenly spaced, which no operator of ONNX dequantizes."""
    if scheme.codebook != "uniform":
        raise UsageError(f"{what}: ONNX export has no operators for the codebook {scheme.codebook}")


class _Dequantize(torch.autograd.Function):
    """`(codes - zero_point) * scale`, which is DequantizeLinear in the file."""

    @staticmethod
    def forward(ctx: Any, codes: Tensor, scale: Tensor, zero_point: Tensor, block: int) -> Tensor:
        """Dequantize: per tensor with scales (), per channel with (out,), per block of axis 1 with (out, blocks)."""
        steps = codes.float() - _spread(zero_point.float(), codes, block)
        return steps * _spread(scale, codes, block)

    @staticmethod
    def symbolic(g: Any, codes: Any, scale: Any, zero_point: Any, block: int) -> Any:
        """Return the node."""
        attributes = {"axis_i": 1, "block_size_i": block} if block else {"axis_i": 0}
        node = g.op("DequantizeLinear", codes, scale, zero_point, **attributes)
        return node.setType(scale.type().with_sizes(codes.type().sizes()))


class _QuantizeDequantize(torch.autograd.Function):
    """Rounding to the 256 codes of a scale and a zero point of uint8, which is QuantizeLinear and DequantizeLinear."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
        """Round half to even."""
        zero = zero_point.float()
        return ((values / scale).round() + zero).clamp(0, 255).sub(zero) * scale

    @staticmethod
    def symbolic(g: Any, values: Any, scale: Any, zero_point: Any) -> Any:
        """Return the nodes."""
        codes = g.op("QuantizeLinear", values, scale, zero_point)
        return g.op("DequantizeLinear", codes, scale, zero_point).setType(values.type())


class OnnxLayer(nn.Module):
    """A quantized layer in ONNX's operators.

    Args:
        layer: what it computes.
        what: the layer's name in messages.

    Raises:
        UsageError: it is of a kind, or has a scheme, that ONNX's operators do not express.
    """

    turned: Tensor | None

    def __init__(self, layer: QuantizedLayer, what: str) -> None:
        super().__init__()
        if layer.kind not in _OPERATIONS:
            raise UsageError(f"{what}: ONNX export has no quantized layer of kind {layer.kind}")
        self.layer = layer
        self.input = None if layer.activation_quantizer is None else traced(layer.activation_quantizer, what)
        self.weight = None if layer.weight_quantizer is None else OnnxWeight(layer, what)
        self._operation = _OPERATIONS[layer.kind]
        # as one product with a matrix of blocks: what groups channels would keep the rows of the call that is traced
        turned = None
        if layer.rotation:
            channels = layer.shape[1] * layer.geometry.get("groups", 1)
            turned = rotate(torch.eye(channels), layer.rotation, 1)
            self.layer.rotation = 0
        self.register_buffer("turned", turned)

    def forward(self, x: Tensor) -> Tensor:
        """See `QuantizedLayer.forward`."""
        x = self.layer.prepare_input(x)
        if self.turned is not None:
            spatial = [1] * (len(self.layer.shape) - 2)
            x = _OPERATIONS[self.layer.kind](x, self.turned.reshape(*self.turned.shape, *spatial))
        branch = self.layer.low_rank_branch(x)
        x = self.layer.deflate(x)
        if self.input is not None:
            x = self.input.fake_quantize(x)
        weight = self.layer.weight if self.weight is None else self.weight()
        out: Tensor = self._operation(x, weight, self.layer.bias, **self.layer.geometry)
        return out if branch is None else out + branch


class OnnxWeight(nn.Module):
    """The codes of a layer's weight, and what they stand for."""

    codes: Tensor
    scale: Tensor
    zero_point: Tensor
    offset: Tensor | None

    def __init__(self, layer: QuantizedLayer, what: str) -> None:
        super().__init__()
        quantizer = layer.weight_quantizer
        assert quantizer is not None
        assert layer.weight_codes is not None
        scheme, codes, zero_point = quantizer.scheme, layer.weight_codes, quantizer.zero_point
        require_uniform(scheme, f"{what}, weight")
        self.shape, self.block = layer.shape, scheme.group_size or 0
        if self.block:
            codes = codes.flatten(1)
        offset = None
        if isinstance(quantizer, AffineQuantizer):
            offset = quantizer.offset
        elif scheme.zero == "float":
            offset = quantizer.zero_point * quantizer.scale
        if offset is not None:
            zero_point = torch.zeros_like(quantizer.scale, dtype=torch.uint8)
        if offset is None and scheme.bits == 8 and scheme.symmetric:
            codes, zero_point = ((one.to(torch.int16) - 128).to(torch.int8) for one in (codes, zero_point))
        self.register_buffer("codes", codes)
        self.register_buffer("scale", quantizer.scale)
        self.register_buffer("zero_point", zero_point)
        self.register_buffer("offset", offset)

    def forward(self) -> Tensor:
        """Return the weight in floating point."""
        weight: Tensor = _Dequantize.apply(self.codes, self.scale, self.zero_point, self.block)
        if self.offset is not None:
            weight = weight.reshape(*self.offset.shape, -1) - self.offset[..., None]
        return weight.reshape(self.shape)


def traced(quantizer: Quantizer, what: str) -> StaticInput | TableInput | DynamicInput:
    """Return a quantizer of activations as operators that tracing can follow.

    Raises:
        UsageError: ONNX's operators do not express its scheme.
    """
    require_uniform(quantizer.scheme, f"{what}, input")
    if isinstance(quantizer, TimestepTable):
        return TableInput(quantizer)
    if isinstance(quantizer, ClippedInput) and len(quantizer.clip) > 1:
        raise UsageError(f"{what}, input: ONNX export does not express ranges that are clipped by timestep")
    return DynamicInput(quantizer) if isinstance(quantizer, DynamicQuantizer) else StaticInput(quantizer)


class StaticInput(nn.Module):
    """One scale and zero point for all of an input."""

    scale: Tensor
    zero_point: Tensor

    def __init__(self, quantizer: Quantizer) -> None:
        super().__init__()
        self.scheme = quantizer.scheme
        self.register_buffer("scale", quantizer.scale)
        self.register_buffer("zero_point", quantizer.zero_point)
        self._reach = None if (self.scheme.code_min, self.scheme.code_max) == (0, 255) else quantizer.reach()

    def fake_quantize(self, values: Tensor) -> Tensor:
        """See `Quantizer.fake_quantize`."""
        if self._reach is not None:
            values = values.clamp(*self._reach)
        rounded: Tensor = _QuantizeDequantize.apply(values, self.scale, self.zero_point)
        return rounded


class TableInput(nn.Module):
    """A scale and zero point for each row, by its timestep."""

    def __init__(self, table: TimestepTable) -> None:
        super().__init__()
        self.table = table

    def fake_quantize(self, values: Tensor) -> Tensor:
        """See `TimestepTable.fake_quantize`; rows that a layer made several of are taken together."""
        clock = self.table.clock
        assert clock is not None
        assert clock.timesteps is not None
        entry = (clock.timesteps[:, None] - self.table.timesteps).abs().argmin(dim=1)
        own = (-1, *[1] * values.ndim)
        scale, zero_point = (one[entry].reshape(own) for one in (self.table.scale, self.table.zero_point.float()))
        together = values.reshape(entry.shape[0], -1, *values.shape[1:])
        return _round(together, self.table.scheme, scale, zero_point).reshape(values.shape)


class DynamicInput(nn.Module):
    """Scales and zero points that are found from the input."""

    def __init__(self, quantizer: DynamicQuantizer) -> None:
        super().__init__()
        self.quantizer = quantizer

    def fake_quantize(self, values: Tensor) -> Tensor:
        """See `DynamicQuantizer.fake_quantize`."""
        scale, zero_point = self.quantizer.parameters_for(values)
        size = self.quantizer.scheme.group_size
        channel = self.quantizer.channels % values.ndim
        grouped = values if size is None else values.unflatten(channel, (-1, size))
        return _round(grouped, self.quantizer.scheme, scale, zero_point.float()).reshape(values.shape)


def _round(values: Tensor, scheme: Scheme, scale: Tensor, zero_point: Tensor) -> Tensor:
    steps = (values * scale.reciprocal()).round()
    return torch.minimum(torch.maximum(steps, scheme.code_min - zero_point), scheme.code_max - zero_point) * scale


def _spread(parameter: Tensor, codes: Tensor, block: int) -> Tensor:
    """Return a scale or zero point shaped to broadcast over codes."""
    if block:
        return parameter.repeat_interleave(block, dim=1)
    return parameter.reshape(-1, *[1] * (codes.ndim - 1)) if parameter.ndim else parameter
