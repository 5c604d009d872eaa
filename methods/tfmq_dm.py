"""`tfmq-dm`: Huang et al., "TFMQ-DM: Temporal Feature Maintenance Quantization" (arXiv 2311.16503, CVPR 2024).

Section 4.1: the layers that only the timestep enters, its embedding and the projection of it in every ResNet block, are
reconstructed together, for what the projections return and for nothing of the latent. Section 4.2: activations get one
range for each timestep of the sampler ("finite set calibration"), fitted to samples of that step alone. All other
weights are reconstructed block by block. Numbers of the `paper` preset are those of the released code
(ModelTC/TFMQ-DM).

Departures. A vector of the caption is part of the embedding in AudioLDM's networks: what enters the temporal block is
then not a finite set, and the block is reconstructed on calibration captions. The released code leaves shortcut,
down-sampling and the outermost layers in floating point; here they have the bits that they have under every other
method, so that results compare. Ranges of a timestep are searched on its samples once, where the released code goes on
with a running mean of their ends. A block that learning does not improve, on held-out prompts as well, keeps the
nearest roundings.
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
from admbench.methods.core.numbers.search import fit_lp, fit_mse
from admbench.methods.core.reconstruction.blockwise import BlockwiseQuantization
from admbench.methods.core.reconstruction.objective import Effort
from admbench.methods.protocol import DenoisingModel


class TFMQConfig(ReconstructionConfig):
    """Options of `tfmq-dm`."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {
            "calibration": "per-step",
            "prompts": 16,
            "timesteps": 5,
            "samples": 128,
            "batch": 4,
            "iterations": 200,
            "learning_rate": 0.1,
        },
        "paper": {
            "calibration": "per-step",
            "prompts": 128,
            "timesteps": 25,
            "samples": 6400,
            "batch": 8,
            "iterations": 20_000,
            "learning_rate": 1e-3,
        },
    }

    samples: int = Field(128, ge=1, le=1_000_000)
    """Calibration samples to reconstruct and to fit ranges on, drawn at random; all if there are fewer."""


class TFMQDM(CalibratedMethod):
    """Reconstruct what the timestep enters as one block, and give activations a range for each timestep.

    Weights per output channel; activations per tensor and timestep. The first and the last layer keep at least 8 bits.
    """

    name = "tfmq-dm"
    summary = "temporal information block, activation ranges per timestep (2311.16503)"
    version = "1"
    Config: ClassVar[type[TFMQConfig]] = TFMQConfig
    config: TFMQConfig

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
        work.round_to_nearest(uniform_policy(weight_bits, activation_bits, ends), fit_lp)
        effort = Effort(config.iterations, config.batch, config.learning_rate)
        if weight_bits != 16:
            work.learn_temporal_block(effort)
            work.learn_weights(effort)
        if activation_bits != 16:
            work.learn_inputs(fit_mse, Effort(0), per_timestep=True)
        return self._result(model, work.module, started, original=work.original, blocks=work.reports)
