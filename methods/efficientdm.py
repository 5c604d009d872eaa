"""`efficientdm`: He et al., "EfficientDM: Efficient Quantization-Aware Fine-Tuning of Low-Bit Diffusion Models"
(arXiv 2310.03270, ICLR 2024).

Not post-training quantization in the narrow sense: the whole backbone is fine-tuned, on no data but its own
trajectories. Section 3.2: low-rank updates of the weights are merged before rounding, so that nothing is left beside
the codes. Section 3.3: an update learns in steps that are a share of the layer's step size. Section 3.4: activations
have a learned step size for each timestep. The objective is the squared error of the prediction along full-precision
trajectories. Numbers of the `paper` preset are those of the released code (ThisisBillhe/EfficientDM).

Departures. A step draws samples of all timesteps, from a recorded set, instead of one timestep after the other. Step
sizes are learned relative to their start. Skip convolutions have the bits that they have under every other method. The
fine-tuned backbone is kept only if the error is lower on held-out prompts, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from admbench.methods.blockwise import BlockwiseMethod, SampledConfig
from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.layers.policy import backbone_ends, uniform_policy
from admbench.methods.core.numbers.search import fit_lp, fit_mse
from admbench.methods.core.reconstruction.blockwise import BlockwiseQuantization
from admbench.methods.core.reconstruction.low_rank import LowRankUpdate
from admbench.methods.core.reconstruction.objective import BlockTask, Effort, Learner
from admbench.methods.core.reconstruction.step_sizes import StepSizes
from admbench.methods.protocol import DenoisingModel
from admbench.taxonomy import arxiv


class EfficientDMConfig(SampledConfig):
    """Options of `efficientdm`."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {
            "calibration": "per-step",
            "samples": 128,
            "iterations": 100,
            "learning_rate": 0.02,
            "scale_learning_rate": 1e-3,
            "step_learning_rate": 1e-3,
        },
        "paper": {
            "calibration": "per-step",
            "prompts": 64,
            "steps": 100,
            "samples": 3200,
            "batch": 4,
            "iterations": 16_000,
            "learning_rate": 1 / 2500,
            "scale_learning_rate": 1e-4,
            "step_learning_rate": 5e-4,
        },
    }

    iterations: int = Field(100, ge=0, le=1_000_000)
    """Iterations for the backbone as a whole."""
    rank: int = Field(32, ge=1, le=4096)
    """Of the update of a layer."""
    learning_rate: float = Field(0.02, gt=0, le=10)
    """Of the updates, in step sizes of the layer."""
    scale_learning_rate: float = Field(1e-3, gt=0, le=10)
    """Of the weights' step sizes, relative to their start."""
    step_learning_rate: float = Field(1e-3, gt=0, le=10)
    """Of the activations' step sizes, relative to their start."""


class EfficientDM(BlockwiseMethod):
    """Fine-tune the backbone through low-rank updates that are merged into its codes, with activations per timestep.

    Weights per output channel; activations per tensor and timestep. The first and the last layer keep at least 8 bits.
    """

    name = "efficientdm"
    summary = "quantization-aware low-rank fine-tuning, step sizes per timestep (2310.03270)"
    version = "2"
    track = "fine-tuned"
    family = "fine-tuning"
    paper = arxiv(
        "2310.03270",
        "He et al., EfficientDM: Efficient Quantization-Aware Fine-Tuning of Low-Bit Diffusion Models, ICLR 2024",
    )
    claims = frozenset({"drifting ranges"})
    Config: ClassVar[type[EfficientDMConfig]] = EfficientDMConfig
    config: EfficientDMConfig

    def reconstruct(self, work: BlockwiseQuantization, model: DenoisingModel, calibration: CalibrationSet) -> None:
        """See `BlockwiseMethod`."""
        config = self.config
        work.round_to_nearest(uniform_policy(*self.spec.sides, backbone_ends(model.backbone, work.order)), fit_lp)
        if self.spec.bits[1] != 16:
            work.learn_inputs(fit_mse, Effort(0), per_timestep=True)
        effort = Effort(config.iterations, config.batch)

        def learners(task: BlockTask) -> list[Learner]:
            rates = config.learning_rate, config.scale_learning_rate
            return [
                LowRankUpdate(task.layers, work.float_layers, config.rank, *rates, work.generator),
                StepSizes(task.layers, effort, config.step_learning_rate, work.generator),
            ]

        work.learn_backbone(learners, effort)
