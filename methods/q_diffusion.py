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

from collections.abc import Mapping
from typing import Any, ClassVar

from admbench.methods.blockwise import BlockwiseMethod, SampledConfig, StepSizeConfig
from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.layers.policy import backbone_ends, uniform_policy
from admbench.methods.core.numbers.search import POWER, fit_lp
from admbench.methods.core.reconstruction.blockwise import BlockwiseQuantization
from admbench.methods.core.reconstruction.objective import Effort
from admbench.methods.protocol import DenoisingModel
from admbench.taxonomy import arxiv


class QDiffusionConfig(SampledConfig, StepSizeConfig):
    """Options of `q-diffusion`."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"timesteps": 25},
    }


class QDiffusion(BlockwiseMethod):
    """Reconstruct every block on data from all timesteps: first its roundings, then its activations' step sizes.

    Weights per output channel, activations per tensor, one range for all timesteps. The first and the last layer keep
    at least 8 bits.
    """

    name = "q-diffusion"
    summary = "AdaRound block reconstruction, split shortcuts, learned activation step sizes (2302.04304)"
    version = "2"
    track = "post-training"
    family = "block reconstruction"
    paper = arxiv("2302.04304", "Li et al., Q-Diffusion: Quantizing Diffusion Models, ICCV 2023")
    takes_formats = True
    Config: ClassVar[type[QDiffusionConfig]] = QDiffusionConfig
    config: QDiffusionConfig

    def reconstruct(self, work: BlockwiseQuantization, model: DenoisingModel, calibration: CalibrationSet) -> None:
        """See `BlockwiseMethod`."""
        config, (weight_bits, activation_bits) = self.config, self.spec.bits
        ends = backbone_ends(model.backbone, work.order)
        work.split_concatenations()
        work.round_to_nearest(uniform_policy(*self.spec.sides, ends), fit_lp)
        if weight_bits != 16:
            work.learn_weights(Effort(config.iterations, config.batch, config.learning_rate))
        if activation_bits != 16:
            steps = Effort(config.step_iterations, config.batch, config.step_learning_rate, power=POWER)
            work.learn_inputs(fit_lp, steps)
