"""Quantized Linear and convolution: integer codes, and the arithmetic that simulates them in floating point.

The codes, scales and zero points are the layer's only numbers: the simulation dequantizes them, a checkpoint packs
them, an integer kernel reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.core.quantizer import Quantizer
from methods.core.scheme import LayerKind, LayerScheme

QuantizableLayer = nn.Linear | nn.Conv1d | nn.Conv2d
_KINDS: dict[type[nn.Module], LayerKind] = {nn.Linear: "linear", nn.Conv1d: "conv1d", nn.Conv2d: "conv2d"}
_OPERATIONS: dict[LayerKind, Callable[..., Tensor]] = {"linear": F.linear, "conv1d": F.conv1d, "conv2d": F.conv2d}


class QuantizedLayer(nn.Module):
    """A Linear, Conv1d or Conv2d with quantized weights, a quantized input, or both.

    Args:
        layer: the layer to take the place of; gives shape, geometry and bias, and its weight where that stays float.
        weight_codes: uint8, of the shape of the layer's weight; None leaves the weight in floating point.
        weight_quantizer: what the codes mean; None as above.
        activation_quantizer: rounds the input; None leaves it alone.
    """

    weight_codes: Tensor | None
    weight_float: Tensor | None
    bias: Tensor | None

    def __init__(
        self,
        layer: QuantizableLayer,
        *,
        weight_codes: Tensor | None = None,
        weight_quantizer: Quantizer | None = None,
        activation_quantizer: Quantizer | None = None,
    ) -> None:
        super().__init__()
        self.kind: LayerKind = layer_kind(layer)
        self.shape = tuple(layer.weight.shape)
        self.register_buffer("weight_codes", weight_codes)
        self.register_parameter("weight_float", _parameter(layer.weight) if weight_codes is None else None)
        self.register_parameter("bias", None if layer.bias is None else _parameter(layer.bias))
        self.weight_quantizer = weight_quantizer
        self.activation_quantizer = activation_quantizer
        self._operation = _OPERATIONS[self.kind]
        self._geometry = _geometry(layer)
        self._dequantized: Tensor | None = None

    @classmethod
    def from_float(
        cls, layer: QuantizableLayer, weight_quantizer: Quantizer | None, activation_quantizer: Quantizer | None
    ) -> Self:
        """Quantize a layer's weight to the nearest codes."""
        codes = None if weight_quantizer is None else weight_quantizer.codes(layer.weight)
        return cls(
            layer,
            weight_codes=codes,
            weight_quantizer=weight_quantizer,
            activation_quantizer=activation_quantizer,
        )

    @classmethod
    def unfitted(cls, layer: QuantizableLayer, scheme: LayerScheme) -> Self:
        """Return one without numbers, on the meta device: the shapes and dtypes that a checkpoint must fill."""
        channels = layer.weight.shape[0]
        codes = torch.empty(layer.weight.shape, dtype=torch.uint8, device="meta")
        return cls(
            layer,
            weight_codes=codes if scheme.weight else None,
            weight_quantizer=Quantizer.unfitted(scheme.weight, channels) if scheme.weight else None,
            activation_quantizer=Quantizer.unfitted(scheme.activation, channels) if scheme.activation else None,
        )

    @property
    def scheme(self) -> LayerScheme:
        """How the layer is quantized."""
        return LayerScheme(
            weight=self.weight_quantizer.scheme if self.weight_quantizer else None,
            activation=self.activation_quantizer.scheme if self.activation_quantizer else None,
        )

    @property
    def geometry(self) -> dict[str, Any]:
        """Stride, padding, dilation and groups of a convolution, as torch's functions take them; empty of a Linear."""
        return dict(self._geometry)

    @property
    def weight(self) -> Tensor:
        """The weight in floating point: of the codes if there are any.

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

    def set_codes(self, codes: Tensor) -> None:
        """Replace the codes of the weight: uint8, of the same shape, as its quantizer allows."""
        self.weight_codes = codes
        self._dequantized = None

    def substitute_weight(self, weight: Tensor) -> None:
        """Compute with this float32 weight until codes are set: for learning codes, with its gradient."""
        self._dequantized = weight

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer to x, of the shape that the replaced layer takes."""
        if self.activation_quantizer is not None:
            x = self.activation_quantizer.fake_quantize(x)
        return self._operation(x, self.weight, self.bias, **self._geometry)

    def extra_repr(self) -> str:
        """Return kind and shape, for printing."""
        return f"{self.kind}, {self.shape}"

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        self._dequantized = None
        return super()._apply(fn, recurse)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._dequantized = None
        super()._load_from_state_dict(*args, **kwargs)


def layer_kind(layer: QuantizableLayer) -> LayerKind:
    """Return which kind of layer it is."""
    return _KINDS[type(layer)]


def quantizable_layers(module: nn.Module) -> dict[str, QuantizableLayer]:
    """Return the layers of a module that can be quantized, by name, in the order of their definition.

    Only the exact classes are taken: a subclass may compute something else. A convolution that pads with anything but
    zeros is left out.
    """
    return {name: layer for name, layer in _leaves(module) if getattr(layer, "padding_mode", "zeros") == "zeros"}


def quantized_layers(module: nn.Module) -> dict[str, QuantizedLayer]:
    """Return the quantized layers of a module by name, in the order of their definition."""
    return {name: layer for name, layer in module.named_modules() if isinstance(layer, QuantizedLayer)}


def replace_layer(module: nn.Module, name: str, layer: nn.Module) -> None:
    """Put `layer` in the place of the submodule called `name`."""
    parent, _, attribute = name.rpartition(".")
    setattr(module.get_submodule(parent), attribute, layer)


def _leaves(module: nn.Module) -> Iterator[tuple[str, Any]]:
    return ((name, layer) for name, layer in module.named_modules() if type(layer) in _KINDS)


def _geometry(layer: QuantizableLayer) -> dict[str, Any]:
    if isinstance(layer, nn.Linear):
        return {}
    return {name: getattr(layer, name) for name in ("stride", "padding", "dilation", "groups")}


def _parameter(tensor: Tensor) -> nn.Parameter:
    assert isinstance(tensor, nn.Parameter)
    return tensor
