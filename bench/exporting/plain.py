"""A quantized network as the library's own network: plain layers that hold the values of the codes.

A folded scale, a shift and a low-rank branch are linear, and become part of weight and bias:

    W_q ((x - shift) / scale) + up(down((x - shift) / scale)) + bias  =  W x + (bias - W shift)

with W the layer's `effective_weight`. A layer that was split over its inputs becomes one again. The rounding of inputs
and of attention's operands is no part of a weight: it is left out, and `roundings` says of what.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin
from diffusers.models.attention_processor import AttnProcessor2_0
from torch import Tensor, nn

from admbench.errors import UsageError
from admbench.methods.core.layers.attention import attention_sites
from admbench.methods.core.layers.kinds import replace_layer
from admbench.methods.core.layers.quantized import QuantizedLayer, quantized_layers
from admbench.methods.core.layers.split import SplitLayer
from admbench.methods.core.layers.transposed import swap_channels
from admbench.methods.core.reconstruction.correction import correction_of


def roundings(network: nn.Module) -> list[str]:
    """Return what a network rounds beside its weights, one line of each kind."""
    inputs = sum(layer.activation_quantizer is not None for layer in quantized_layers(network).values())
    attentions = len(attention_sites(network))
    found = [f"the rounding of the inputs of {inputs} layers"] if inputs else []
    return found + ([f"the rounding of the operands of {attentions} attentions"] if attentions else [])


def without_roundings(network: nn.Module) -> nn.Module:
    """Return a copy of a network that rounds its weights alone; the network itself where it does just that."""
    if not roundings(network):
        return network
    copied = copy.deepcopy(network)
    for layer in quantized_layers(copied).values():
        layer.activation_quantizer = None
    _plain_attentions(copied)
    return copied


def plain_network(network: nn.Module, component: str) -> nn.Module:
    """Return a copy of a quantized network of its library's layers alone, float32, which rounds no inputs.

    Args:
        network: of a class of diffusers or transformers.
        component: what it is called in messages.

    Raises:
        UsageError: it corrects its predictions, shifts the input of a layer without bias, or its library names its
            parameters otherwise, as under weight normalisation.
    """
    if correction_of(network) is not None:
        raise UsageError(f"{component}: its predictions are corrected by timestep, which no layer of the library does")
    copied = copy.deepcopy(network)
    _plain_attentions(copied)
    made: dict[int, nn.Module] = {}  # a table of tokens may be in several places, and stays one
    for name, layer in [*copied.named_modules(remove_duplicate=False)]:
        if isinstance(layer, QuantizedLayer):
            if id(layer) not in made:
                made[id(layer)] = _plain_layer(layer, f"{component}: {name}")
            replace_layer(copied, name, made[id(layer)])
    for name, layer in [*copied.named_modules()]:
        if isinstance(layer, SplitLayer):
            replace_layer(copied, name, _joined(layer))
    _require_stock_names(copied, component)
    return copied.eval()


def _plain_attentions(network: nn.Module) -> None:
    for name in attention_sites(network):
        attention: Any = network.get_submodule(name)
        del attention.sites
        attention.set_processor(AttnProcessor2_0())


@torch.no_grad()
def _plain_layer(layer: QuantizedLayer, what: str) -> nn.Module:
    weight, bias = layer.effective_weight, layer.bias
    if layer.input_shift is not None:
        if bias is None:
            raise UsageError(f"{what}: its input is shifted, and it has no bias to make up for that")
        bias = bias - weight.reshape(*weight.shape[:2], -1).sum(2) @ layer.input_shift
    made = _empty(layer, bias is not None)
    if layer.kind.startswith("conv_transpose"):
        weight = swap_channels(weight, layer.geometry["groups"])
    made.weight = nn.Parameter(weight.clone(), requires_grad=False)
    if bias is not None:
        made.bias = nn.Parameter(bias.clone(), requires_grad=False)
    return made


def _empty(layer: QuantizedLayer, bias: bool) -> Any:
    """Return a layer of torch of the same kind and geometry, on the meta device."""
    out, inputs, *kernel = layer.shape
    if layer.kind == "embedding":
        return nn.Embedding(out, inputs, device="meta")
    if layer.kind == "linear":
        return nn.Linear(inputs, out, bias, device="meta")
    convolution = {
        "conv1d": nn.Conv1d,
        "conv2d": nn.Conv2d,
        "conv_transpose1d": nn.ConvTranspose1d,
        "conv_transpose2d": nn.ConvTranspose2d,
    }[layer.kind]
    return convolution(
        inputs * layer.geometry["groups"], out, tuple(kernel), bias=bias, device="meta", **layer.geometry
    )


@torch.no_grad()
def _joined(split: SplitLayer) -> nn.Module:
    """Return a sum of two layers over parts of the input as one over all of it."""
    first, second = split.first, split.second
    assert isinstance(first, nn.Linear | nn.Conv1d | nn.Conv2d)
    assert isinstance(second, nn.Linear | nn.Conv1d | nn.Conv2d)
    joined = copy.copy(first)
    weight: Tensor = torch.cat([first.weight, second.weight], dim=1)
    joined._parameters = {**first._parameters, "weight": nn.Parameter(weight, requires_grad=False)}
    if isinstance(joined, nn.Linear):
        joined.in_features = weight.shape[1]
    else:
        joined.in_channels = weight.shape[1]
    if second.bias is not None:  # a folded shift moves both
        assert joined.bias is not None
        joined._parameters["bias"] = nn.Parameter(joined.bias + second.bias, requires_grad=False)
    return joined


def _require_stock_names(network: Any, component: str) -> None:
    """Raise UsageError unless the library's own class has parameters of just these names."""
    with torch.device("meta"):
        made = type(network)
        stock = made.from_config(network.config) if isinstance(network, ConfigMixin) else made(network.config)
    differing = sorted(stock.state_dict().keys() ^ network.state_dict().keys())
    if differing:
        raise UsageError(
            f"{component}: {made.__name__} of the library has parameters of other names, such as {differing[0]}; its"
            " weights cannot be put in their place"
        )
