"""`fp32` and `bf16`: no integers. The baselines of every comparison, through the same door as the methods."""

from __future__ import annotations

import copy
import time
from typing import ClassVar

import torch

from admbench.methods.base import Method
from admbench.methods.core.backbone import QuantizedBackbone
from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.numbers.precision import run_in
from admbench.methods.protocol import DenoisingModel
from admbench.methods.spec import FULL_PRECISION


class FloatingPoint(Method):
    """Run the backbone in one floating-point type."""

    takes_bits = False
    dtype: ClassVar[torch.dtype]
    """Type of weights and arithmetic."""

    def quantize(self, model: DenoisingModel, calibration: CalibrationSet | None) -> QuantizedBackbone:
        """Return a copy of the backbone in this type. `calibration` is not used."""
        started = time.perf_counter()
        return self.result(model, run_in(copy.deepcopy(model.backbone), self.dtype), started)


class Float32(FloatingPoint):
    """The full-precision baseline: its checkpoint's bytes are what size reductions are measured against."""

    name = FULL_PRECISION
    summary = "full precision: the baseline"
    version = "1"
    track = "post-training"
    family = "floating point"
    paper = None
    dtype = torch.float32


class BFloat16(FloatingPoint):
    """bfloat16 weights and arithmetic; the latent between denoising steps stays float32.

    Correct on every CPU, and slow on those without bfloat16 instructions.
    """

    name = "bf16"
    summary = "bfloat16 weights and arithmetic"
    version = "1"
    track = "post-training"
    family = "floating point"
    paper = None
    dtype = torch.bfloat16
