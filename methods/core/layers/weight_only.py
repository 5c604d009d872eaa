"""Weight-only quantization without data: what methods that look at nothing but weights have in common."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from admbench.methods.core.layers.kinds import QuantizableLayer
from admbench.methods.core.layers.policy import (
    backbone_ends,
    has_named_ends,
    replace_layers,
    uniform_policy,
)
from admbench.methods.core.layers.quantized import QuantizedLayer
from admbench.methods.core.numbers.quantizer import Quantizer
from admbench.methods.core.numbers.scheme import LayerScheme


def quantize_weights(backbone: nn.Module, bits: int, fit: Callable[[int, Tensor], Quantizer]) -> nn.Module:
    """Return a copy of a backbone, its weights rounded to the nearest codes; the original is left as it is.

    Args:
        backbone: in full precision. `conv_in` and `conv_out`, where it has them, keep at least 8 bits; no data shows
            which layers are first and last where it has not.
        bits: of the other weights; 16 quantizes nothing.
        fit: bits and weight (out, ...) -> fitted quantizer.
    """
    ends = backbone_ends(backbone) if bits != 16 and has_named_ends(backbone) else ()

    def make(name: str, layer: QuantizableLayer, scheme: LayerScheme) -> QuantizedLayer | None:
        assert scheme.weight is not None
        return QuantizedLayer.from_float(layer, fit(scheme.weight.bits, layer.weight.detach()), None)

    return replace_layers(backbone, uniform_policy(bits, 16, ends), make)
