"""`sqd`: Khandelwal and Fuentes, "Post-Training Quantization for Audio Diffusion Transformers" (arXiv 2510.00313,
WASPAA 2025): SmoothQuantDynamic and its low-rank branch, tried there on Stable Audio Open at W8A8 and W4A8.

Smoothing knows of the timestep: at timestep t input channel j has the scale of SmoothQuant (2211.10438, eq. 4) of what
the channel holds then,

    s_j(t) = max|X_j(t)|**alpha / max|W_j|**(1 - alpha).

Inputs are rounded in ranges that are found at run time (SQD), or fixed beforehand (SQS, `inputs=static`), which is
faster and, as published, worse at 4 bits. A low-rank branch in 16 bits, the leading singular components of what
rounding does to the weight, stands beside the layer: L = SVD_k(W' - Q(W')).

Reconstructed from the abstract, the beginning of the introduction, and others' accounts of the paper; of its section 2
(eq. 6 to 9) nothing could be read, and no code was found. So alpha and the rank are not the authors'. That the branch
is fitted to the error, where SVDQuant splits it off before rounding, is as the abstract has it.

Departures. A weight has one set of codes, which can be that of one scale only: a layer divides by the geometric mean of
its s(t), in which each timestep counts alike, however wide its inputs are. (Rounding the weight anew at each timestep
would need it in full precision.) What is left of timesteps is in the ranges: at run time, or static with one for each
timestep of the calibration set. Convolutions take part, with one range for each row of the batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from admbench.methods.base import CalibratedConfig
from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.calibration.statistics import ChannelStatistics, channel_statistics_by_timestep
from admbench.methods.core.layers.kinds import QuantizableLayer, over_inputs, quantizable_layers
from admbench.methods.core.layers.policy import at_run_time
from admbench.methods.core.layers.quantized import QuantizedLayer, dynamic_input
from admbench.methods.core.numbers.fitting import fit_weight
from admbench.methods.core.numbers.quantizer import Quantizer, scale_and_zero_point
from admbench.methods.core.numbers.scheme import LayerScheme, Scheme
from admbench.methods.core.numbers.timesteps import TimestepTable
from admbench.methods.core.reconstruction.branch import leading_components, rank_of_branch
from admbench.methods.core.reconstruction.smoothing import smoothing_scale
from admbench.methods.layerwise import LayerwiseMethod
from admbench.methods.protocol import DenoisingModel
from admbench.taxonomy import arxiv


class SQDConfig(CalibratedConfig):
    """Options of `sqd`."""

    inputs: Literal["dynamic", "static"] = "dynamic"
    """Ranges of inputs: found at run time (SQD), or one per timestep of the calibration set (SQS)."""
    alpha: float = Field(default=0.5, ge=0, le=1)
    """Migration strength, SmoothQuant's: 0 leaves the difficulty with the inputs, 1 gives all of it to the weights."""
    rank: int = Field(default=32, ge=0, le=4096)
    """Of the branch, at most half of what the layer's weight could have; 0 for none."""


class AtTimesteps(NamedTuple):
    """What a layer's input holds at each timestep."""

    timesteps: tuple[float, ...]
    """Rising."""
    channels: tuple[ChannelStatistics, ...]
    """Extremes of its channels, by timestep."""


class SQD(LayerwiseMethod[AtTimesteps, None]):
    """Smooth channels by what they hold at every timestep; a branch of low rank makes up for the weights' rounding."""

    name = "sqd"
    summary = "channels smoothed over timesteps, ranges at run time, a branch of the error (2510.00313)"
    version = "1"
    track = "post-training"
    family = "transform"
    paper = arxiv(
        "2510.00313",
        "Khandelwal and Fuentes, Post-Training Quantization for Audio Diffusion Transformers, WASPAA 2025",
        read="abstract",
    )
    takes_formats = True
    claims = frozenset({"channel outliers", "drifting ranges"})
    Config: ClassVar[type[SQDConfig]] = SQDConfig
    config: SQDConfig

    def observe(self, model: DenoisingModel, calibration: CalibrationSet) -> Mapping[str, AtTimesteps]:
        """See `LayerwiseMethod`: the extremes of each input channel at each timestep."""
        seen = channel_statistics_by_timestep(model, calibration, quantizable_layers(model.backbone))
        names = dict.fromkeys(name for layers in seen.values() for name in layers)
        return {
            name: AtTimesteps(
                *zip(*((now, layers[name]) for now, layers in seen.items() if name in layers), strict=True)
            )
            for name in names
        }

    def quantize_layer(
        self, name: str, layer: QuantizableLayer, scheme: LayerScheme, seen: AtTimesteps, solution: None
    ) -> QuantizedLayer:
        """See `LayerwiseMethod`."""
        whole = getattr(layer, "groups", 1) == 1
        scale = mean_scale(layer, seen, self.config.alpha)
        weight = layer.weight.detach() * over_inputs(scale, layer.weight) if whole else layer.weight.detach()
        quantizer = None if scheme.weight is None else fit_weight(scheme.weight, weight)
        branch = None
        if quantizer is not None and whole and self.config.rank:
            error = weight - quantizer.fake_quantize(weight)
            branch = leading_components(error, rank_of_branch(weight, self.config.rank))
        return QuantizedLayer.from_float(
            layer,
            quantizer,
            None if scheme.activation is None else self._input(scheme.activation, layer, seen, scale),
            weight=weight,
            input_scale=scale if whole else None,
            low_rank=branch,
        )

    def _input(self, scheme: Scheme, layer: QuantizableLayer, seen: AtTimesteps, scale: Tensor) -> Quantizer:
        if scheme.dynamic or self.config.inputs == "dynamic":
            return dynamic_input(at_run_time(scheme, layer), layer)
        return range_table(scheme, seen, scale)


def mean_scale(layer: QuantizableLayer, seen: AtTimesteps, alpha: float) -> Tensor:
    """Return the geometric mean over timesteps of a layer's scales s(t), (in,) float32."""
    scales = [smoothing_scale(layer, channels, alpha) for channels in seen.channels]
    return torch.stack(scales).log().mean(0).exp()


def range_table(scheme: Scheme, seen: AtTimesteps, scale: Tensor) -> Quantizer:
    """Return a quantizer of a layer's divided input with a range for each timestep, or with one where there is one."""
    low, high = torch.cat([channels.range_over(scale) for channels in seen.channels]).T
    if len(seen.timesteps) == 1:
        return Quantizer.from_range(scheme, low[0], high[0])
    return TimestepTable(scheme, *scale_and_zero_point(scheme, low, high), torch.tensor(seen.timesteps))
