"""Split inputs: a layer that reads two concatenated tensors becomes two layers that read one each.

A U-Net's up blocks concatenate what comes from below with a skip connection. The two halves differ in range, by 200
times in Q-Diffusion's measurements (arXiv 2302.04304, section 3.3.2): under one range the narrower keeps few codes.
Since

    conv(cat(a, b)) = conv_first(a) + conv_second(b),        weight = cat(weight_first, weight_second) over inputs

the layer is replaced, in floating point, by a sum of two, which are then quantized like any others: separate ranges
of inputs and of weights, separate codes. The sum is exact but for the order of floating-point additions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from admbench.methods.core.layers.kinds import QuantizableLayer, quantizable_layers, replace_layer


class SplitLayer(nn.Module):
    """A sum of two layers, each over its own part of the input channels.

    Args:
        first: over the leading channels; has the bias, if there is one.
        second: over the others, without bias.
        at: number of channels that `first` reads.
        dimension: dimension of the channels in the input: 1 of a convolution's, -1 of a Linear's.
    """

    def __init__(self, first: nn.Module, second: nn.Module, at: int, dimension: int) -> None:
        super().__init__()
        self.first = first
        self.second = second
        self.at = at
        self.dimension = dimension

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer to x, of the shape that the layer that was split takes."""
        channels = x.shape[self.dimension]
        total: Tensor = self.first(x.narrow(self.dimension, 0, self.at))
        return total + self.second(x.narrow(self.dimension, self.at, channels - self.at))

    def extra_repr(self) -> str:
        """Return where it is split, for printing."""
        return f"at={self.at}"


def split_layer(layer: QuantizableLayer, at: int) -> SplitLayer:
    """Return a layer as a sum of two over the input channels before and from `at`; weights are copied.

    Raises:
        ValueError: there are no channels on one side, or the layer's inputs are in groups.
    """
    inputs = layer.weight.shape[1]
    if getattr(layer, "groups", 1) != 1:
        raise ValueError("a layer with groups cannot be split")
    if not 0 < at < inputs:
        raise ValueError(f"a layer of {inputs} input channels cannot be split at {at}")
    first = _part(layer, slice(None, at), bias=layer.bias is not None)
    second = _part(layer, slice(at, None), bias=False)
    return SplitLayer(first, second, at, -1 if isinstance(layer, nn.Linear) else 1)


def split_layers(module: nn.Module, splits: Mapping[str, int]) -> None:
    """Split layers of a module, in place: `splits` maps names of layers to the channel that the second part starts at.

    Raises:
        ValueError: as `split_layer`; names the layer.
    """
    layers = quantizable_layers(module)
    for name, at in splits.items():
        try:
            replace_layer(module, name, split_layer(layers[name], at))
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error


def splits_of(module: nn.Module) -> dict[str, int]:
    """Return the split layers of a module: name -> channel that the second part starts at."""
    return {name: layer.at for name, layer in module.named_modules() if isinstance(layer, SplitLayer)}


@contextmanager
def watching_concatenations(backbone: nn.Module) -> Iterator[dict[str, int]]:
    """While the context lasts, note the layers that read two concatenated tensors: name -> channels of the first.

    Found by what happens, not by names: the layer's input is the very tensor that `torch.cat` made of two along the
    layer's input channels, of feature maps or sequences. A layer behind a norm or an activation function does not
    count, as its halves are alike; nor does one that reads vectors, such as the sines and cosines of a timestep.
    """
    found: dict[str, int] = {}
    concatenations = _Concatenations()
    hooks = [
        layer.register_forward_pre_hook(partial(_note, name, concatenations, found))
        for name, layer in quantizable_layers(backbone).items()
        if getattr(layer, "groups", 1) == 1
    ]
    try:
        with concatenations:
            yield found
    finally:
        for hook in hooks:
            hook.remove()


class _Concatenations(TorchFunctionMode):
    """Remembers the concatenations of two tensors, while they last: the tensors themselves, so that ids stay theirs."""

    def __init__(self) -> None:
        super().__init__()
        self.made: dict[int, tuple[Tensor, int, int]] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in (torch.cat, torch.concat) and len(args[0]) == 2 and result.ndim > 2:
            dimension = args[1] if len(args) > 1 else (kwargs or {}).get("dim", 0)
            self.made[id(result)] = (result, dimension % result.ndim, args[0][0].shape[dimension])
        return result


def _note(
    name: str, concatenations: _Concatenations, found: dict[str, int], layer: nn.Module, args: tuple[Any, ...]
) -> None:
    _, dimension, at = concatenations.made.get(id(args[0]), (None, None, 0))
    if dimension == (args[0].ndim - 1 if isinstance(layer, nn.Linear) else 1):
        found[name] = at


def _part(layer: QuantizableLayer, channels: slice, *, bias: bool) -> nn.Module:
    """Return a layer of some of the input channels of another."""
    weight = layer.weight.detach()[:, channels].clone()
    settings: dict[str, Any] = {"bias": bias, "device": "meta", "dtype": weight.dtype}
    part: QuantizableLayer
    if isinstance(layer, nn.Linear):
        part = nn.Linear(weight.shape[1], weight.shape[0], **settings)
    else:
        geometry = {key: getattr(layer, key) for key in ("kernel_size", "stride", "padding", "dilation")}
        part = type(layer)(weight.shape[1], weight.shape[0], **geometry, **settings)
    part.weight = nn.Parameter(weight, requires_grad=layer.weight.requires_grad)
    if bias:
        assert layer.bias is not None
        part.bias = nn.Parameter(layer.bias.detach().clone(), requires_grad=layer.bias.requires_grad)
    return part.train(layer.training)
