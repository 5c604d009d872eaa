"""The frame of methods that reconstruct a backbone block by block, and the options that they share.

A method of this kind says what is done with the blocks, and in which order; `core.reconstruction` has the steps.
"""

from __future__ import annotations

import copy
import time
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from admbench.methods.base import CalibratedConfig, CalibratedMethod
from admbench.methods.core.backbone import QuantizedBackbone
from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.reconstruction.blockwise import BlockwiseQuantization
from admbench.methods.protocol import DenoisingModel


class ReconstructionConfig(CalibratedConfig):
    """Options of methods that learn the roundings of a block's weights.

    The `paper` preset is that of Q-Diffusion's and TFMQ-DM's released code, which methods without numbers of their own
    take over.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"batch": 4, "iterations": 200, "learning_rate": 0.1},
        "paper": {"batch": 8, "iterations": 20_000, "learning_rate": 1e-3},
    }

    batch: int = Field(4, ge=1, le=4096)
    """Samples of an iteration."""
    iterations: int = Field(200, ge=0, le=1_000_000)
    """Iterations for a block."""
    learning_rate: float = Field(0.1, gt=0, le=10)
    """Of the roundings."""


class SampledConfig(ReconstructionConfig):
    """Options of methods that reconstruct on some of the calibration samples, drawn at random."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"quick": {"samples": 96}, "paper": {"samples": 6400}}

    samples: int = Field(96, ge=1, le=1_000_000)
    """Calibration samples to reconstruct on, drawn at random; all if there are fewer."""


class StepSizeConfig(ReconstructionConfig):
    """Options of methods that learn the step sizes of a block's inputs after its roundings."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"step_iterations": 0, "step_learning_rate": 0.003},
        "paper": {"step_iterations": 5000, "step_learning_rate": 4e-4},
    }

    step_iterations: int = Field(0, ge=0, le=1_000_000)
    """Iterations for the step sizes of a block's inputs."""
    step_learning_rate: float = Field(0.003, gt=0, le=10)
    """Of the step sizes, relative to their start."""


class BlockwiseMethod(CalibratedMethod):
    """A method that reconstructs blocks. Subclass, and write `reconstruct`."""

    Config: ClassVar[type[ReconstructionConfig]] = ReconstructionConfig
    config: ReconstructionConfig

    @abstractmethod
    def reconstruct(self, work: BlockwiseQuantization, model: DenoisingModel, calibration: CalibrationSet) -> None:
        """Quantize the backbone, block by block.

        Args:
            work: the backbone, in full precision so far; what is done to it is the result.
            model: in full precision.
            calibration: the whole set; `work` reconstructs on its `samples`.
        """

    def samples(self, calibration: CalibrationSet) -> CalibrationSet:
        """Return the samples to reconstruct on: as many as the option `samples` says, all where there is none."""
        if isinstance(self.config, SampledConfig):
            return calibration.sample(self.config.samples, calibration.seed)
        return calibration

    def quantize(self, model: DenoisingModel, calibration: CalibrationSet | None) -> QuantizedBackbone:
        """See `Method`."""
        started = time.perf_counter()
        calibration = self.check_calibration(model, calibration)
        if calibration is None:
            return self.result(model, copy.deepcopy(model.backbone), started)
        work = BlockwiseQuantization(model, self.samples(calibration), seed=calibration.seed)
        self.reconstruct(work, model, calibration)
        return self.result(model, work.module, started, original=work.original, blocks=work.reports)
