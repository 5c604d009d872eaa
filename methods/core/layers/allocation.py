"""Bits for each layer: the choice of least noise that fits a number of bytes, solved exactly.

Each layer gets one of several numbers of bits; the bytes may not exceed a limit, the sum of the noise is to be least.
That is the multiple-choice knapsack problem. It is solved as an integer program by branch and bound (HiGHS, through
`scipy.optimize.milp`), to optimality: hundreds of layers take well under a second.

The sum takes the noise of layers as independent of each other, which it is as long as each is small.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array
from torch import nn

from admbench.errors import UsageError
from admbench.methods.core.layers.kinds import QuantizableLayer
from admbench.methods.core.layers.policy import Policy
from admbench.methods.core.numbers.fitting import quantizer_class
from admbench.methods.core.numbers.packing import packed_size
from admbench.methods.core.numbers.scheme import LayerScheme, Scheme, Side, activation_scheme, at_least, weight_scheme

FLOAT_BYTES = 4
NOISE_SCALE = 1e6
"""The largest noise of an integer program: what the solver takes for equal, 1e-6, is then nothing."""


@dataclass(frozen=True)
class Choice:
    """One way to quantize one layer."""

    bits: int
    """Bits of a weight."""
    bytes: int
    """Bytes of the layer's codes, scales and zero points."""
    noise: float
    """What it does to the output; not negative. Choices are compared by their sums."""


def allocate(choices: Mapping[str, Sequence[Choice]], limit: int) -> dict[str, Choice]:
    """Return the choice of each layer whose sum of noise is least with a sum of bytes of at most `limit`.

    Raises:
        UsageError: the smallest choices together exceed the limit.
    """
    smallest = sum(min(choice.bytes for choice in options) for options in choices.values())
    if smallest > limit:
        raise UsageError(f"the weights take {smallest} bytes at the fewest bits, which is more than {limit}")
    names = [name for name, options in choices.items() for _ in options]
    options = [choice for options in choices.values() for choice in options]
    sizes, noise = (np.array([getattr(choice, key) for choice in options], dtype=float) for key in ("bytes", "noise"))
    rows = np.searchsorted(np.cumsum([len(some) for some in choices.values()]), np.arange(len(options)), side="right")
    one_each = coo_array((np.ones(len(options)), (rows, np.arange(len(options))))).tocsr()
    allowed = limit
    while True:
        solution = milp(
            noise / (noise.max() or 1.0) * NOISE_SCALE,
            constraints=[LinearConstraint(one_each, 1, 1), LinearConstraint(sizes[None] / limit, ub=allowed / limit)],
            integrality=np.ones(len(options)),
            bounds=Bounds(0, 1),
            options={"mip_rel_gap": 0},
        )
        assert solution.x is not None, solution.message  # the smallest choices are a solution
        taken = {name: choice for name, choice, x in zip(names, options, solution.x, strict=True) if x > 0.5}
        excess = sum(choice.bytes for choice in taken.values()) - limit
        if excess <= 0:
            return taken
        allowed -= excess  # the solver's tolerance let a few bytes too many pass


def weight_bytes(layer: QuantizableLayer, scheme: Scheme | None) -> int:
    """Return the bytes that a layer's weight takes in a packed checkpoint, without its header."""
    count = layer.weight.numel()
    if scheme is None:
        return count * FLOAT_BYTES
    quantizer = quantizer_class(scheme).unfitted(scheme, layer.weight.shape)
    return packed_size(count, scheme.bits) + quantizer.stored_bytes


def float_bytes(module: nn.Module) -> int:
    """Return the bytes of a module's parameters in full precision."""
    return sum(parameter.numel() for parameter in module.parameters()) * FLOAT_BYTES


def mixed_policy(sides: Mapping[str, Side], activation_side: Side, ends: Sequence[str], end_bits: int) -> Policy:
    """Return a rule for each layer: weights per output channel, activations per tensor; other layers stay in float.

    Args:
        sides: layer -> bits of its weight, 2..8 or 16, or a number format.
        activation_side: bits 2..8, 16 to leave activations alone, or a number format.
        ends: the first and the last layer.
        end_bits: fewest bits of their inputs.
    """

    def scheme(name: str) -> LayerScheme:
        inputs = at_least(activation_side, end_bits) if name in ends else activation_side
        return LayerScheme(weight=weight_scheme(sides[name], "channel"), activation=activation_scheme(inputs))

    return Policy(tuple((name, scheme(name)) for name in sides))
