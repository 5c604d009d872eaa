"""What a kernel says of itself: which quantized layers it can compute, and how it is built from one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from admbench.methods.core.layers.quantized import QuantizedLayer
from admbench.methods.core.numbers.scheme import Granularity, LayerKind, Scheme

FLOAT_BITS = 16
"""How a spec writes a side that stays in floating point."""


@dataclass(frozen=True)
class Support:
    """The schemes of one side of a layer, weights or input, that a kernel computes with; bits 16 are floating point."""

    bits: tuple[int, ...]
    granularities: tuple[Granularity, ...] = ("tensor", "channel")
    asymmetric_bits: tuple[int, ...] = ()
    """Bits at which an asymmetric scheme is supported too."""
    dynamic: bool = False
    """Whether ranges are found at every call: all schemes are dynamic, or all static."""

    def refusal(self, side: str, scheme: Scheme | None) -> str | None:
        """Return why a scheme is not supported, None if it is. `side` is the word for it in the answer."""
        bits = FLOAT_BITS if scheme is None else scheme.bits
        if bits not in self.bits:
            return f"{side} of {bits} bits"
        if scheme is None:
            return None
        if scheme.codebook != "uniform" or scheme.zero != "integer":
            return f"{side} of codebook {scheme.codebook} with a zero point in {scheme.zero}"
        if scheme.dynamic != self.dynamic:
            return f"{'dynamic' if scheme.dynamic else 'static'} {side}"
        if scheme.granularity not in self.granularities:
            return f"{side} with a scale per {scheme.granularity}"
        if not scheme.symmetric and bits not in self.asymmetric_bits:
            return f"asymmetric {side} of {bits} bits"
        return None


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """One way of computing quantized layers with integers."""

    name: str
    """In records, such as `onednn-int8-conv2d`."""
    summary: str
    """One line on what runs."""
    kind: LayerKind
    weight: Support
    activation: Support
    device: str
    """Type of the torch device."""
    instruction_sets: str
    """What it needs of the processor, for people; `refuse` decides."""
    refuse: Callable[[QuantizedLayer], str | None]
    """Why this layer cannot be computed on this machine for any other reason than its schemes; None if it can."""
    parts: frozenset[str] = frozenset()
    """What else of a layer it computes: names of `LayerParts`."""
    build: Callable[[QuantizedLayer], nn.Module]
    """A module that takes the layer's place. Copies nothing but what the kernel needs the weights arranged as."""

    def refusal(self, layer: QuantizedLayer) -> str | None:
        """Return why the kernel cannot compute a layer on its device, None if it can."""
        scheme = layer.scheme
        others = [name for name, there in layer.parts.model_dump().items() if there and name not in self.parts]
        if others:
            return f"a layer with {', '.join(others)}"
        return (
            self.weight.refusal("weights", scheme.weight)
            or self.activation.refusal("activations", scheme.activation)
            or self.refuse(layer)
        )
