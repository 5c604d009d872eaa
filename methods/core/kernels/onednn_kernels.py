"""The kernels of `kernels.onednn`'s products: which layers each computes, and what is computed beside the product."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from admbench.methods.core.kernels.base import Kernel, Support
from admbench.methods.core.kernels.codes import TableCodes
from admbench.methods.core.kernels.onednn import (
    DynamicInt8Linear,
    Int8Conv1d,
    Int8Conv2d,
    Int8Linear,
    numeric_geometry,
)
from admbench.methods.core.layers.kinds import channel_dimension
from admbench.methods.core.layers.quantized import QuantizedLayer
from admbench.methods.core.layers.rotation import rotate
from admbench.methods.core.numbers.scheme import LayerKind, Scheme
from admbench.methods.core.processor import is_x86, product_refusal

PARTS = frozenset({"input_scale", "input_shift", "rank", "timesteps", "rotation"})
"""Of a layer that is computed here. Named one by one: what a layer may have beside these is refused until it is."""
_NEEDS = "AVX512-VNNI or AVX-VNNI; without them, codes small enough not to saturate in 16 bits"


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
    """A product of a scaled, shifted or rotated input, and a low-rank branch in floating point beside it.

    Args:
        layer: has the scale, shift, rotation and branch, which are computed as it does.
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
        self._rotation, self._channel = layer.rotation, channel_dimension(layer.kind)
        self._operation: Callable[..., Tensor] = getattr(F, layer.kind)
        self._geometry = layer.geometry
        self.product = product

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer to float32 x."""
        if self._shift is not None:
            x = x - self._shift
        if self._scale is not None:
            x = x / self._scale
        if self._rotation:
            x = rotate(x, self._rotation, self._channel)
        out: Tensor = self.product(x)
        if self._down is not None and self._up is not None:
            narrow = self._operation(x, self._down, None, **self._geometry)
            out += self._operation(narrow, self._up)
        return out


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


def _kernel(kind: LayerKind, module: type[nn.Module]) -> Kernel:
    operations: dict[LayerKind, Any] = {
        "linear": "qlinear_pointwise",
        "conv1d": "qconv2d_pointwise over images of height 1",
        "conv2d": "qconv2d_pointwise",
    }
    return Kernel(
        name=f"onednn-int8-{kind}",
        summary=f"oneDNN {operations[kind]}: uint8 inputs, int8 weights arranged once, 32-bit sums, float32 out",
        kind=kind,
        weight=Support(bits=tuple(range(2, 9)), asymmetric_bits=tuple(range(2, 8))),
        activation=Support(bits=tuple(range(2, 9)), granularities=("tensor",), asymmetric_bits=tuple(range(2, 9))),
        parts=PARTS,
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
    parts=PARTS - {"timesteps"},
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
