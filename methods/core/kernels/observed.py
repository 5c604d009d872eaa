"""What really multiplies in a backbone that another package quantized: found by watching one call of it.

A package chooses its operators at run time, by type, shape and processor. So nothing is believed: torch's profiler
lists the operators that ran inside of each layer, and a layer has a kernel if one of them multiplies integers.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function

from admbench.methods.core.checkpoint.third_party import FLOAT_BITS, third_party_layers
from admbench.methods.core.kernels.select import FLOAT, SIMULATED, Fallback, WithKernels
from admbench.methods.core.layers.kinds import QuantizableLayer

INTEGER_PRODUCTS = {
    "aten::_int_mm": "torch-int8-int8-mm",
    "aten::_weight_int8pack_mm": "torch-int8-weight-mm",
    "aten::_weight_int4pack_mm": "torch-int4-weight-mm",
    "aten::_weight_int4pack_mm_for_cpu": "torch-int4-weight-mm",
    "onednn::qlinear_pointwise": "onednn-int8-linear",
    "onednn::qconv_pointwise": "onednn-int8-conv",
}
"""Operators of torch that read integer weights as they multiply -> what records call them."""
DEQUANTIZED = "float: the package converts stored integers to floating point and multiplies these"
"""Why a layer whose input is not rounded has no kernel."""
_MARK = "layer: "


def observed(module: nn.Module, run: Callable[[], object]) -> WithKernels:
    """Return which operator multiplies in every Linear and convolution of a bridge's module.

    A quantized layer in which no operator multiplies integers is `simulated` if its input is rounded, since floating
    point computes what integers would, and `float` if only its weight is stored in fewer bits.

    Args:
        module: as a bridge made or loaded it.
        run: calls it once.

    Raises:
        ValueError: no bridge made the module.
    """
    quantized = third_party_layers(module)
    if quantized is None:
        raise ValueError("expected a module that another package quantized")
    products = _products(module, run)
    chosen, fallbacks = {}, []
    for name, part in module.named_modules():
        if not isinstance(part, QuantizableLayer):
            continue
        chosen[name] = products.get(name, FLOAT)
        if name in quantized and name not in products:
            simulated = quantized[name].activation_bits != FLOAT_BITS
            chosen[name] = SIMULATED if simulated else FLOAT
            reason = "the package rounds the input and multiplies in floating point" if simulated else DEQUANTIZED
            fallbacks.append(Fallback(name, reason))
    return WithKernels(module, chosen, tuple(fallbacks))


def _products(module: nn.Module, run: Callable[[], object]) -> dict[str, str]:
    """Return the integer product that ran inside of each layer, by the layer's name, for those in which one did."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler's library reports that there is no GPU
    hooks = []
    for name, part in module.named_modules():
        if isinstance(part, QuantizableLayer):
            span = _Span(_MARK + name)
            hooks += [part.register_forward_pre_hook(span.begin), part.register_forward_hook(span.end)]
    try:
        with torch.no_grad(), profile(activities=[ProfilerActivity.CPU]) as profiler:
            run()
    finally:
        for hook in hooks:
            hook.remove()
    products: dict[str, str] = {}
    for event in profiler.events():
        if event.name in INTEGER_PRODUCTS:
            around = event.cpu_parent
            while around is not None and not around.name.startswith(_MARK):
                around = around.cpu_parent
            if around is not None:
                products[around.name.removeprefix(_MARK)] = INTEGER_PRODUCTS[event.name]
    return products


class _Span:
    """Marks in the profile where a layer begins and ends."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._open: list[record_function] = []

    def begin(self, module: nn.Module, args: object) -> None:
        self._open.append(record_function(self._name))
        self._open[-1].__enter__()

    def end(self, module: nn.Module, args: object, output: object) -> None:
        self._open.pop().__exit__(None, None, None)
