"""`ptq4dm`: Shang et al., "Post-training Quantization on Diffusion Models" (arXiv 2211.15736, CVPR 2023).

What is new in the paper is the calibration set: timesteps drawn from a normal distribution that leans to the clean end,
each sample taken from a denoising trajectory of its own (section 3.3, "normally distributed timesteps"). What is done
with the set is QDrop (arXiv 2203.05740): block reconstruction of roundings and step sizes together, with half of the
input numbers left in full precision in each step. Symmetric weights and activations; the first and the last layer keep
8 bits. Published at W8A8.

The pairing. A sample drawn at t is recorded where its trajectory is at t. In the released code (42Shawn/PTQ4DM) it is
recorded where a loop index is t that counts up while t runs down, and is labelled t: it comes from the other end of the
trajectory.

Departures. A prompt gives several samples in the `quick` preset. Both halves of guidance are recorded. A fifth of the
prompts is held out, and a block that reconstruction does not improve on these too stays as it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from admbench.methods.blockwise import BlockwiseMethod, ReconstructionConfig
from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.layers.policy import Policy, backbone_ends, uniform_policy
from admbench.methods.core.numbers.scheme import Scheme, Side
from admbench.methods.core.numbers.search import fit_mse
from admbench.methods.core.reconstruction.blockwise import BlockwiseQuantization
from admbench.methods.core.reconstruction.objective import Effort
from admbench.methods.protocol import DenoisingModel
from admbench.taxonomy import arxiv

DROP = 0.5
"""Probability that an input number stays in full precision in a step."""


class PTQ4DMConfig(ReconstructionConfig):
    """Options of `ptq4dm`."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"timesteps": 4, "iterations": 100, "learning_rate": 0.05},
        "paper": {"prompts": 1024, "timesteps": 1, "batch": 32, "iterations": 100},
    }

    calibration: str = "normal"
    """How calibration data is drawn; the paper's way by default."""
    step_learning_rate: float = Field(1e-3, gt=0, le=10)
    """Of the step sizes, relative to their start."""


class PTQ4DM(BlockwiseMethod):
    """Reconstruct every block, roundings and step sizes together, on data of normally distributed timesteps.

    Weights per output channel, activations per tensor, one range for all timesteps, all symmetric.
    """

    name = "ptq4dm"
    summary = "QDrop block reconstruction on normally distributed timesteps, each sample of its true step (2211.15736)"
    version = "2"
    track = "post-training"
    family = "block reconstruction"
    paper = arxiv("2211.15736", "Shang et al., Post-training Quantization on Diffusion Models, CVPR 2023")
    takes_formats = True
    Config: ClassVar[type[PTQ4DMConfig]] = PTQ4DMConfig
    config: PTQ4DMConfig

    def reconstruct(self, work: BlockwiseQuantization, model: DenoisingModel, calibration: CalibrationSet) -> None:
        """See `BlockwiseMethod`."""
        config = self.config
        ends = backbone_ends(model.backbone, work.order)
        work.round_to_nearest(symmetric_policy(*self.spec.sides, ends), fit_mse)
        effort = Effort(config.iterations, config.batch, config.learning_rate, config.step_learning_rate, drop=DROP)
        work.learn_jointly(fit_mse, effort)


def symmetric_policy(weight_side: Side, activation_side: Side, ends: tuple[str, str]) -> Policy:
    """Return symmetric schemes of the same bits for every layer, but for the `ends`, which keep at least 8.

    A number format stays what it is.
    """

    def symmetric(scheme: Scheme) -> Scheme:
        if scheme.published:
            return scheme
        return Scheme(bits=scheme.bits, granularity=scheme.granularity, symmetric=True)

    return uniform_policy(weight_side, activation_side, ends).changed(weight=symmetric, activation=symmetric)
