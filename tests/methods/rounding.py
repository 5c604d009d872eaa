"""How far kernels may be from the simulation, on every processor: a few roundings of a layer's sum, layer by layer.

Two networks that round their activations cannot be held together as a whole to float precision: sums in another order
differ in their last bit, a later input then falls on the other side of an edge between two codes, and that is a whole
step. Which inputs do so, if any, depends on the processor. But two layers that are given the same input have the same
codes, and differ by rounding alone. So each layer is tried on the input that it meets in the network.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from admbench.methods.core.layers.quantized import QuantizedLayer, quantized_layers

TOLERANCE = 2e-6
"""Of a layer's output against float64, relative to the largest sum of magnitudes that one output adds up.

That is 33 units of rounding u = 2^-24. n roundings of random sign come to about sqrt(n) u whatever the order of the sum
(Higham and Mary 2019, "A new approach to probabilistic rounding error analysis"), and layers here add up to 1000 terms.
"""
FLIPS = 1e-2
"""Power, relative to the signal's, that codes which fall on another side of an edge may make of a whole prediction:
-20 dB. One of a tiny network's flipped makes 2e-4. `assert_layers_agree` finds a kernel that is wrong in one layer."""


def exact(layer: QuantizedLayer, x: Tensor) -> tuple[Tensor, float]:
    """Return what the layer's codes say in float64, and the largest sum of magnitudes that one output adds up."""
    x = layer.prepare_input(x)
    branch = layer.low_rank_branch(x.double())
    x = layer.deflate(x)
    if layer.activation_quantizer is not None:
        x = layer.activation_quantizer.fake_quantize(x)
    weight, bias = layer.weight.double(), None if layer.bias is None else layer.bias.double()
    out = layer._operation(x.double(), weight, bias, **layer.geometry)
    reach = layer._operation(x.double().abs(), weight.abs(), None if bias is None else bias.abs(), **layer.geometry)
    return out if branch is None else out + branch, reach.max().item()


def assert_near_exact(layer: QuantizedLayer, x: Tensor, *outputs: Tensor) -> None:
    """Hold outputs of a layer for one input against float64."""
    expected, reach = exact(layer, x)
    for out in outputs:
        assert (out - expected).abs().max().item() <= TOLERANCE * reach


@torch.no_grad()
def assert_layers_agree(simulated: nn.Module, kernels: nn.Module, run: Callable[[], object]) -> None:
    """Hold every layer of a network of kernels, not streamlined, against the simulated one, on the inputs of a run.

    Args:
        simulated: the network that `run` runs.
        kernels: what was made of it; its layers have the same names.
        run: computes one prediction.
    """
    tried = []

    def attempt(name: str) -> Callable[..., None]:
        def hook(layer: QuantizedLayer, inputs: tuple[Tensor], output: Tensor) -> None:
            # a layer without a kernel is the simulated one itself: `forward` does not come back here
            assert_near_exact(layer, inputs[0], output, kernels.get_submodule(name).forward(inputs[0]))
            tried.append(name)

        return hook

    layers = quantized_layers(simulated)
    handles = [layer.register_forward_hook(attempt(name)) for name, layer in layers.items()]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    assert set(tried) == set(layers), "not every layer ran"
