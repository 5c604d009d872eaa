"""What a call of a backbone costs on paper: operations and bytes of every layer, from shapes that were really seen.

A layer of n outputs that adds up k products each does 2*n*k operations. With weights of w bits and inputs of a bits
these are n*k*w*a bit operations, so that 32 x 32 bits count 1024. Bytes moved are input, weight and output read or
written once, the least there is: weights and inputs in their codes, outputs in float32. Operations per byte then say
on which side of the roofline a layer lies.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor, nn

from admbench.methods.core.layers.kinds import layer_kind, quantizable_layers
from admbench.methods.core.numbers.scheme import LayerScheme

FLOAT_BITS = 32


@dataclass(frozen=True)
class LayerCost:
    """One Linear or convolution in one call of the backbone."""

    name: str
    kind: str
    kernel: str
    """What computes it."""
    weight_bits: int
    """Where the weight is floating point those of its type, 32 or 16."""
    activation_bits: int
    calls: int
    """How often one call of the backbone runs it."""
    flops: int
    """Multiplications and additions."""
    bit_operations: int
    bytes_moved: int

    @property
    def intensity(self) -> float:
        """Operations per byte."""
        return self.flops / self.bytes_moved


@dataclass
class _Seen:
    calls: int = 0
    inputs: int = 0
    outputs: int = 0


def layer_costs(
    backbone: nn.Module,
    run: Callable[[], object],
    schemes: dict[str, LayerScheme],
    kernels: dict[str, str],
    float_bits: int = FLOAT_BITS,
) -> list[LayerCost]:
    """Return the cost of every Linear and convolution that one call runs, in the order of definition.

    Args:
        backbone: in full precision; it is watched while it runs.
        run: runs it once.
        schemes: how its layers are quantized, by name; a layer that is not in it is in floating point.
        kernels: what computes each layer, by name.
        float_bits: of weights and inputs that are not quantized.
    """
    layers = quantizable_layers(backbone)
    seen = {name: _Seen() for name in layers}
    hooks = [layer.register_forward_hook(_observer(seen[name])) for name, layer in layers.items()]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    costs = []
    for name, layer in layers.items():
        if not seen[name].calls:
            continue
        scheme = schemes.get(name, LayerScheme())
        weight_bits = scheme.weight.bits if scheme.weight else float_bits
        activation_bits = scheme.activation.bits if scheme.activation else float_bits
        products = seen[name].outputs * math.prod(layer.weight.shape[1:])
        bits = seen[name].inputs * activation_bits + seen[name].calls * layer.weight.numel() * weight_bits
        costs.append(
            LayerCost(
                name=name,
                kind=layer_kind(layer),
                kernel=kernels.get(name, "float"),
                weight_bits=weight_bits,
                activation_bits=activation_bits,
                calls=seen[name].calls,
                flops=2 * products,
                bit_operations=products * weight_bits * activation_bits,
                bytes_moved=math.ceil(bits / 8) + seen[name].outputs * FLOAT_BITS // 8,
            )
        )
    return costs


def cost_totals(costs: list[LayerCost]) -> dict[str, int]:
    """Return the totals over layers, as JSON values. Attention products, norms and sums are not in them."""
    return {
        "flops": sum(cost.flops for cost in costs),
        "bit_operations": sum(cost.bit_operations for cost in costs),
        "bytes_moved": sum(cost.bytes_moved for cost in costs),
    }


def cost_section(costs: list[LayerCost]) -> dict[str, Any]:
    """Return totals and the table of layers, as JSON values."""
    return {
        **cost_totals(costs),
        "layers": [asdict(cost) | {"flops_per_byte": round(cost.intensity, 2)} for cost in costs],
    }


def _observer(seen: _Seen) -> Callable[[nn.Module, tuple[Any, ...], Tensor], None]:
    def observe(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        seen.calls += 1
        seen.inputs += args[0].numel()
        seen.outputs += output.numel()

    return observe
