"""8-bit integer products on CUDA devices, by `torch._int_mm`: signed bytes by signed bytes into 32 bits.

With input codes q of scale s and zero point z, per tensor or per row, and weights c in scales of t per output channel,

    out = s * t * (sum((q - 128) * c) + (128 - z) * sum(c)) + bias

in which everything within the outer brackets is an exact integer. The operator also runs on the CPU, where its
arithmetic is tested; it was not run on a GPU by its authors.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from admbench.methods.core.kernels.base import Kernel, Support
from admbench.methods.core.kernels.weights import Weights
from admbench.methods.core.layers.quantized import QuantizedLayer
from admbench.methods.core.numbers.dynamic import DynamicQuantizer
from admbench.methods.core.processor import MOST_SUM

LEAST_ROWS = 17
"""The operator takes no fewer on CUDA."""
MULTIPLE = 8
"""Inputs and outputs come in multiples of this many on CUDA."""
LEAST_CAPABILITY = (7, 5)
"""Turing: the first with products of bytes in its tensor cores."""
MIDDLE = 128
"""What makes an unsigned code a signed one."""


class IntMMLinear(nn.Module):
    """A Linear over signed codes of its input; float32 in and out, any number of leading dimensions."""

    def __init__(self, layer: QuantizedLayer) -> None:
        super().__init__()
        assert layer.activation_quantizer is not None
        assert layer.weight_quantizer is not None
        assert layer.weight_codes is not None
        self._quantizer = layer.activation_quantizer
        weights = Weights.of(layer.weight_quantizer, layer.weight_codes).signed()
        self._weights = weights.contiguous()
        self._sums = weights.sum(1, dtype=torch.int32)
        self._scale = layer.weight_quantizer.scale.expand(len(weights)).contiguous()
        self._bias = None if layer.bias is None else layer.bias.detach()

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer to float32 x (..., in)."""
        quantizer = self._quantizer
        if isinstance(quantizer, DynamicQuantizer):
            numbers = quantizer.parameters_for(x)
        else:
            numbers = quantizer.scale, quantizer.zero_point
        scale, zero_point = (number.expand(*x.shape[:-1], 1).reshape(-1, 1) for number in numbers)
        codes = quantizer.codes(x).reshape(-1, x.shape[-1]).bitwise_xor(MIDDLE).view(torch.int8)
        rows = len(codes)
        if rows < LEAST_ROWS:
            codes = F.pad(codes, (0, 0, 0, LEAST_ROWS - rows))
        sums = torch._int_mm(codes, self._weights.t())[:rows]
        sums += (MIDDLE - zero_point.to(torch.int32)) * self._sums
        out = sums.float().mul_(scale).mul_(self._scale)
        if self._bias is not None:
            out += self._bias
        return out.view(*x.shape[:-1], len(self._weights))


def _refuse(layer: QuantizedLayer) -> str | None:
    features, inputs = layer.shape
    if not torch.cuda.is_available():
        return "there is no CUDA device"
    if torch.cuda.get_device_capability() < LEAST_CAPABILITY:
        return "needs compute capability 7.5"
    if features % MULTIPLE or inputs % MULTIPLE:
        return f"takes multiples of {MULTIPLE} inputs and outputs, not {inputs}, {features}"
    if inputs * MIDDLE * MIDDLE * 2 > MOST_SUM:
        return f"sums of {inputs} products do not fit 32 bits"
    return None


def _kernel(name: str, activation: Support) -> Kernel:
    return Kernel(
        name=name,
        summary="torch._int_mm: int8 inputs, int8 weights, 32-bit sums, float32 out",
        kind="linear",
        weight=Support(bits=tuple(range(2, 9)), asymmetric_bits=tuple(range(2, 8))),
        activation=activation,
        device="cuda",
        instruction_sets="compute capability 7.5 or more",
        refuse=_refuse,
        build=IntMMLinear,
    )


_BITS = tuple(range(2, 9))
CUDA_KERNELS = (
    _kernel("cuda-int8-linear", Support(bits=_BITS, granularities=("tensor",), asymmetric_bits=_BITS)),
    _kernel(
        "cuda-int8-linear-dynamic",
        Support(bits=_BITS, granularities=("token", "sample"), asymmetric_bits=_BITS, dynamic=True),
    ),
)
"""Of static and of dynamic inputs."""
