"""Which layer of a backbone gets which scheme, as data; and the one place where layers are replaced accordingly."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from admcore.errors import CheckpointError, UsageError
from admcore.progress import track
from methods.core.layers import (
    QuantizableLayer,
    QuantizedLayer,
    dynamic_input,
    quantizable_layers,
    replace_layer,
)
from methods.core.quantizer import Quantizer
from methods.core.scheme import FLOAT, Granularity, LayerScheme, Scheme, activation_scheme, weight_scheme

EDGE_BITS = 8
"""Fewest bits of the first and the last layer of a backbone: they see the latent and write the prediction."""


@dataclass(frozen=True)
class Policy:
    """Ordered rules; the first whose pattern matches a layer's name decides, and no rule leaves the layer alone."""

    rules: tuple[tuple[str, LayerScheme], ...]
    """(shell pattern such as `*.attn1.*`, scheme), most particular first."""

    def scheme_of(self, name: str) -> LayerScheme:
        """Return the scheme of the layer called `name`."""
        return next((scheme for pattern, scheme in self.rules if fnmatchcase(name, pattern)), FLOAT)


def uniform_policy(
    weight_bits: int, activation_bits: int, ends: Sequence[str], weights: Granularity = "channel"
) -> Policy:
    """Return the same bits for every layer, but for the `ends`, which keep at least `EDGE_BITS` on either side.

    Args:
        weight_bits: 2..8, or 16 to leave weights alone.
        activation_bits: 2..8, or 16 to leave activations alone.
        ends: names of the first and the last layer, see `backbone_ends`.
        weights: one scale per output channel, or per tensor.
    """

    def scheme(least: int) -> LayerScheme:
        return LayerScheme(
            weight=weight_scheme(max(weight_bits, least), weights),
            activation=activation_scheme(max(activation_bits, least)),
        )

    return Policy((*((name, scheme(EDGE_BITS)) for name in ends), ("*", scheme(0))))


def backbone_ends(backbone: nn.Module, execution_order: Sequence[str] = ()) -> tuple[str, str]:
    """Return the names of the first and the last layer of a backbone.

    `conv_in` and `conv_out` where it has them, as diffusers' U-Nets do; else the layers that ran first and last.

    Args:
        backbone: the full-precision backbone.
        execution_order: names of its layers in the order in which a call ran them.

    Raises:
        UsageError: the backbone names no ends and no order is given.
    """
    if has_named_ends(backbone):
        return "conv_in", "conv_out"
    if not execution_order:
        raise UsageError(f"{type(backbone).__name__} has no conv_in and conv_out: a calibration set is needed")
    return execution_order[0], execution_order[-1]


def has_named_ends(backbone: nn.Module) -> bool:
    """Return whether the backbone's first and last layer are known by name, without running it."""
    return {"conv_in", "conv_out"} <= quantizable_layers(backbone).keys()


def quantize_layers(
    backbone: nn.Module,
    policy: Policy,
    *,
    fit_weight: Callable[[Scheme, Tensor], Quantizer],
    fit_activation: Callable[[Scheme, str], Quantizer | None],
) -> nn.Module:
    """Return a copy of a backbone with its layers quantized as a policy says; the original is left as it is.

    Args:
        backbone: full-precision backbone. Weights that get codes are read, not copied.
        policy: which layer gets which scheme.
        fit_weight: scheme and weight (out, ...) -> fitted quantizer.
        fit_activation: static scheme and layer name -> fitted quantizer of its input; None for a layer that never
            runs, which is then left alone altogether. Dynamic schemes need no fitting.

    Raises:
        CheckpointError: a weight is not finite; names the layer.
    """
    layers = quantizable_layers(backbone)
    quantized = copy_sharing(backbone, [layer.weight for layer in layers.values()])
    for name, layer in track(quantizable_layers(quantized).items(), "Quantizing layers", len(layers)):
        replacement = _quantize_layer(name, layer, policy.scheme_of(name), fit_weight, fit_activation)
        if replacement is None:
            _own_weight(layer)
        else:
            replace_layer(quantized, name, replacement)
    return quantized


def _quantize_layer(
    name: str,
    layer: QuantizableLayer,
    scheme: LayerScheme,
    fit_weight: Callable[[Scheme, Tensor], Quantizer],
    fit_activation: Callable[[Scheme, str], Quantizer | None],
) -> QuantizedLayer | None:
    """Return the quantized form of a layer, or None where it is left alone."""
    activation = None
    if scheme.activation is not None:
        dynamic = scheme.activation.dynamic
        activation = dynamic_input(scheme.activation, layer) if dynamic else fit_activation(scheme.activation, name)
    if scheme == FLOAT or (scheme.activation and activation is None):
        return None
    if not bool(torch.isfinite(layer.weight).all()):
        raise CheckpointError(f"layer {name}: its weights hold NaN or infinity and cannot be quantized")
    if scheme.weight is None:
        _own_weight(layer)
        return QuantizedLayer.from_float(layer, None, activation)
    weight = layer.weight.detach()
    return QuantizedLayer.from_float(layer, fit_weight(scheme.weight.for_terms(weight[0].numel()), weight), activation)


def copy_sharing(module: nn.Module, shared: Sequence[Tensor]) -> nn.Module:
    """Return a deep copy of a module that holds the very tensors of `shared`, and copies of all others."""
    return copy.deepcopy(module, {id(tensor): tensor for tensor in shared})


def _own_weight(layer: QuantizableLayer) -> None:
    """Replace a weight that is shared with the original backbone by a copy."""
    layer.weight = nn.Parameter(layer.weight.detach().clone(), layer.weight.requires_grad)
