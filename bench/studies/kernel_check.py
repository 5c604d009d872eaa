"""Does a kernel, on this device, compute what simulated quantization does?"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from admbench.bench.models.sqnr import sqnr_db
from admbench.methods.core.kernels.base import FLOAT_BITS, Kernel, Support
from admbench.methods.core.layers.kinds import QuantizableLayer
from admbench.methods.core.layers.quantized import QuantizedLayer
from admbench.methods.core.numbers.dynamic import DynamicQuantizer
from admbench.methods.core.numbers.quantizer import Quantizer
from admbench.methods.core.numbers.scheme import LayerKind, Scheme, activation_scheme, weight_scheme

LEAST_DB = 60.0
"""Of a kernel's output against the simulation's. Both have the same codes but where the last bit of a quotient decides,
and that happens to one input in some millions; a wrong scale, zero point or sum is below 40 dB."""
WIDTHS = (64, 320)
"""Of the layers that are tried: multiples of what any kernel asks for."""
_ROWS: dict[LayerKind, tuple[tuple[int, ...], ...]] = {
    "linear": ((1,), (2, 77), (512,)),
    "conv1d": ((2, 33),),
    "conv2d": ((2, 16, 9),),
}
"""Shapes of inputs without channels: rows of a Linear (one row is fewer than products on CUDA take), or a batch's size
and its extent in space."""


def layers_for(kernel: Kernel, device: str) -> Iterator[tuple[QuantizedLayer, Tensor]]:
    """Yield layers that a kernel says to support, each with an input; on a device, always the same ones."""
    for width in WIDTHS if kernel.kind == "linear" else WIDTHS[:1]:
        for bits in (bits for bits in (8, 4) if bits in kernel.weight.bits):
            for scheme in _schemes(kernel.activation):
                for rows in _ROWS[kernel.kind]:
                    generator = torch.Generator().manual_seed(width + bits)
                    layer, x = _layer(kernel.kind, width), _input(kernel.kind, width, rows, generator)
                    with torch.no_grad():
                        for parameter in layer.parameters():
                            parameter.copy_(torch.randn(parameter.shape, generator=generator))
                    yield _quantized(layer, bits, scheme, x).to(device), x.to(device)


@torch.no_grad()
def check_kernel(kernel: Kernel, device: str) -> tuple[int, float | None, str | None]:
    """Hold a kernel against the simulation.

    Returns:
        How many layers it computed; the least SQNR of one of them, dB, None if all are the same to the last bit; and
        why it refused a layer, None if it refused none.
    """
    computed, worst, refused = 0, float("inf"), None
    for layer, x in layers_for(kernel, device):
        refusal = kernel.refusal(layer)
        if refusal is not None:
            refused = refusal
            continue
        expected, found = layer(x), kernel.build(layer)(x)
        if not bool(torch.isfinite(found).all()) or found.shape != expected.shape:
            return computed + 1, float("-inf"), refused
        ratio = sqnr_db(expected, found)
        worst = worst if ratio is None else min(worst, ratio)
        computed += 1
    return computed, None if worst == float("inf") else worst, refused


def _schemes(support: Support) -> list[Scheme | None]:
    """Return schemes of inputs that a kernel says to support."""
    if support.bits == (FLOAT_BITS,):
        return [None]
    if not support.dynamic:
        return [activation_scheme(8)]
    rows = [one for one in ("token", "sample") if one in support.granularities]
    return [Scheme(bits=8, granularity=one, symmetric=False, dynamic=True) for one in rows]


def _layer(kind: LayerKind, width: int) -> nn.Linear | nn.Conv1d | nn.Conv2d:
    if kind == "linear":
        return nn.Linear(width, width)
    return nn.Conv1d(width, width, 3, padding=1) if kind == "conv1d" else nn.Conv2d(width, width, 3, padding=1)


def _input(kind: LayerKind, width: int, rows: tuple[int, ...], generator: torch.Generator) -> Tensor:
    shape = (*rows, width) if kind == "linear" else (rows[0], width, *rows[1:])
    return torch.randn(shape, generator=generator) + 0.7  # not centred: the zero point is none of the usual ones


def _quantized(layer: QuantizableLayer, bits: int, scheme: Scheme | None, x: Tensor) -> QuantizedLayer:
    weights = weight_scheme(bits, "channel")
    assert weights is not None
    rounding: Quantizer | None = None
    if scheme is not None:
        rounding = DynamicQuantizer(scheme, -1) if scheme.dynamic else Quantizer.min_max(scheme, x)
    return QuantizedLayer.from_float(layer, Quantizer.min_max(weights, layer.weight.detach()), rounding)
