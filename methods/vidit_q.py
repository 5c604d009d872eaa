"""`vidit-q`: Zhao et al., "ViDiT-Q: Efficient and Accurate Quantization of Diffusion Transformers for Image and Video
Generation" (arXiv 2406.02540, ICLR 2025).

Weights per output channel, activations per token, their ranges found at run time, so that neither timesteps nor the two
halves of guidance share one (section 3.1). Channels are balanced in two ways (section 3.2): what is out of balance at
all timesteps by a scale, s = EMA(max|X|)**(1 - alpha) / max|W|**alpha, and what comes and goes with them by a rotation
of the scaled input.

The exponents are those of the released code (thu-nics/ViDiT-Q), in which alpha belongs to the weight; in version 1 it
was taken for the input's.

Departures. Written for Linear layers of transformers; convolutions take part with one range per row of the batch, the
finest one that a convolution can compute with. One scale serves all timesteps: its maxima are an exponential average
over the batches of the calibration set, in the order of the trajectory, where the paper may keep one per range of
timesteps. The rotation is a regular Hadamard matrix a group of channels, the largest power of 4 that divides them and
is at most `rotation`, where the released code has a random Hadamard matrix of all channels. A weight is rounded once;
that code rounds it when it is scaled, and again when it is rotated. Metric-decoupled mixed precision is not part of
this plug-in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from admbench.methods.base import CalibratedConfig
from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.calibration.ranges import check_finite, watch_inputs
from admbench.methods.core.calibration.statistics import ChannelStatistics, channel_rows
from admbench.methods.core.layers.kinds import QuantizableLayer, input_channels, quantizable_layers
from admbench.methods.core.layers.policy import at_run_time
from admbench.methods.core.layers.quantized import QuantizedLayer
from admbench.methods.core.layers.rotation import rotation_size
from admbench.methods.core.numbers.scheme import LayerScheme
from admbench.methods.core.reconstruction.smoothing import smoothed, smoothing_scale
from admbench.methods.layerwise import LayerwiseMethod
from admbench.methods.protocol import DenoisingModel
from admbench.taxonomy import arxiv


class ViDiTQConfig(CalibratedConfig):
    """Options of `vidit-q`."""

    alpha: float = Field(default=0.11, ge=0, le=1)
    """Exponent of the weight's maxima: 0 gives all of the difficulty to the weights. 0.11 or 0.3 in the released
    configurations."""
    rotation: int = Field(default=256, ge=0, le=4096)
    """Most input channels that are rotated together; 0 for none."""
    momentum: float = Field(default=0.95, ge=0, lt=1)
    """Of the average of channel maxima; not stated in what could be read, the value is ours."""


class ViDiTQ(LayerwiseMethod[ChannelStatistics, None]):
    """Balance channels, round weights per channel and activations per token at run time."""

    name = "vidit-q"
    summary = "per-token dynamic activations, channels balanced by scales and rotated (2406.02540)"
    version = "2"
    track = "post-training"
    family = "transform"
    paper = arxiv(
        "2406.02540",
        "Zhao et al., ViDiT-Q: Efficient and Accurate Quantization of Diffusion Transformers for Image and Video"
        " Generation, ICLR 2025",
    )
    takes_formats = True
    claims = frozenset({"channel outliers", "drifting ranges"})
    Config: ClassVar[type[ViDiTQConfig]] = ViDiTQConfig
    config: ViDiTQConfig

    def observe(self, model: DenoisingModel, calibration: CalibrationSet) -> Mapping[str, ChannelStatistics]:
        """See `LayerwiseMethod`: averages of the extremes of each input channel, noisiest steps first."""
        layers = quantizable_layers(model.backbone)
        found: dict[str, ChannelStatistics] = {}

        def see(name: str, values: Tensor) -> None:
            low, high = torch.aminmax(channel_rows(layers[name], values).float(), dim=0)
            check_finite(name, low + high)
            if name not in found:
                found[name] = ChannelStatistics(low, high, high)
                return
            own, keep = found[name], self.config.momentum
            own.low, own.high = low.lerp(own.low, keep), high.lerp(own.high, keep)

        watch_inputs(model, calibration.take(calibration.step.argsort(stable=True)), layers, see)
        return found

    def quantize_layer(
        self, name: str, layer: QuantizableLayer, scheme: LayerScheme, seen: ChannelStatistics, solution: None
    ) -> QuantizedLayer:
        """See `LayerwiseMethod`."""
        if scheme.activation is not None:
            scheme = scheme.model_copy(update={"activation": at_run_time(scheme.activation, layer)})
        alpha = self.config.alpha
        whole = getattr(layer, "groups", 1) == 1
        return smoothed(
            name,
            layer,
            scheme,
            smoothing_scale(layer, seen, 1 - alpha, alpha),
            seen,
            rotation=rotation_size(input_channels(layer), self.config.rotation) if whole else 0,
        )
