"""`eda-dm`: Liu et al., "EDA-DM: Enhanced Distribution Alignment for Post-Training Quantization of Diffusion Models"
(arXiv 2401.04585).

Calibration samples are allotted to timesteps by density and variety (section 4.1, `calibration=tdac`). Fine-grained
block reconstruction (section 4.2) adds to the objective of a block those of the layers inside of it, so that layers are
aligned where their errors would cancel in the block's output on the calibration samples alone:

    L = |block error|^2 + 0.8 * sum over its layers but the last of |layer error|^2

Layers that read a shortcut concatenation are split as in `q-diffusion`, as the released code does. Roundings and
step sizes are learned side by side, half of the input numbers in full precision in a step (QDrop), and without a term
that drives roundings to 0 or 1. Numbers of the `paper` preset are those of the released code for Stable Diffusion with
4-bit weights; there is no licence on that code, and none of it is here.

Departures. A block that learning does not improve, on held-out prompts as well, keeps the nearest roundings. Step sizes
are learned relative to their start. What `tdac` departs in is said there. Attention products are not quantized.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from admbench.methods.blockwise import BlockwiseMethod, SampledConfig
from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.layers.policy import backbone_ends, uniform_policy
from admbench.methods.core.numbers.search import fit_lp
from admbench.methods.core.reconstruction.blockwise import BlockwiseQuantization
from admbench.methods.core.reconstruction.objective import Effort
from admbench.methods.protocol import DenoisingModel
from admbench.taxonomy import arxiv


class EDADMConfig(SampledConfig):
    """Options of `eda-dm`."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"calibration": "tdac", "timesteps": 8, "step_learning_rate": 0.001},
        "paper": {
            "calibration": "tdac",
            "timesteps": 2,
            "samples": 512,
            "batch": 2,
            "iterations": 1000,
            "learning_rate": 0.03,
            "step_learning_rate": 1e-4,
        },
    }

    step_learning_rate: float = Field(0.001, gt=0, le=10)
    """Of the step sizes, relative to their start."""
    inner_weight: float = Field(0.8, ge=0, le=100)
    """Weight of the layers inside of a block; 0 is block reconstruction alone."""
    drop: float = Field(0.5, ge=0, lt=1)
    """Probability that an input number stays in full precision in a step."""


class EDADM(BlockwiseMethod):
    """Reconstruct every block and the layers inside of it, roundings and step sizes together.

    Weights per output channel, activations per tensor, one range for all timesteps. The first and the last layer keep
    at least 8 bits.
    """

    name = "eda-dm"
    summary = "fine-grained block reconstruction, timesteps by density and variety (2401.04585)"
    version = "2"
    track = "post-training"
    family = "block reconstruction"
    paper = arxiv(
        "2401.04585",
        "Liu et al., EDA-DM: Enhanced Distribution Alignment for Post-Training Quantization of Diffusion Models, 2024",
    )
    takes_formats = True
    Config: ClassVar[type[EDADMConfig]] = EDADMConfig
    config: EDADMConfig

    def reconstruct(self, work: BlockwiseQuantization, model: DenoisingModel, calibration: CalibrationSet) -> None:
        """See `BlockwiseMethod`."""
        config = self.config
        ends = backbone_ends(model.backbone, work.order)
        work.split_concatenations()
        work.round_to_nearest(uniform_policy(*self.spec.sides, ends), fit_lp)
        effort = Effort(
            config.iterations,
            config.batch,
            config.learning_rate,
            step_learning_rate=config.step_learning_rate,
            round_weight=0,
            drop=config.drop,
            inner_weight=config.inner_weight,
        )
        work.learn_jointly(fit_lp, effort)
