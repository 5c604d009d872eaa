"""Which quantizer a scheme of weights has, and fitting one to a weight by the scheme's own rule."""

from __future__ import annotations

from torch import Tensor

from admbench.methods.core.numbers.codebooks import CODEBOOKS, FloatZeroQuantizer
from admbench.methods.core.numbers.dynamic import DynamicQuantizer
from admbench.methods.core.numbers.floats import DynamicFloatQuantizer, FloatQuantizer, float_quantizer
from admbench.methods.core.numbers.gguf import HalfScaleQuantizer, SuperBlockQuantizer, super_groups
from admbench.methods.core.numbers.quantizer import Quantizer
from admbench.methods.core.numbers.scheme import FLOAT_CODEBOOKS, Scheme


def quantizer_class(scheme: Scheme) -> type[Quantizer]:
    """Return the class of the quantizers of a static scheme."""
    if scheme.zero == "float":
        return FloatZeroQuantizer
    if scheme.codebook in FLOAT_CODEBOOKS:
        return float_quantizer(scheme)
    if scheme.scales == "float16":
        return HalfScaleQuantizer
    if scheme.scales == "k":
        return SuperBlockQuantizer
    return CODEBOOKS.get(scheme.codebook, Quantizer)


def dynamic_quantizer(scheme: Scheme, channels: int) -> DynamicQuantizer:
    """Return the quantizer of an input under a dynamic scheme; `channels` is the dimension of its channels."""
    kind = DynamicFloatQuantizer if scheme.codebook in FLOAT_CODEBOOKS else DynamicQuantizer
    return kind(scheme, channels)


def fit_weight(scheme: Scheme, values: Tensor) -> Quantizer:
    """Fit to `values` (channels, ...) as the scheme itself says: between the extremes, or as its number format does."""
    return quantizer_class(scheme).fit(scheme, values)


def fitted_together(scheme: Scheme, terms: int) -> int:
    """Return how many columns of a weight (channels, terms) get scales at once: a group, a super-block, or all."""
    size = scheme.group_size or terms
    return size * super_groups(scheme, terms // size) if scheme.scales == "k" else size


def fit_part(scheme: Scheme, values: Tensor, whole: Tensor) -> Quantizer:
    """Fit to some columns of a weight; `whole` is the largest magnitude of all of it, which NVFP4 has a scale for."""
    kind = quantizer_class(scheme)
    return kind.fit(scheme, values, whole) if issubclass(kind, FloatQuantizer) else kind.fit(scheme, values)
