"""`naive`: linear quantization by rounding to nearest between the smallest and the largest value."""

from __future__ import annotations

import time
from typing import ClassVar

from methods.base import CalibratedConfig, CalibratedMethod
from methods.core.backbone import QuantizedBackbone
from methods.core.calibration import CalibrationSet
from methods.core.layers import quantizable_layers
from methods.core.policy import backbone_ends, has_named_ends, quantize_layers, uniform_policy
from methods.core.quantizer import Quantizer
from methods.core.ranges import input_ranges
from methods.core.scheme import Granularity, Scheme
from methods.protocol import DenoisingModel


class NaiveConfig(CalibratedConfig):
    """Options of `naive`."""

    weights: Granularity = "channel"
    """One scale per output channel of a weight, or one per weight tensor."""


class Naive(CalibratedMethod):
    """Round every weight and every layer input to the nearest of 2**bits evenly spaced values.

    Weights range between their smallest and largest value, per output channel. Inputs range between the smallest and
    largest value that the full-precision backbone shows on the calibration set, per tensor, one range for all
    timesteps. Every Linear, Conv1d and Conv2d takes part; the first and the last layer keep at least 8 bits.
    """

    name = "naive"
    summary = "round to nearest, min-max ranges, per-channel weights, static per-tensor activations"
    version = "1"
    Config: ClassVar[type[NaiveConfig]] = NaiveConfig
    config: NaiveConfig

    def needs_calibration(self, model: DenoisingModel) -> bool:
        """Activations need their ranges; a backbone with unnamed ends needs a run that shows them."""
        weight_bits, activation_bits = self.spec.bits
        return activation_bits != 16 or (weight_bits != 16 and not has_named_ends(model.backbone))

    def quantize(self, model: DenoisingModel, calibration: CalibrationSet | None) -> QuantizedBackbone:
        """See `Method`."""
        started = time.perf_counter()
        calibration = self._checked(model, calibration)
        layers = quantizable_layers(model.backbone)
        ranges = {} if calibration is None else input_ranges(model, calibration, layers)

        def fit_activation(scheme: Scheme, layer: str) -> Quantizer | None:
            return Quantizer.from_range(scheme, ranges[layer].low, ranges[layer].high) if layer in ranges else None

        ends = () if self.spec.bits == (16, 16) else backbone_ends(model.backbone, [*ranges])
        policy = uniform_policy(*self.spec.bits, ends, self.config.weights)
        module = quantize_layers(model.backbone, policy, fit_weight=Quantizer.min_max, fit_activation=fit_activation)
        return self._result(model, module, started)
