"""Which layer of a backbone gets which scheme, as data; and the one place where layers are replaced accordingly."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from admbench.errors import CheckpointError, UsageError
from admbench.methods.core.layers.kinds import QuantizableLayer, quantizable_layers, replace_layer
from admbench.methods.core.layers.quantized import QuantizedLayer, dynamic_input
from admbench.methods.core.numbers.quantizer import Quantizer
from admbench.methods.core.numbers.scheme import (
    FLOAT,
    Granularity,
    LayerScheme,
    Scheme,
    Side,
    activation_scheme,
    at_least,
    grouped,
    per_token,
    weight_scheme,
)
from admbench.progress import track

EDGE_BITS = 8
"""Fewest bits of the first and the last layer of a backbone: they see the latent and write the prediction."""


@dataclass(frozen=True)
class Policy:
    """Ordered rules; the first whose pattern matches a layer's name decides, and no rule leaves the layer alone.

    >>> policy = uniform_policy(4, 8, ends=("conv_in", "conv_out"))
    >>> [policy.scheme_of(name).weight.bits for name in ("conv_in", "mid_block.attentions.0.proj_in")]
    [8, 4]
    """

    rules: tuple[tuple[str, LayerScheme], ...]
    """(shell pattern such as `*.attn1.*`, scheme), most particular first."""

    def changed(
        self,
        *,
        weight: Callable[[Scheme], Scheme] = lambda scheme: scheme,
        activation: Callable[[Scheme], Scheme] = lambda scheme: scheme,
    ) -> Policy:
        """Return the policy with every scheme of weights and of inputs put through a function."""

        def change(scheme: LayerScheme) -> LayerScheme:
            return LayerScheme(
                weight=None if scheme.weight is None else weight(scheme.weight),
                activation=None if scheme.activation is None else activation(scheme.activation),
            )

        return Policy(tuple((pattern, change(scheme)) for pattern, scheme in self.rules))

    def scheme_of(self, name: str) -> LayerScheme:
        """Return the scheme of the layer called `name`."""
        return next((scheme for pattern, scheme in self.rules if fnmatchcase(name, pattern)), FLOAT)


def uniform_policy(
    weight_side: Side,
    activation_side: Side,
    ends: Sequence[str],
    weights: Granularity = "channel",
    edge_bits: int = EDGE_BITS,
) -> Policy:
    """Return the same bits for every layer, but for the `ends`, which keep at least `edge_bits` on either side.

    Args:
        weight_side: bits 2..8, 16 to leave weights alone, or a number format.
        activation_side: bits 2..8, 16 to leave activations alone, or a number format.
        ends: names of the first and the last layer, see `backbone_ends`. A number format of fewer than `edge_bits`
            gives way to integers there.
        weights: one scale per output channel, or per tensor.
        edge_bits: 2..8, or 16 to leave the ends alone.
    """

    def scheme(least: int) -> LayerScheme:
        return LayerScheme(
            weight=weight_scheme(at_least(weight_side, least), weights),
            activation=activation_scheme(at_least(activation_side, least)),
        )

    return Policy((*((name, scheme(edge_bits)) for name in ends), ("*", scheme(0))))


def grouped_policy(weight_side: Side, activation_side: Side, ends: Sequence[str], group: int) -> Policy:
    """Return `uniform_policy` with a scale per `group` weights; per channel for 0, and for the ends."""
    policy = uniform_policy(weight_side, activation_side, ends)
    if group == 0:
        return policy
    return Policy((*policy.rules[:-1], *Policy(policy.rules[-1:]).changed(weight=grouped(group)).rules))


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
    """Return a copy of a backbone, weights rounded to the nearest codes as a policy says; the original stays as it is.

    Args:
        backbone: full-precision backbone. Weights that get codes are read, not copied.
        policy: which layer gets which scheme.
        fit_weight: scheme and weight (out, ...) -> fitted quantizer.
        fit_activation: static scheme and layer name -> fitted quantizer of its input; None for a layer that never
            runs, which is then left alone altogether. Dynamic schemes need no fitting.

    Raises:
        CheckpointError: a weight is not finite; names the layer.
    """

    def make(name: str, layer: QuantizableLayer, scheme: LayerScheme) -> QuantizedLayer | None:
        activation = input_quantizer(name, layer, scheme.activation, fit_activation)
        if scheme.activation is not None and activation is None:
            return None
        weight = None if scheme.weight is None else fit_weight(scheme.weight, layer.weight.detach())
        return QuantizedLayer.from_float(layer, weight, activation)

    return replace_layers(backbone, policy, make)


def replace_layers(
    backbone: nn.Module, policy: Policy, make: Callable[[str, QuantizableLayer, LayerScheme], QuantizedLayer | None]
) -> nn.Module:
    """Return a copy of a backbone with its layers replaced; the original is left as it is.

    Args:
        backbone: full-precision backbone. Weights that get codes are read, not copied.
        policy: which layer gets which scheme; those that get none are not asked for.
        make: name, layer (whose weight is the original's: not to be changed) and scheme, its groups fitted to the
            layer -> what takes the layer's place; None leaves it alone.

    Raises:
        CheckpointError: a weight is not finite; names the layer.
    """
    layers = quantizable_layers(backbone)
    quantized = copy_sharing(backbone, [layer.weight for layer in layers.values()])
    for name, layer in track(quantizable_layers(quantized).items(), "Quantizing layers", len(layers)):
        scheme, replacement = policy.scheme_of(name), None
        if scheme.weight is None:
            _own_weight(layer)
        if scheme != FLOAT:
            if not bool(torch.isfinite(layer.weight).all()):
                raise CheckpointError(f"layer {name}: its weights hold NaN or infinity and cannot be quantized")
            replacement = make(name, layer, _with_fitted_groups(scheme, layer))
        if replacement is not None:
            replace_layer(quantized, name, replacement)
        elif scheme.weight is not None:
            _own_weight(layer)
    return quantized


def input_quantizer(
    name: str,
    layer: QuantizableLayer,
    scheme: Scheme | None,
    fit: Callable[[Scheme, str], Quantizer | None],
) -> Quantizer | None:
    """Return the quantizer of a layer's input, fitted by `fit` where it is static; None without one."""
    if scheme is None:
        return None
    return dynamic_input(scheme, layer) if scheme.dynamic else fit(scheme, name)


def at_run_time(scheme: Scheme, layer: QuantizableLayer) -> Scheme:
    """Return an asymmetric scheme of inputs of the same bits whose ranges are found at run time.

    One per position of a Linear layer's input; of a convolution's one per row of the batch, the finest that a
    convolution can compute with. A number format says itself what shares a scale, and stays.
    """
    if scheme.published or isinstance(layer, nn.Linear):
        return per_token(scheme)
    return Scheme(bits=scheme.bits, granularity="sample", symmetric=False, dynamic=True)


def _with_fitted_groups(scheme: LayerScheme, layer: QuantizableLayer) -> LayerScheme:
    if scheme.weight is None or scheme.weight.group_size is None:
        return scheme
    return scheme.model_copy(update={"weight": scheme.weight.for_terms(layer.weight[0].numel())})


def copy_sharing(module: nn.Module, shared: Sequence[Tensor]) -> nn.Module:
    """Return a deep copy of a module that holds the very tensors of `shared`, and copies of all others."""
    return copy.deepcopy(module, {id(tensor): tensor for tensor in shared})


def _own_weight(layer: QuantizableLayer) -> None:
    """Replace a weight that is shared with the original backbone by a copy."""
    layer.weight = nn.Parameter(layer.weight.detach().clone(), layer.weight.requires_grad)
