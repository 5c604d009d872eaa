"""`gptq`: Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers"
(arXiv 2210.17323, ICLR 2023).

A layer's weights are rounded column by column. The error of each column is made up for by the columns that are still in
floating point, in the way that changes the layer's outputs least: with the Cholesky factor U of the inverse of
H = X X^T + damping (section 3.3, step 3), rounding column q adds -(w_q - round(w_q)) / U_qq * U_q,: to the rest.

Departures. Inputs are those of the full-precision backbone, not of the layers quantized so far. H is that of random
positions of the calibration set, `positions` of them a layer. A convolution's columns are those of its unfolded
patches. Activations, where a spec gives them bits, are rounded as `naive` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field
from torch import Tensor

from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.calibration.ranges import MinMax, input_ranges
from admbench.methods.core.layers.kinds import QuantizableLayer, quantizable_layers
from admbench.methods.core.layers.policy import input_quantizer
from admbench.methods.core.layers.quantized import QuantizedLayer
from admbench.methods.core.numbers.fitting import fit_weight
from admbench.methods.core.numbers.quantizer import Quantizer
from admbench.methods.core.numbers.scheme import LayerScheme, Scheme
from admbench.methods.core.reconstruction.error_feedback import gptq_codes
from admbench.methods.layerwise import GramConfig, GramMethod
from admbench.methods.protocol import DenoisingModel
from admbench.taxonomy import arxiv


class GPTQConfig(GramConfig):
    """Options of `gptq`."""

    damping: float = Field(default=0.01, gt=0, le=1)
    """Share of the mean of H's diagonal that is added to it."""


class GPTQ(GramMethod[MinMax, tuple[Quantizer, Tensor]]):
    """Round the weights column by column, each making up for the errors of those before."""

    name = "gptq"
    summary = "second-order rounding of weights, column by column (2210.17323)"
    version = "1"
    track = "post-training"
    family = "Hessian"
    paper = arxiv(
        "2210.17323",
        "Frantar et al., GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers, ICLR 2023",
    )
    takes_formats = True
    Config: ClassVar[type[GPTQConfig]] = GPTQConfig
    config: GPTQConfig

    def observe(self, model: DenoisingModel, calibration: CalibrationSet) -> Mapping[str, MinMax]:
        """See `LayerwiseMethod`: the range of each input."""
        return input_ranges(model, calibration, quantizable_layers(model.backbone))

    def solve_weight(
        self, name: str, layer: QuantizableLayer, gram: Tensor, scheme: Scheme, seen: MinMax
    ) -> tuple[Quantizer, Tensor]:
        """See `GramMethod`: quantizer and codes."""
        return gptq_codes(layer.weight.detach(), gram, scheme, self.config.damping)

    def quantize_layer(
        self,
        name: str,
        layer: QuantizableLayer,
        scheme: LayerScheme,
        seen: MinMax,
        solution: tuple[Quantizer, Tensor] | None,
    ) -> QuantizedLayer:
        """See `LayerwiseMethod`."""
        activation = input_quantizer(
            name, layer, scheme.activation, lambda scheme, name: Quantizer.from_range(scheme, seen.low, seen.high)
        )
        if solution is None:
            weight = None if scheme.weight is None else fit_weight(scheme.weight, layer.weight.detach())
            return QuantizedLayer.from_float(layer, weight, activation)
        quantizer, codes = solution
        return QuantizedLayer(layer, weight_codes=codes, weight_quantizer=quantizer, activation_quantizer=activation)
