"""Whether small products by our kernel in C++ are oneDNN's to the bit here: then it does not matter who computes them.

Without AMX they are: tests hold it. With AMX oneDNN has other kernels. Their sums are the same integers, but it is not
said in which order those are scaled; so there a few products are computed in both ways first.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from admbench import arithmetic
from admbench.methods.core.kernels.onednn import Int8Conv2d, Int8Linear
from admbench.methods.core.layers.quantized import QuantizedLayer
from admbench.methods.core.native.choice import chosen
from admbench.methods.core.numbers.quantizer import Quantizer
from admbench.methods.core.numbers.scheme import activation_scheme, weight_scheme


def may_be_ours() -> bool:
    """Return whether small products are ours here, where nobody asks for oneDNN's."""
    return chosen().own_ms is not None and ("amx_int8" not in arithmetic.instruction_sets() or _the_same())


@cache
@torch.no_grad()
def _the_same() -> bool:
    linear, convolution = skip_init(nn.Linear, 64, 192), skip_init(nn.Conv2d, 64, 48, 3, padding=1)
    layers = ((linear, (2, 40, 64)), (convolution, (2, 64, 8, 6)))
    return all(_both_ways(layer, _numbers(*shape)) for layer, shape in layers)


def _both_ways(layer: nn.Linear | nn.Conv2d, x: Tensor) -> bool:
    for parameter in layer.parameters():
        parameter.copy_(_numbers(*parameter.shape))
    weight, activation = weight_scheme(8, "channel"), activation_scheme(8)
    assert weight is not None
    assert activation is not None
    quantizers = Quantizer.min_max(weight, layer.weight), Quantizer.min_max(activation, x)
    quantized = QuantizedLayer.from_float(layer, *quantizers)
    kernel = Int8Linear if isinstance(layer, nn.Linear) else Int8Conv2d
    theirs, ours = kernel(quantized), kernel(quantized)
    ours.native = True
    return torch.equal(ours(x), theirs(x))


def _numbers(*shape: int) -> Tensor:
    """Return numbers that look random and are the same each time; nothing of torch's generators is drawn."""
    count = torch.Size(shape).numel()
    return torch.linspace(1, count, count).mul(1.7).sin().view(shape)
