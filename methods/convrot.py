"""`convrot`: Huang et al., "ConvRot: Rotation-Based Plug-and-Play 4-bit Quantization for Diffusion Transformers"
(arXiv 2512.03673).

The input of a layer is rotated in groups of channels by a regular Hadamard matrix, like a convolution over channels
whose stride is its width, and the weight with it. An outlier channel is spread over its group. So is an outlier token,
whose numbers are all of one sign: all rows of a regular matrix have the same sum, where Sylvester's matrix collects
such a token in its first channel. Then both sides are rounded to nearest, symmetric, up to the largest magnitude:
weights per output channel, inputs per token at run time. No data, and nothing is searched.

Of the paper the abstract could be read, and the released code (feice-huang/ConvRot) of the layer.

Departures. A group has the largest power of 4 of channels that divides them and is at most 256; the released code pads
with zeros to a multiple of 256. A layer whose channels are no multiple of 4 is not rotated. Convolutions take part,
with one range for each row of the batch. All layers have the spec's bits, as under other methods, but the first and the
last one, where their names show which they are: these keep 8. A layer rotates its own input when it runs; nothing is
folded into the layer before, from which a norm or an activation function mostly parts it.
"""

from __future__ import annotations

import time
from typing import ClassVar

from pydantic import Field
from torch import nn

from admbench.methods.base import Method, MethodConfig
from admbench.methods.core.backbone import QuantizedBackbone
from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.layers.kinds import QuantizableLayer, input_channels
from admbench.methods.core.layers.policy import backbone_ends, has_named_ends, replace_layers, uniform_policy
from admbench.methods.core.layers.quantized import QuantizedLayer, dynamic_input
from admbench.methods.core.layers.rotation import rotate, rotation_size
from admbench.methods.core.numbers.fitting import fit_weight
from admbench.methods.core.numbers.scheme import LayerScheme, Scheme
from admbench.methods.protocol import DenoisingModel
from admbench.taxonomy import arxiv


class ConvRotConfig(MethodConfig):
    """Options of `convrot`."""

    rotation: int = Field(default=256, ge=0, le=4096)
    """Most input channels that are rotated together; 0 for none: what is left is rounding to nearest at run time."""


class ConvRot(Method):
    """Rotate inputs and weights in groups of channels, round both to nearest; without data."""

    name = "convrot"
    summary = "inputs and weights rotated by regular Hadamard matrices, no data (2512.03673)"
    version = "1"
    track = "post-training"
    family = "transform"
    paper = arxiv(
        "2512.03673",
        "Huang et al., ConvRot: Rotation-Based Plug-and-Play 4-bit Quantization for Diffusion Transformers, 2025",
        read="abstract",
    )
    takes_formats = True
    claims = frozenset({"channel outliers", "drifting ranges"})
    Config: ClassVar[type[ConvRotConfig]] = ConvRotConfig
    config: ConvRotConfig

    def quantize(self, model: DenoisingModel, calibration: CalibrationSet | None) -> QuantizedBackbone:
        """See `Method`. `calibration` is not used."""
        started = time.perf_counter()
        # without data nothing but its name shows which layer is the first and which the last
        ends = backbone_ends(model.backbone) if has_named_ends(model.backbone) else ()
        policy = uniform_policy(*self.spec.sides, ends).changed(weight=_symmetric)
        return self.result(model, replace_layers(model.backbone, policy, self._rotated), started)

    def _rotated(self, name: str, layer: QuantizableLayer, scheme: LayerScheme) -> QuantizedLayer:
        whole = getattr(layer, "groups", 1) == 1
        size = rotation_size(input_channels(layer), self.config.rotation) if whole else 0
        weight = layer.weight.detach()
        weight = rotate(weight, size, 1) if size else weight
        return QuantizedLayer.from_float(
            layer,
            None if scheme.weight is None else fit_weight(scheme.weight, weight),
            None if scheme.activation is None else dynamic_input(_at_run_time(scheme.activation, layer), layer),
            weight=weight,
            rotation=size,
        )


def _symmetric(scheme: Scheme) -> Scheme:
    return scheme if scheme.published else scheme.model_copy(update={"symmetric": True})


def _at_run_time(scheme: Scheme, layer: QuantizableLayer) -> Scheme:
    if scheme.published:
        return scheme
    granularity = "token" if isinstance(layer, nn.Linear) else "sample"
    return scheme.model_copy(update={"granularity": granularity, "symmetric": True, "dynamic": True})
