"""`q-diffusion`: Li et al., "Q-Diffusion: Quantizing Diffusion Models" (arXiv 2302.04304, ICCV 2023).

Section 3.3.1 samples calibration data uniformly over the timesteps; 3.3.2 splits the layers that read a shortcut
concatenation; blocks are reconstructed with AdaRound (section 3.2, after BRECQ), weights first, then the step sizes of
activations. Numbers of the `paper` preset are those of the released code for Stable Diffusion (Xiuyu-Li/q-diffusion).

Departures. The released code leaves the rounding term of a split layer's second half out: it is a part like any other
here. The objective is summed over channels, which the released code does for feature maps and not for tokens. Step
sizes are learned relative to their start. Attention products are not quantized. A block that reconstruction does not
improve, on held-out prompts as well, keeps the nearest roundings. The released code's sampler is PLMS with 50 steps,
here it is the model's own.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from admbench.methods.base import CalibratedMethod, ReconstructionConfig
from admbench.methods.core.backbone import QuantizedBackbone
from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.layers.policy import backbone_ends, uniform_policy
from admbench.methods.core.numbers.search import POWER, fit_lp
from admbench.methods.core.reconstruction.blockwise import BlockwiseQuantization
from admbench.methods.core.reconstruction.objective import Effort
from admbench.methods.protocol import DenoisingModel


class QDiffusionConfig(ReconstructionConfig):
    """Options of `q-diffusion`."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {
            "prompts": 16,
            "timesteps": 25,
            "samples": 96,
            "batch": 4,
            "iterations": 200,
            "learning_rate": 0.1,
            "step_iterations": 0,
            "step_learning_rate": 0.003,
        },
        "paper": {
            "prompts": 128,
            "timesteps": 25,
            "samples": 6400,
            "batch": 8,
            "iterations": 20_000,
            "learning_rate": 1e-3,
            "step_iterations": 5000,
            "step_learning_rate": 4e-4,
        },
    }

    samples: int = Field(96, ge=1, le=1_000_000)
    """Calibration samples to reconstruct on, drawn at random; all if there are fewer."""
    step_iterations: int = Field(0, ge=0, le=1_000_000)
    """Iterations for the step sizes of a block's inputs."""
    step_learning_rate: float = Field(0.003, gt=0, le=10)
    """Of the step sizes, relative to their start."""


class QDiffusion(CalibratedMethod):
    """Reconstruct every block on data from all timesteps: first its roundings, then its activations' step sizes.

    Weights per output channel, activations per tensor, one range for all timesteps. The first and the last layer keep
    at least 8 bits.
    """

    name = "q-diffusion"
    summary = "AdaRound block reconstruction, split shortcuts, learned activation step sizes (2302.04304)"
    version = "1"
    Config: ClassVar[type[QDiffusionConfig]] = QDiffusionConfig
    config: QDiffusionConfig

    def needs_calibration(self, model: DenoisingModel) -> bool:
        """Weights are reconstructed on data, too."""
        return self.spec.bits != (16, 16)

    def quantize(self, model: DenoisingModel, calibration: CalibrationSet | None) -> QuantizedBackbone:
        """See `Method`."""
        started = time.perf_counter()
        calibration = self._checked(model, calibration)
        if calibration is None:
            return self._result(model, copy.deepcopy(model.backbone), started)
        config, (weight_bits, activation_bits) = self.config, self.spec.bits
        seed = int(calibration.recipe["seed"])

        work = BlockwiseQuantization(model, calibration.sample(config.samples, seed), seed=seed)
        ends = backbone_ends(model.backbone, work.order)
        work.split_concatenations()
        work.round_to_nearest(uniform_policy(weight_bits, activation_bits, ends), fit_lp)
        if weight_bits != 16:
            work.learn_weights(Effort(config.iterations, config.batch, config.learning_rate))
        if activation_bits != 16:
            steps = Effort(config.step_iterations, config.batch, config.step_learning_rate, power=POWER)
            work.learn_inputs(fit_lp, steps)
        return self._result(model, work.module, started, original=work.original, blocks=work.reports)
