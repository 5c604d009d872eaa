"""Quantized layers: integer codes, and the arithmetic that simulates them in floating point.

The codes, scales and zero points are the layer's only numbers: the simulation dequantizes them, a checkpoint packs
them, an integer kernel reads them. With all optional parts a layer computes

    y = W_q fake_quantize(u) + up(down(u)) + bias,    u = R (x - shift) / scale

where W_q are the codes of W * scale, rotated by R, less what the low-rank branch holds, and the bias includes W shift.
Without quantization that is W x + bias, whatever scale, shift, rotation and branch are. A deflated layer rounds
u - down^T(down(u)) in place of u: with orthonormal rows of `down`, nothing of the directions that the branch reads.
Of embeddings and transposed convolutions only the weight is quantized.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from admbench.methods.core.layers.kinds import (
    WEIGHT_ONLY_KINDS,
    AnyLayer,
    QuantizableLayer,
    WeightOnlyLayer,
    channel_dimension,
    geometry_of,
    input_channels,
    layer_kind,
    over_inputs,
    weight_of,
    with_weight,
)
from admbench.methods.core.layers.rotation import is_rotation_size, rotate
from admbench.methods.core.layers.transposed import conv_transpose1d, conv_transpose2d
from admbench.methods.core.numbers.dynamic import DynamicQuantizer
from admbench.methods.core.numbers.fitting import dynamic_quantizer, quantizer_class
from admbench.methods.core.numbers.quantizer import Quantizer
from admbench.methods.core.numbers.scheme import NO_PARTS, LayerKind, LayerParts, LayerScheme, Scheme
from admbench.methods.core.numbers.timesteps import ClippedInput, TimestepEntries, TimestepTable


def _look_up(ids: Tensor, table: Tensor, bias: None) -> Tensor:
    return F.embedding(ids, table)


_OPERATIONS: dict[LayerKind, Callable[..., Tensor]] = {
    "linear": F.linear,
    "conv1d": F.conv1d,
    "conv2d": F.conv2d,
    "conv_transpose1d": conv_transpose1d,
    "conv_transpose2d": conv_transpose2d,
    "embedding": _look_up,
}


class QuantizedLayer(nn.Module):
    """A Linear, Conv1d or Conv2d with quantized weights, a quantized input, or both; or another with quantized weights.

    Args:
        layer: the layer to take the place of; gives shape, geometry and bias, and its weight where that stays float.
        weight_codes: uint8, of the shape of `weight_of(layer)`; None leaves the weight in floating point.
        weight_quantizer: what the codes mean; None as above.
        activation_quantizer: rounds the input; None leaves it alone.
        input_scale: (in,) float32, positive: the input is divided by it before rounding; the weight is that of the
            divided input. (SmoothQuant, arXiv 2211.10438, and its successors.)
        input_shift: (in,) float32: subtracted from the input before that; the bias must make up for it. Only where no
            zeros are padded.
        rotation: number of input channels that are then rotated together, see `layers.rotation`; the weight is that of
            the rotated input. 0 is none.
        low_rank: (down, up) of a branch in floating point: `down` of the weight's shape but for (rank, ...) outputs,
            `up` (out, rank). Kept as they come, in half precision if they are, and computed in the input's type.
        deflated: whether what `down` reads is taken off the input before this is rounded. Only beside a branch, of a
            layer that reads one position at a time.

    Raises:
        ValueError: a part does not fit the layer.

    >>> from admbench.methods.core.numbers.scheme import weight_scheme
    >>> linear = nn.Linear(64, 32)
    >>> weight = Quantizer.min_max(weight_scheme(4, "channel"), linear.weight)
    >>> layer = QuantizedLayer.from_float(linear, weight, activation_quantizer=None)
    >>> layer.weight_codes.dtype, layer.weight_codes.max() <= 15, layer(torch.ones(1, 64)).shape
    (torch.uint8, tensor(True), torch.Size([1, 32]))
    """

    weight_codes: Tensor | None
    weight_float: Tensor | None
    bias: Tensor | None
    input_scale: Tensor | None
    input_shift: Tensor | None
    low_rank_down: Tensor | None
    low_rank_up: Tensor | None

    def __init__(
        self,
        layer: AnyLayer,
        *,
        weight_codes: Tensor | None = None,
        weight_quantizer: Quantizer | None = None,
        activation_quantizer: Quantizer | None = None,
        input_scale: Tensor | None = None,
        input_shift: Tensor | None = None,
        rotation: int = 0,
        low_rank: tuple[Tensor, Tensor] | None = None,
        deflated: bool = False,
    ) -> None:
        super().__init__()
        self.rotation, self.deflated = rotation, deflated
        self.kind: LayerKind = layer_kind(layer)
        self.shape = tuple(weight_of(layer).shape)
        self.register_buffer("weight_codes", weight_codes)
        self.register_parameter("weight_float", _parameter(layer.weight) if weight_codes is None else None)
        bias = getattr(layer, "bias", None)
        self.register_parameter("bias", None if bias is None else _parameter(bias))
        self.weight_quantizer = weight_quantizer
        self.activation_quantizer = activation_quantizer
        self.register_buffer("input_scale", input_scale)
        self.register_buffer("input_shift", input_shift)
        self.register_buffer("low_rank_down", low_rank[0] if low_rank else None)
        self.register_buffer("low_rank_up", low_rank[1] if low_rank else None)
        self._operation = _OPERATIONS[self.kind]
        self._geometry = geometry_of(layer)
        self._dequantized: Tensor | None = None
        self._check_parts()

    @classmethod
    def from_float(
        cls,
        layer: AnyLayer,
        weight_quantizer: Quantizer | None,
        activation_quantizer: Quantizer | None,
        *,
        weight: Tensor | None = None,
        **parts: Any,
    ) -> Self:
        """Quantize a layer's weight to the nearest codes.

        Args:
            layer: in full precision.
            weight_quantizer: fitted to the weight; None leaves it in floating point.
            activation_quantizer: of the input; None leaves it alone.
            weight: what to quantize in place of a Linear's or convolution's own weight, of its shape.
            parts: optional parts of the constructor.
        """
        if weight is not None:
            assert isinstance(layer, QuantizableLayer)
            layer = with_weight(layer, weight)
        codes = None if weight_quantizer is None else weight_quantizer.codes(weight_of(layer))
        return cls(
            layer,
            weight_codes=codes,
            weight_quantizer=weight_quantizer,
            activation_quantizer=activation_quantizer,
            **parts,
        )

    @classmethod
    def unfitted(cls, layer: AnyLayer, scheme: LayerScheme, parts: LayerParts = NO_PARTS) -> Self:
        """Return one without numbers, on the meta device: the shapes and dtypes that a checkpoint must fill.

        Raises:
            ValueError: a part or a scheme does not fit the layer.
        """
        _check_kind(layer_kind(layer), scheme, parts)
        shape = weight_of(layer).shape
        empty = partial(torch.empty, dtype=torch.float32, device="meta")
        half = partial(torch.empty, dtype=torch.float16, device="meta")
        codes = torch.empty(shape, dtype=torch.uint8, device="meta") if scheme.weight else None
        weight = _unfitted_weight(scheme.weight, shape) if scheme.weight else None
        if isinstance(layer, WeightOnlyLayer):
            return cls(layer, weight_codes=codes, weight_quantizer=weight)
        activation = scheme.activation
        return cls(
            layer,
            weight_codes=codes,
            weight_quantizer=weight,
            activation_quantizer=_unfitted_input(activation, layer, parts.timesteps) if activation else None,
            input_scale=empty(input_channels(layer)) if parts.input_scale else None,
            input_shift=empty(input_channels(layer)) if parts.input_shift else None,
            rotation=parts.rotation,
            low_rank=(half(parts.rank, *shape[1:]), half(shape[0], parts.rank)) if parts.rank else None,
            deflated=parts.deflated,
        )

    @property
    def scheme(self) -> LayerScheme:
        """How the layer is quantized."""
        return LayerScheme(
            weight=self.weight_quantizer.scheme if self.weight_quantizer else None,
            activation=self.activation_quantizer.scheme if self.activation_quantizer else None,
        )

    @property
    def parts(self) -> LayerParts:
        """What it has besides codes and quantizers."""
        table = self.activation_quantizer
        return LayerParts(
            input_scale=self.input_scale is not None,
            input_shift=self.input_shift is not None,
            rank=0 if self.low_rank_down is None else len(self.low_rank_down),
            timesteps=len(table.timesteps) if isinstance(table, TimestepEntries) else 0,
            rotation=self.rotation,
            deflated=self.deflated,
        )

    @property
    def geometry(self) -> dict[str, Any]:
        """Stride, padding, dilation and groups of a convolution, as torch's functions take them; empty of others."""
        return dict(self._geometry)

    @property
    def weight(self) -> Tensor:
        """The weight in floating point, output channels first: of the codes if there are any.

        Dequantized once, so that simulation runs at about the speed of floating point. The copy is in no checkpoint and
        is dropped when the module moves or loads; codes are not changed in place otherwise.
        """
        if self.weight_float is not None:
            return self.weight_float
        if self._dequantized is None:
            assert self.weight_quantizer is not None
            assert self.weight_codes is not None
            with torch.inference_mode(False):  # a tensor that a later call may compute gradients with
                self._dequantized = self.weight_quantizer.dequantize(self.weight_codes)
        return self._dequantized

    @property
    def effective_weight(self) -> Tensor:
        """The weight that the layer applies to its input as it comes: scale, rotation and low-rank branch taken in."""
        weight = self.weight
        if self.low_rank_down is not None and self.low_rank_up is not None:
            down, up = self.low_rank_down.float().flatten(1), self.low_rank_up.float()
            if self.deflated:
                up = up - weight.flatten(1) @ down.T
            weight = weight + (up @ down).view(weight.shape)
        if self.rotation:
            weight = rotate(weight, self.rotation, 1)
        if self.input_scale is not None:
            weight = weight / over_inputs(self.input_scale, weight)
        return weight

    def folded(self, weight: Tensor) -> Tensor:
        """Return what the codes are of where a weight is to be applied: scaled, rotated, less the low-rank branch."""
        if self.input_scale is not None:
            weight = weight * self.input_scale.view(1, -1, *[1] * (weight.ndim - 2))
        if self.rotation:
            weight = rotate(weight, self.rotation, 1)
        if self.low_rank_down is not None and self.low_rank_up is not None:
            weight = weight - (self.low_rank_up.float() @ self.low_rank_down.float().flatten(1)).view(weight.shape)
        return weight

    def set_codes(self, codes: Tensor) -> None:
        """Replace the codes of the weight: uint8, of the same shape, as its quantizer allows."""
        self.weight_codes = codes
        self._dequantized = None

    def substitute_weight(self, weight: Tensor) -> None:
        """Compute with this float32 weight until codes are set: for learning codes, with its gradient."""
        self._dequantized = weight

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer to x, of the shape that the replaced layer takes."""
        x = self.prepare_input(x)
        branch = self.low_rank_branch(x)
        x = self.deflate(x)
        if self.activation_quantizer is not None:
            x = self.activation_quantizer.fake_quantize(x)
        out = self._operation(x, self.weight, self.bias, **self._geometry)
        return out if branch is None else out + branch

    def prepare_input(self, x: Tensor) -> Tensor:
        """Return the input shifted, divided and rotated, as far as the layer does: what branch and quantizer read."""
        if self.input_shift is not None:
            x = x - self._over_channels(self.input_shift, x)
        if self.input_scale is not None:
            x = x / self._over_channels(self.input_scale, x)
        if self.rotation:
            x = rotate(x, self.rotation, channel_dimension(self.kind))
        return x

    def low_rank_branch(self, x: Tensor) -> Tensor | None:
        """Return what the low-rank branch makes of the prepared input; None without one."""
        if self.low_rank_down is None or self.low_rank_up is None:
            return None
        narrow = self._operation(x, self.low_rank_down.to(x.dtype), None, **self._geometry)
        up = self.low_rank_up.to(x.dtype)
        return self._operation(narrow, up.view(*up.shape, *[1] * (len(self.shape) - 2)))

    def deflate(self, x: Tensor) -> Tensor:
        """Return the prepared input less what the low-rank branch reads of it; of a layer that is not deflated, as is.

        That is u - down^T down u at every position.
        """
        if not self.deflated or self.low_rank_down is None:
            return x
        down = self.low_rank_down.to(x.dtype)
        return x - self._operation(self._operation(x, down), down.transpose(0, 1))

    def _over_channels(self, parameter: Tensor, x: Tensor) -> Tensor:
        return parameter if self.kind == "linear" else parameter.view(-1, *[1] * (len(self.shape) - 2))

    def _check_parts(self) -> None:
        _check_kind(self.kind, self.scheme, self.parts)
        geometry = self._geometry
        if self.input_shift is not None and geometry and geometry["padding"] not in ("valid", (0,), (0, 0)):
            raise ValueError("a shifted input cannot be padded with zeros")
        if self.parts.model_copy(update={"timesteps": 0}) != NO_PARTS and geometry.get("groups", 1) != 1:
            raise ValueError("a convolution in groups has no scaled or rotated input and no low-rank branch")
        channels = self.shape[1]
        if self.rotation and (not is_rotation_size(self.rotation) or channels % self.rotation):
            raise ValueError(f"{channels} input channels cannot be rotated in groups of {self.rotation}")
        if self.deflated and (self.low_rank_down is None or math.prod(self.shape[2:]) != 1):
            raise ValueError("a deflated input needs a low-rank branch, and a layer that reads one position at a time")
        for part in (self.input_scale, self.input_shift):
            if part is not None and tuple(part.shape) != (channels,):
                raise ValueError(f"expected {channels} numbers for the input's channels, found {tuple(part.shape)}")

    def extra_repr(self) -> str:
        """Return kind and shape, for printing."""
        return f"{self.kind}, {self.shape}"

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        self._dequantized = None
        return super()._apply(fn, recurse)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._dequantized = None
        super()._load_from_state_dict(*args, **kwargs)


def dynamic_input(scheme: Scheme, layer: QuantizableLayer) -> DynamicQuantizer:
    """Return the quantizer of a layer's input under a dynamic scheme, groups fitted to the layer's channels."""
    return dynamic_quantizer(scheme.for_terms(input_channels(layer)), channel_dimension(layer_kind(layer)))


def quantized_layers(module: nn.Module) -> dict[str, QuantizedLayer]:
    """Return the quantized layers of a module by name, in the order of their definition."""
    return {name: layer for name, layer in module.named_modules() if isinstance(layer, QuantizedLayer)}


def _check_kind(kind: LayerKind, scheme: LayerScheme, parts: LayerParts) -> None:
    only_weight = scheme.weight is not None and scheme.activation is None and parts == NO_PARTS
    if kind in WEIGHT_ONLY_KINDS.values() and not only_weight:
        raise ValueError(f"of a layer of kind {kind} the weights are quantized, and nothing else")


def _unfitted_weight(scheme: Scheme, shape: Sequence[int]) -> Quantizer:
    if scheme.dynamic or scheme.codebook == "log2":
        raise ValueError(f"weights have no {'dynamic scheme' if scheme.dynamic else 'codebook log2'}")
    if scheme.group_size is not None and math.prod(shape[1:]) % scheme.group_size:
        raise ValueError(f"groups of {scheme.group_size} do not divide {math.prod(shape[1:])} numbers")
    return quantizer_class(scheme).unfitted(scheme, shape)


def _unfitted_input(scheme: Scheme, layer: QuantizableLayer, timesteps: int) -> Quantizer:
    if scheme.dynamic:
        quantizer = dynamic_input(scheme, layer)
        if quantizer.scheme != scheme:
            raise ValueError(f"groups of {scheme.group_size} do not divide {input_channels(layer)} channels")
        if timesteps and scheme.codebook != "uniform":
            raise ValueError("a clipped input is uniform")
        if timesteps:
            return ClippedInput(scheme, quantizer.channels, *torch.empty(2, timesteps, device="meta"))
        return quantizer
    if scheme.granularity != "tensor" or scheme.codebook != "uniform" or scheme.zero != "integer":
        raise ValueError("a layer's static input has one uniform scale and an integer zero point")
    return TimestepTable.empty(scheme, timesteps) if timesteps else Quantizer.unfitted(scheme, ())


def _parameter(tensor: Tensor) -> nn.Parameter:
    assert isinstance(tensor, nn.Parameter)
    return tensor
