"""Layers that can be quantized, as torch makes them: which a network has, of which kind and shape."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from admbench.methods.core.layers.transposed import swap_channels
from admbench.methods.core.numbers.scheme import LayerKind

QuantizableLayer = nn.Linear | nn.Conv1d | nn.Conv2d
"""What methods quantize, weights and inputs."""
WeightOnlyLayer = nn.ConvTranspose1d | nn.ConvTranspose2d | nn.Embedding
"""What is quantized by its weights alone; see `admbench.methods.core.weight_only_fallback`."""
AnyLayer = QuantizableLayer | WeightOnlyLayer
_KINDS: dict[type[nn.Module], LayerKind] = {nn.Linear: "linear", nn.Conv1d: "conv1d", nn.Conv2d: "conv2d"}
WEIGHT_ONLY_KINDS: dict[type[nn.Module], LayerKind] = {
    nn.ConvTranspose1d: "conv_transpose1d",
    nn.ConvTranspose2d: "conv_transpose2d",
    nn.Embedding: "embedding",
}


def layer_kind(layer: AnyLayer) -> LayerKind:
    """Return which kind of layer it is."""
    return (_KINDS | WEIGHT_ONLY_KINDS)[type(layer)]


def weight_of(layer: AnyLayer) -> Tensor:
    """Return a layer's weight with the output channels first; of an embedding, what it looks up."""
    if isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d):
        return swap_channels(layer.weight, layer.groups)
    return layer.weight


def with_weight(layer: QuantizableLayer, weight: Tensor) -> QuantizableLayer:
    """Return a layer of the same geometry and bias with another weight, of the same shape."""
    other = copy.copy(layer)
    other._parameters = {**layer._parameters, "weight": nn.Parameter(weight, layer.weight.requires_grad)}
    return other


def over_inputs(numbers: Tensor, weight: Tensor) -> Tensor:
    """Return a number for each input channel, (in,), shaped to broadcast over a weight (out, in, ...)."""
    return numbers.view(1, -1, *[1] * (weight.ndim - 2))


def input_channels(layer: QuantizableLayer) -> int:
    """Return how many channels a layer reads."""
    return layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels


def channel_dimension(kind: LayerKind) -> int:
    """Return the dimension of the channels in a layer's input."""
    return -1 if kind == "linear" else 1


def quantizable_layers(module: nn.Module) -> dict[str, QuantizableLayer]:
    """Return the layers of a module that can be quantized, by name, in the order of their definition.

    Only the exact classes are taken: a subclass may compute something else. A convolution that pads with anything but
    zeros is left out.
    """
    return {name: layer for name, layer in _leaves(module) if getattr(layer, "padding_mode", "zeros") == "zeros"}


def weight_only_layers(module: nn.Module) -> dict[str, WeightOnlyLayer]:
    """Return the embeddings and transposed convolutions of a module by name, in the order of their definition.

    Only the exact classes are taken, and no embedding that rescales its rows. A weight that layers share is there once.
    """
    found: dict[int, tuple[str, Any]] = {}
    for name, layer in module.named_modules():
        if type(layer) in WEIGHT_ONLY_KINDS and getattr(layer, "max_norm", None) is None:
            found.setdefault(id(layer.weight), (name, layer))
    return dict(found.values())


def replace_layer(module: nn.Module, name: str, layer: nn.Module) -> None:
    """Put `layer` in the place of the submodule called `name`."""
    parent, _, attribute = name.rpartition(".")
    setattr(module.get_submodule(parent), attribute, layer)


def replace_shared(module: nn.Module, name: str, layer: nn.Module) -> None:
    """Put `layer` in the place of the submodule called `name`, and of each of its class that shares its weight."""
    old = module.get_submodule(name)
    for place, other in [*module.named_modules(remove_duplicate=False)]:
        if type(other) is type(old) and other.weight is old.weight:
            replace_layer(module, place, layer)


def _leaves(module: nn.Module) -> Iterator[tuple[str, Any]]:
    return ((name, layer) for name, layer in module.named_modules() if type(layer) in _KINDS)


def geometry_of(layer: AnyLayer) -> dict[str, Any]:
    """Return stride, padding, dilation and groups of a convolution by name; nothing of a Linear or an embedding."""
    if isinstance(layer, nn.Linear | nn.Embedding):
        return {}
    transposed = ("output_padding",) if isinstance(layer, WeightOnlyLayer) else ()
    return {name: getattr(layer, name) for name in ("stride", "padding", "dilation", "groups", *transposed)}
