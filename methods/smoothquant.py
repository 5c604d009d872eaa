"""`smoothquant`: Xiao et al., "SmoothQuant" (arXiv 2211.10438, ICML 2023).

Outliers of activations sit in fixed channels, and weights are easy to quantize. So every input channel j is divided by

    s_j = max|X_j|**alpha / max|W_j|**(1 - alpha)                                                         (eq. 4)

and its weights are multiplied by it, which changes nothing in full precision, and moves difficulty from activations to
weights. Then both are rounded to nearest.

Departures. The paper folds 1/s into the preceding LayerNorm; here a layer divides its own input, which also serves
layers behind an activation function, and costs a pass over it. Applied to convolutions alike, per input channel. The
paper smooths language models; layers that have no outliers are smoothed, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field
from torch import nn

from admbench.methods.base import CalibratedConfig
from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.calibration.statistics import ChannelStatistics, channel_statistics
from admbench.methods.core.layers.kinds import QuantizableLayer, quantizable_layers
from admbench.methods.core.layers.quantized import QuantizedLayer
from admbench.methods.core.numbers.scheme import LayerScheme, per_token
from admbench.methods.core.reconstruction.smoothing import smoothed, smoothing_scale
from admbench.methods.layerwise import LayerwiseMethod
from admbench.methods.protocol import DenoisingModel
from admbench.taxonomy import arxiv


class SmoothQuantConfig(CalibratedConfig):
    """Options of `smoothquant`."""

    alpha: float = Field(default=0.5, ge=0, le=1)
    """Migration strength: 0 leaves the difficulty with the activations, 1 gives all of it to the weights."""
    activations: Literal["static", "token"] = "static"
    """Ranges of inputs: one per tensor, of the calibration set (the paper's O3), or one per token, at run time (O1;
    of Linear layers, convolutions stay static)."""


class SmoothQuant(LayerwiseMethod[ChannelStatistics, None]):
    """Divide each input channel by a scale, multiply its weights, round both to nearest."""

    name = "smoothquant"
    summary = "activation outliers migrated to the weights, channel by channel (2211.10438)"
    version = "1"
    track = "post-training"
    family = "transform"
    paper = arxiv(
        "2211.10438",
        "Xiao et al., SmoothQuant: Accurate and Efficient Post-Training Quantization for Large Language Models,"
        " ICML 2023",
    )
    takes_formats = True
    claims = frozenset({"channel outliers"})
    Config: ClassVar[type[SmoothQuantConfig]] = SmoothQuantConfig
    config: SmoothQuantConfig

    def observe(self, model: DenoisingModel, calibration: CalibrationSet) -> Mapping[str, ChannelStatistics]:
        """See `LayerwiseMethod`: the extremes of each input channel."""
        return channel_statistics(model, calibration, quantizable_layers(model.backbone))

    def quantize_layer(
        self, name: str, layer: QuantizableLayer, scheme: LayerScheme, seen: ChannelStatistics, solution: None
    ) -> QuantizedLayer:
        """See `LayerwiseMethod`."""
        if self.config.activations == "token" and scheme.activation is not None and isinstance(layer, nn.Linear):
            scheme = scheme.model_copy(update={"activation": per_token(scheme.activation)})
        return smoothed(name, layer, scheme, smoothing_scale(layer, seen, self.config.alpha), seen)
