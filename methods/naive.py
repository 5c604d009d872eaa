"""`naive`: linear quantization by rounding to nearest, by default between the smallest and the largest value."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import field_validator
from torch import Tensor

from admbench.errors import UsageError
from admbench.methods.base import CalibratedConfig, CalibratedMethod
from admbench.methods.core.backbone import QuantizedBackbone
from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.calibration.ranges import input_ranges, input_samples
from admbench.methods.core.layers.kinds import quantizable_layers
from admbench.methods.core.layers.policy import (
    backbone_ends,
    has_named_ends,
    quantize_layers,
    uniform_policy,
)
from admbench.methods.core.numbers.quantizer import Quantizer
from admbench.methods.core.numbers.scheme import NumberFormat, Scheme, activation_scheme
from admbench.methods.core.numbers.search import FITS, MOMENTUM, RangeRule
from admbench.methods.protocol import DenoisingModel
from admbench.methods.spec import MethodSpec
from admbench.taxonomy import Paper


class NaiveConfig(CalibratedConfig):
    """Options of `naive`."""

    weights: Literal["tensor", "channel"] = "channel"
    """One scale per output channel of a weight, or one per weight tensor."""
    ranges: RangeRule = "minmax"
    """Where ranges end, of weights and inputs alike: see `admbench.methods.core.numbers.search`."""
    first_last_bits: Literal[8, 16] = 8
    """Fewest bits of the first and the last layer; 16 leaves both in floating point."""

    @field_validator("first_last_bits", mode="before")
    @classmethod
    def _read_first_last_bits(cls, value: Any) -> Any:
        return int(value) if isinstance(value, str) and value.isdecimal() else value


class Naive(CalibratedMethod):
    """Round every weight and every layer input to the nearest of 2**bits evenly spaced values.

    Weights range between their smallest and largest value, per output channel. Inputs range between the smallest and
    largest value that the full-precision backbone shows on the calibration set, per tensor, one range for all
    timesteps. The option `ranges` sets narrower ones. Every Linear, Conv1d and Conv2d takes part; the first and the
    last layer keep at least 8 bits, or stay in floating point with `first_last_bits=16`.
    """

    name = "naive"
    summary = "round to nearest, min-max ranges, per-channel weights, static per-tensor activations"
    version = "1"
    track = "post-training"
    family = "rounding"
    paper: ClassVar[Paper | None] = None
    takes_formats = True
    claims = frozenset({"shifted inputs"})
    Config: ClassVar[type[NaiveConfig]] = NaiveConfig
    config: NaiveConfig

    def __init__(self, spec: MethodSpec) -> None:
        super().__init__(spec)
        weights = spec.sides[0]
        searches = isinstance(weights, NumberFormat) and weights.weight.searches
        if searches and not self.varies and "ranges" in spec.options:
            raise UsageError(
                f'method "{spec}": option ranges: {spec.weight_format} finds its scales by a search of its own;'
                " expected no rule of ranges"
            )

    @property
    def varies(self) -> bool:
        """Weights are rounded the same way whatever the data: only the ranges of activations depend on them."""
        scheme = activation_scheme(self.spec.sides[1])
        return scheme is not None and not scheme.dynamic

    def needs_calibration(self, model: DenoisingModel) -> bool:
        """Activations need their ranges; a backbone with unnamed ends needs a run that shows them."""
        return self.varies or (self.spec.bits != (16, 16) and not has_named_ends(model.backbone))

    def quantize(self, model: DenoisingModel, calibration: CalibrationSet | None) -> QuantizedBackbone:
        """See `Method`."""
        started = time.perf_counter()
        calibration = self.check_calibration(model, calibration)
        layers = quantizable_layers(model.backbone)
        fit = FITS[self.config.ranges]
        seen = {} if calibration is None else self._inputs(model, calibration, layers)

        def fit_activation(scheme: Scheme, layer: str) -> Quantizer | None:
            return fit(scheme, seen[layer]) if layer in seen else None

        ends = () if self.spec.bits == (16, 16) else backbone_ends(model.backbone, [*seen])
        policy = uniform_policy(*self.spec.sides, ends, self.config.weights, self.config.first_last_bits)
        module = quantize_layers(model.backbone, policy, fit_weight=fit, fit_activation=fit_activation)
        return self.result(model, module, started)

    def _inputs(
        self, model: DenoisingModel, calibration: CalibrationSet, layers: Iterable[str]
    ) -> Mapping[str, Tensor]:
        """Return what of each layer's input its range depends on, (1, n): the ends alone if these are the range."""
        if self.config.ranges in ("percentile", "mse"):
            return input_samples(model, calibration, layers)
        momentum = MOMENTUM if self.config.ranges == "ema" else None
        ranges = input_ranges(model, calibration, layers, momentum=momentum)
        return {name: torch.stack([seen.low, seen.high]).reshape(1, 2) for name, seen in ranges.items()}
