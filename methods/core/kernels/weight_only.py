"""4-bit weights under float inputs: torch's `_weight_int4pack_mm_for_cpu`, which unpacks inside of the product.

The operator's weight is (code - 8) * scale + zero, one scale and zero per group of 32 to 256 inputs. A channel's scale
t and zero point y become scale = t and zero = (8 - y) * t for each of its groups: the same values as the codes', but
for the rounding of one float32 product.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from admbench.methods.core.kernels.base import FLOAT_BITS, Kernel, Support
from admbench.methods.core.layers.quantized import QuantizedLayer

GROUPS = (256, 128, 64, 32)
"""Group sizes that the operator has, largest first."""
OUT_MULTIPLE = 16
"""The operator's packing takes output channels in tiles of this many."""


class Int4Linear(nn.Module):
    """A Linear with weights of 4 bits in memory; float32 in and out, any number of leading dimensions."""

    def __init__(self, layer: QuantizedLayer) -> None:
        super().__init__()
        quantizer, codes = layer.weight_quantizer, layer.weight_codes
        assert quantizer is not None
        assert codes is not None
        self.features, inputs = layer.shape
        self._group = _group(inputs)
        self._weights = torch.ops.aten._convert_weight_to_int4pack_for_cpu(codes.to(torch.int32), 1)
        scale = quantizer.scale.expand(self.features)
        zero = (8 - quantizer.zero_point.float()) * scale
        pairs = torch.stack([scale, zero], dim=-1)
        self._scales = pairs.expand(inputs // self._group, self.features, 2).contiguous()
        self._bias = None if layer.bias is None else layer.bias.detach()

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer to float32 x (..., in)."""
        flat = x.reshape(-1, x.shape[-1]).contiguous()
        out: Tensor = torch.ops.aten._weight_int4pack_mm_for_cpu(flat, self._weights, self._group, self._scales)
        if self._bias is not None:
            out += self._bias
        return out.view(*x.shape[:-1], self.features)


def _group(inputs: int) -> int:
    """Return the largest group size that divides the number of inputs, 0 if none does."""
    return next((size for size in GROUPS if inputs % size == 0), 0)


def _refuse(layer: QuantizedLayer) -> str | None:
    features, inputs = layer.shape
    if not _group(inputs) or features % OUT_MULTIPLE:
        return (
            f"4-bit products take multiples of {GROUPS[-1]} inputs and {OUT_MULTIPLE} outputs, not {inputs}, {features}"
        )
    return None


INT4_LINEAR = Kernel(
    name="int4-linear",
    summary="torch _weight_int4pack_mm_for_cpu: float32 inputs, 4-bit weights unpacked inside of the product",
    kind="linear",
    weight=Support(bits=(4,), asymmetric_bits=(4,)),
    activation=Support(bits=(FLOAT_BITS,)),
    device="cpu",
    instruction_sets="any; AVX2 or AVX512 for speed",
    refuse=_refuse,
    build=Int4Linear,
)
"""Weight-only."""
