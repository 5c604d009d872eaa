"""`passionsr`: Zhu et al., "PassionSR: Post-Training Quantization with Adaptive Scale in One-Step Diffusion based Image
Super-Resolution" (arXiv 2411.17106, CVPR 2025).

Made for networks that run once: no timestep is treated on its own, whatever number of them a model has. A layer's input
is shifted and divided channel by channel, which its weight and bias make up for; scales and offsets are learned
("learnable equivalent transformation"), scales from max|x|^a / max|W|^a on. Then, the transformation being fixed, the
ends of all ranges are learned ("learnable boundary quantizer"). Both stages learn the network's own output, as
"distributed quantization calibration" has it; the other networks of a pipeline are components of their own
(`--components`). There is no licence on the released code, and none of it is here.

Departures. Offsets are learned where the layer has a bias and pads no zeros. What a stage learns is kept only if the
error is lower on held-out prompts, too. Learning rates are relative to where things start; the published one, 1e-5, is
absolute.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import torch
from pydantic import Field

from admbench.methods.blockwise import BlockwiseMethod, SampledConfig
from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.calibration.statistics import channel_statistics
from admbench.methods.core.layers.kinds import quantizable_layers
from admbench.methods.core.layers.policy import backbone_ends, uniform_policy
from admbench.methods.core.layers.quantized import quantized_layers
from admbench.methods.core.numbers.quantizer import Quantizer
from admbench.methods.core.reconstruction.blockwise import BlockwiseQuantization
from admbench.methods.core.reconstruction.equivalent import LEAST, EquivalentTransform, LayerState
from admbench.methods.core.reconstruction.objective import BlockTask, Effort, Learner
from admbench.methods.protocol import DenoisingModel
from admbench.taxonomy import arxiv


class PassionSRConfig(SampledConfig):
    """Options of `passionsr`."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"samples": 64, "iterations": 40, "learning_rate": 0.01},
        "paper": {"prompts": 500, "samples": 1000, "batch": 1, "iterations": 1000},
    }

    iterations: int = Field(40, ge=0, le=1_000_000)
    """Iterations of each of the two stages."""
    learning_rate: float = Field(0.01, gt=0, le=10)
    """Of scales, offsets and ends of ranges, relative to where they start."""
    alpha: float = Field(0.5, ge=0, le=1)
    """a of the scales' start."""


class PassionSR(BlockwiseMethod):
    """Learn scales and offsets of inputs for the network's output, then the ends of all ranges.

    Weights per output channel; activations per tensor. The first and the last layer keep at least 8 bits.
    """

    name = "passionsr"
    summary = "learned scales, offsets and bounds, for one-step models (2411.17106)"
    version = "3"
    track = "post-training"
    family = "block reconstruction"
    paper = arxiv(
        "2411.17106",
        "Zhu et al., PassionSR: Post-Training Quantization with Adaptive Scale in One-Step Diffusion based Image"
        " Super-Resolution, CVPR 2025",
    )
    Config: ClassVar[type[PassionSRConfig]] = PassionSRConfig
    config: PassionSRConfig

    def reconstruct(self, work: BlockwiseQuantization, model: DenoisingModel, calibration: CalibrationSet) -> None:
        """See `BlockwiseMethod`."""
        config, layers = self.config, quantizable_layers(model.backbone)
        seen = channel_statistics(model, self.samples(calibration), layers)
        policy = uniform_policy(*self.spec.bits, backbone_ends(model.backbone, work.order))
        work.round_to_nearest(policy, Quantizer.min_max)
        states = []
        for name, layer in quantized_layers(work.module).items():
            if name not in work.order or getattr(layers[name], "groups", 1) != 1:
                continue
            own, weight = seen[name], layers[name].weight.detach().abs().transpose(0, 1).flatten(1).amax(1)
            ratio = own.largest.clamp(min=LEAST) / weight.clamp(min=LEAST)
            start = torch.where(own.largest > 0, ratio**config.alpha, 1.0)
            states.append(LayerState(layer, layers[name], policy.scheme_of(name), own.low, own.high, start))
        effort = Effort(config.iterations, config.batch)
        for stage in ("transform", "bounds"):
            learner = EquivalentTransform(states, stage, config.learning_rate)
            work.learn_backbone(partial(_just, learner), effort)


def _just(learner: Learner, task: BlockTask) -> list[Learner]:
    return [learner]
