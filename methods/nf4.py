"""`nf4`: the 4-bit NormalFloat of Dettmers et al., "QLoRA" (arXiv 2305.14314, section 3), as bitsandbytes applies it.

Weights are taken to be normally distributed, and get the 16 quantiles of that distribution as values, times the largest
magnitude of a block of 64. Without data, weight-only, 4 bits.

Departures. Blocks do not cross output channels, and are smaller where 64 does not divide a channel's weights; absolute
maxima stay in float32, without QLoRA's double quantization. Convolutions take part.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor

from admbench.errors import UsageError
from admbench.methods.base import MethodConfig
from admbench.methods.core.numbers.codebooks import NF4Quantizer
from admbench.methods.core.numbers.quantizer import Quantizer
from admbench.methods.core.numbers.scheme import Scheme, weight_scheme
from admbench.methods.spec import MethodSpec
from admbench.methods.weight_only import WeightOnlyMethod
from admbench.taxonomy import arxiv


class NF4Config(MethodConfig):
    """Options of `nf4`."""

    group: int = Field(default=64, ge=1, le=100_000)
    """Most weights of an output channel that share an absolute maximum."""


class NF4(WeightOnlyMethod):
    """Every weight to the nearest of 16 normal quantiles times its block's largest magnitude; without data."""

    name = "nf4"
    summary = "weight-only, 16 quantiles of a normal distribution, no data (2305.14314)"
    version = "1"
    track = "post-training"
    family = "rounding"
    paper = arxiv("2305.14314", "Dettmers et al., QLoRA: Efficient Finetuning of Quantized LLMs, NeurIPS 2023")
    Config: ClassVar[type[NF4Config]] = NF4Config
    config: NF4Config

    def __init__(self, spec: MethodSpec) -> None:
        super().__init__(spec)
        if spec.bits[0] not in (4, 16):
            raise UsageError(f'method "{spec}": nf4 has 4 bits: expected nf4@w4a16')

    def fit_weight(self, bits: int, weight: Tensor) -> Quantizer:
        """See `WeightOnlyMethod`."""
        if bits != 4:  # the ends
            scheme = weight_scheme(bits, "channel")
            assert scheme is not None
            return Quantizer.min_max(scheme, weight)
        nf4 = Scheme(bits=4, granularity="group", symmetric=True, group_size=self.config.group, codebook="nf4")
        return NF4Quantizer.fit(nf4.for_terms(weight[0].numel()), weight)
