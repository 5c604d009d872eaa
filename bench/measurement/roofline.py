"""The roofline: how fast this machine multiplies and how fast it moves bytes, and where each layer sits below that.

A layer that does f operations on b bytes cannot take less than max(f / F, b / B) seconds, where F is the rate of its
products and B the bandwidth of memory (Williams, Waterman and Patterson, Communications of the ACM 52(4), 2009). Both
are measured here, by a large product and a large copy, so that they are what this machine gives at that moment.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from admbench.bench.measurement.cost import LayerCost

SIZE = 2048
"""Rows and columns of the product that rates are measured with."""
COPIED = 2**26
"""Float32 numbers that are copied: more than caches hold."""
REPEATS = 5
NEAR = 0.2
"""A layer that reaches less than this share of its bound is limited by what a call costs besides."""


@dataclass(frozen=True)
class Roof:
    """What the machine gives."""

    float_rate: float
    """Float32 operations a second."""
    integer_rate: float
    """Operations a second of products of bytes with 32-bit sums."""
    bandwidth: float
    """Bytes a second, read and written."""

    def rate(self, cost: LayerCost) -> float:
        """Return the rate of a layer's products."""
        return self.integer_rate if "int8" in cost.kernel else self.float_rate

    def bound(self, cost: LayerCost) -> tuple[float, str]:
        """Return the least seconds that a layer can take, and what they are spent on: `products` or `memory`."""
        products, memory = cost.flops / self.rate(cost), cost.bytes_moved / self.bandwidth
        return (products, "products") if products >= memory else (memory, "memory")


@torch.inference_mode()
def measured_roof() -> Roof:
    """Measure this machine, with the threads that torch has: the fastest of some repetitions each."""
    operations = 2 * SIZE**3
    x = torch.rand(SIZE, SIZE)
    target, source = torch.empty(COPIED), torch.ones(COPIED)
    float_rate = operations / _fastest(lambda: x @ x)
    codes = torch.randint(0, 256, (SIZE, SIZE), dtype=torch.uint8)
    weights = torch.randint(-127, 128, (SIZE, SIZE), dtype=torch.int8)
    packed = torch.ops.onednn.qlinear_prepack(weights, None)
    ones, zeros = torch.ones(SIZE), torch.zeros(SIZE, dtype=torch.int32)

    def product() -> Tensor:
        out: Tensor = torch.ops.onednn.qlinear_pointwise(
            codes, 1.0, 0, packed, ones, zeros, None, 1.0, 0, torch.float32, "none", [], ""
        )
        return out

    return Roof(float_rate, operations / _fastest(product), 2 * 4 * COPIED / _fastest(lambda: target.copy_(source)))


def layer_seconds(backbone: nn.Module, names: Iterable[str], run: Callable[[], object]) -> dict[str, float]:
    """Return the seconds that each layer takes in one call of a backbone, its input's rounding included.

    Args:
        backbone: its layers must be called as modules, so without streamlined blocks.
        names: of the layers.
        run: calls it once.
    """
    started: dict[str, float] = {}
    spent: dict[str, list[float]] = {}

    def before(name: str) -> Callable[..., None]:
        def note(*_: Any) -> None:
            started[name] = time.perf_counter()

        return note

    def after(name: str) -> Callable[..., None]:
        def note(*_: Any) -> None:
            spent.setdefault(name, []).append(time.perf_counter() - started[name])

        return note

    run()
    hooks = []
    for name in names:
        layer = backbone.get_submodule(name)
        hooks += [layer.register_forward_pre_hook(before(name)), layer.register_forward_hook(after(name))]
    try:
        for _ in range(REPEATS):
            run()
    finally:
        for hook in hooks:
            hook.remove()
    calls = {name: len(values) // REPEATS for name, values in spent.items()}
    return {name: median(values) * calls[name] for name, values in spent.items()}


def roofline_section(roof: Roof, costs: list[LayerCost], seconds: dict[str, float]) -> dict[str, Any]:
    """Return the `roofline` part of a latency section: the roof, and of every layer its time, bound and limit."""
    layers = []
    for cost in costs:
        bound, limit = roof.bound(cost)
        taken = seconds[cost.name]
        layers.append(
            {
                "name": cost.name,
                "kernel": cost.kernel,
                "ms": taken * 1e3,
                "bound_ms": bound * 1e3,
                "flops_per_byte": cost.intensity,
                "flops_per_second": cost.flops / taken,
                "limited_by": limit if bound >= NEAR * taken else "calls",
            }
        )
    counted = {limit: [layer for layer in layers if layer["limited_by"] == limit] for limit in LIMITS}
    return {
        "float_flops_per_second": roof.float_rate,
        "integer_flops_per_second": roof.integer_rate,
        "bytes_per_second": roof.bandwidth,
        "limits": {
            limit: {"layers": len(found), "ms": sum(layer["ms"] for layer in found)} for limit, found in counted.items()
        },
        "layers": layers,
    }


LIMITS = ("products", "memory", "calls")
"""What limits a layer: the rate of products, the bandwidth of memory, or what a call costs whatever its size: reading
and rounding the input, starting threads."""


def draw(section: dict[str, Any], title: str, file: Path) -> None:
    """Draw the plot of a `roofline` section to a PNG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(xscale="log", yscale="log", xlabel="operations per byte", ylabel="operations per second")
    layers = section["layers"]
    at = [layer["flops_per_byte"] for layer in layers]
    ends = [min(at) / 2, max(at) * 2]
    for name, key, style in (("int8", "integer_flops_per_second", "-"), ("float32", "float_flops_per_second", "--")):
        rate = section[key]
        corner = rate / section["bytes_per_second"]
        xs = sorted({*ends, min(max(corner, ends[0]), ends[1])})
        roof = [min(rate, x * section["bytes_per_second"]) for x in xs]
        axes.plot(xs, roof, style, color="0.3", linewidth=1, label=f"roof, {name}")
    for number, kernel in enumerate(sorted({layer["kernel"] for layer in layers})):
        own = [layer for layer in layers if layer["kernel"] == kernel]
        axes.scatter(
            [layer["flops_per_byte"] for layer in own],
            [layer["flops_per_second"] for layer in own],
            s=[4 + 40 * layer["ms"] / max(one["ms"] for one in layers) for layer in own],
            color=f"C{number}",
            alpha=0.7,
            label=kernel,
        )
    axes.set_title(title, fontsize=10)
    axes.legend(fontsize=8)
    figure.savefig(file, dpi=120)


def _fastest(call: Callable[[], object]) -> float:
    call()
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return min(seconds)
