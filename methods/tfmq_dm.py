"""`tfmq-dm`: Huang et al., "TFMQ-DM: Temporal Feature Maintenance Quantization" (arXiv 2311.16503, CVPR 2024).

Section 4.1: the layers that only the timestep enters, its embedding and the projection of it in every ResNet block, are
reconstructed together, for what the projections return and for nothing of the latent. Section 4.2: activations get one
range for each timestep of the sampler ("finite set calibration"), fitted to samples of that step alone. All other
weights are reconstructed block by block. Layers that read a shortcut concatenation are split as in `q-diffusion`,
as the released script for Stable Diffusion does. Numbers of the `paper` preset are those of the released code
(ModelTC/TFMQ-DM).

Departures. A vector of the caption is part of the embedding in AudioLDM's networks: what enters the temporal block is
then not a finite set, and the block is reconstructed on calibration captions. The released code leaves shortcut,
down-sampling and the outermost layers in floating point; here they have the bits that they have under every other
method, so that results compare. Ranges of a timestep are searched on its samples once, where the released code goes on
with a running mean of their ends. A block that learning does not improve, on held-out prompts as well, keeps the
nearest roundings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from admbench.methods.blockwise import BlockwiseMethod, SampledConfig
from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.layers.policy import backbone_ends, uniform_policy
from admbench.methods.core.numbers.search import fit_lp, fit_mse
from admbench.methods.core.reconstruction.blockwise import BlockwiseQuantization
from admbench.methods.core.reconstruction.objective import Effort
from admbench.methods.protocol import DenoisingModel
from admbench.taxonomy import arxiv


class TFMQConfig(SampledConfig):
    """Options of `tfmq-dm`."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"calibration": "per-step", "samples": 128},
        "paper": {"calibration": "per-step"},
    }


class TFMQDM(BlockwiseMethod):
    """Reconstruct what the timestep enters as one block, and give activations a range for each timestep.

    Weights per output channel; activations per tensor and timestep. The first and the last layer keep at least 8 bits.
    """

    name = "tfmq-dm"
    summary = "temporal information block, activation ranges per timestep (2311.16503)"
    version = "2"
    track = "post-training"
    family = "block reconstruction"
    paper = arxiv(
        "2311.16503", "Huang et al., TFMQ-DM: Temporal Feature Maintenance Quantization for Diffusion Models, CVPR 2024"
    )
    takes_formats = True
    claims = frozenset({"drifting ranges"})
    Config: ClassVar[type[TFMQConfig]] = TFMQConfig
    config: TFMQConfig

    def reconstruct(self, work: BlockwiseQuantization, model: DenoisingModel, calibration: CalibrationSet) -> None:
        """See `BlockwiseMethod`."""
        config, (weight_bits, activation_bits) = self.config, self.spec.bits
        ends = backbone_ends(model.backbone, work.order)
        work.split_concatenations()
        work.round_to_nearest(uniform_policy(*self.spec.sides, ends), fit_lp)
        effort = Effort(config.iterations, config.batch, config.learning_rate)
        if weight_bits != 16:
            work.learn_temporal_block(effort)
            work.learn_weights(effort)
        if activation_bits != 16:
            work.learn_inputs(fit_mse, Effort(0), per_timestep=True)
