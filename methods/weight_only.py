"""The frame of methods that look at nothing but weights: no data, and activations in floating point."""

from __future__ import annotations

import time
from abc import abstractmethod

from torch import Tensor

from admbench.errors import UsageError
from admbench.methods.base import Method
from admbench.methods.core.backbone import QuantizedBackbone
from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.layers.weight_only import quantize_weights
from admbench.methods.core.numbers.quantizer import Quantizer
from admbench.methods.protocol import DenoisingModel
from admbench.methods.spec import MethodSpec


class WeightOnlyMethod(Method):
    """A method without data. Subclass, write `fit_weight`.

    Raises:
        UsageError: the spec gives activations bits.
    """

    def __init__(self, spec: MethodSpec) -> None:
        super().__init__(spec)
        weight_bits, activation_bits = spec.bits
        if activation_bits != 16:
            expected = f"{spec.name}@w{weight_bits}a16"
            raise UsageError(f'method "{spec}": {spec.name} leaves activations in floating point: expected {expected}')

    @abstractmethod
    def fit_weight(self, bits: int, weight: Tensor) -> Quantizer:
        """Return the quantizer of a weight.

        Args:
            bits: the spec's, of the first and the last layer at least 8; never 16.
            weight: (out, ...) float32.
        """

    def quantize(self, model: DenoisingModel, calibration: CalibrationSet | None) -> QuantizedBackbone:
        """See `Method`. `calibration` is not used."""
        started = time.perf_counter()
        return self.result(model, quantize_weights(model.backbone, self.spec.bits[0], self.fit_weight), started)
