"""`vidit-q`: Zhao et al., "ViDiT-Q: Efficient and Accurate Quantization of Diffusion Transformers for Image and Video
Generation" (arXiv 2406.02540, ICLR 2025).

Weights per output channel, activations per token, their ranges found at run time, so that neither timesteps nor the two
halves of guidance share one (section 3.1). Channels are balanced, static and dynamic: a scale as SmoothQuant's, but of
maxima that follow the trajectory, s = EMA(max|X|)**alpha / max|W|**(1 - alpha) (section 3.2).

Departures. Written for Linear layers of transformers; convolutions take part with one range per row of the batch, the
finest one that a convolution can compute with. One scale serves all timesteps: its maxima are an exponential average
over the batches of the calibration set, in the order of the trajectory, where the paper may keep one per range of
timesteps. Its rotation of weights and its metric-decoupled mixed precision are not part of this plug-in.
"""

from __future__ import annotations

import time
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from admbench.methods.base import CalibratedConfig, CalibratedMethod
from admbench.methods.core.backbone import QuantizedBackbone
from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.calibration.ranges import check_finite, watch_inputs
from admbench.methods.core.calibration.statistics import ChannelStatistics
from admbench.methods.core.layers.kinds import QuantizableLayer, channel_dimension, layer_kind, quantizable_layers
from admbench.methods.core.layers.policy import backbone_ends, replace_layers, uniform_policy
from admbench.methods.core.layers.quantized import QuantizedLayer
from admbench.methods.core.numbers.scheme import LayerScheme, Scheme, per_token
from admbench.methods.protocol import DenoisingModel
from admbench.methods.smoothquant import smoothed, smoothing_scale


class ViDiTQConfig(CalibratedConfig):
    """Options of `vidit-q`."""

    alpha: float = Field(default=0.11, ge=0, le=1)
    """Balance: 0 leaves the difficulty with the activations. 0.11 or 0.3 in the released configurations."""
    momentum: float = Field(default=0.95, ge=0, lt=1)
    """Of the average of channel maxima; not stated in what could be read, the value is ours."""


class ViDiTQ(CalibratedMethod):
    """Balance channels, round weights per channel and activations per token at run time."""

    name = "vidit-q"
    summary = "per-token dynamic activations, channels balanced along the trajectory (2406.02540)"
    version = "1"
    Config: ClassVar[type[ViDiTQConfig]] = ViDiTQConfig
    config: ViDiTQConfig

    def needs_calibration(self, model: DenoisingModel) -> bool:
        """Balancing needs the activations."""
        return self.spec.bits != (16, 16)

    def quantize(self, model: DenoisingModel, calibration: CalibrationSet | None) -> QuantizedBackbone:
        """See `Method`."""
        started = time.perf_counter()
        calibration = self._checked(model, calibration)
        seen = {} if calibration is None else self._averages(model, calibration)

        def make(name: str, layer: QuantizableLayer, scheme: LayerScheme) -> QuantizedLayer | None:
            if name not in seen:
                return None
            if scheme.activation is not None:
                own = per_token if isinstance(layer, nn.Linear) else per_sample
                scheme = scheme.model_copy(update={"activation": own(scheme.activation)})
            return smoothed(name, layer, scheme, smoothing_scale(layer, seen[name], self.config.alpha), seen[name])

        ends = () if calibration is None else backbone_ends(model.backbone, [*seen])
        module = replace_layers(model.backbone, uniform_policy(*self.spec.bits, ends), make)
        return self._result(model, module, started)

    def _averages(self, model: DenoisingModel, calibration: CalibrationSet) -> dict[str, ChannelStatistics]:
        """Return, of each layer that runs, the averaged extremes of its input's channels, noisiest steps first."""
        layers = quantizable_layers(model.backbone)
        found: dict[str, ChannelStatistics] = {}

        def see(name: str, values: Tensor) -> None:
            rows = values.detach().movedim(channel_dimension(layer_kind(layers[name])), -1).flatten(0, -2).float()
            low, high = torch.aminmax(rows, dim=0)
            check_finite(name, low + high)
            if name not in found:
                found[name] = ChannelStatistics(low, high, high)
                return
            own, keep = found[name], self.config.momentum
            own.low, own.high = low.lerp(own.low, keep), high.lerp(own.high, keep)

        watch_inputs(model, calibration.take(calibration.step.argsort(stable=True)), layers, see)
        return found


def per_sample(scheme: Scheme) -> Scheme:
    """Return a scheme of inputs of the same bits whose ranges are found at run time, one per row of the batch."""
    return Scheme(bits=scheme.bits, granularity="sample", symmetric=False, dynamic=True)
