"""`qncd`: Chu et al., "QNCD: Quantization Noise Correction for Diffusion Models" (arXiv 2403.19140, ACM MM 2024).

Two kinds of quantization noise. Intra: in a ResNet block the timestep's embedding is added before a norm, and makes
some channels of the second convolution's input far larger than others, which one range per tensor then serves badly.
Channels are smoothed by what the embedding does to them. The convolution's input is divided by

    s = mean over the calibration set of max(norm(embedding), 1), times the norm's weight

per channel, norm being the block's own without its affine part, and its weights are multiplied by s, which changes
nothing in full precision. The normed embedding keeps its sign, as in the released code: what it makes very negative is
small behind the norm's SiLU. Inter: noise adds up along the trajectory. Its mean at each timestep is subtracted from
the prediction, see `core.reconstruction.correction`.

Departures. The norm's weight counts by its magnitude, at least 1e-5, so that scales are positive: divided and
multiplied by either sign comes to the same. The released sampler estimates the mean noise as it runs: every tenth step
it noises its latent again, runs the quantized network on it, and takes the difference to the noise that it added, which
stays until the next estimate; it computes the deviation too, for the noise of a stochastic sampler, and sets it to 0.
Here the mean is that of the difference to full precision on the calibration set, at every timestep there: it needs no
sampler of its own, holds whatever a network predicts, and costs nothing while sampling. Deviations are not corrected.
Weights are reconstructed block by block as in `q-diffusion`; step sizes are not learned, as in the released code.
Transformer blocks are quantized, which the released text-to-image script leaves in floating point.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from admbench.methods.blockwise import BlockwiseMethod, SampledConfig
from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.calibration.ranges import BATCH_SIZE
from admbench.methods.core.layers.policy import backbone_ends, uniform_policy
from admbench.methods.core.layers.quantized import QuantizedLayer
from admbench.methods.core.numbers.search import fit_lp
from admbench.methods.core.reconstruction.blockwise import BlockwiseQuantization
from admbench.methods.core.reconstruction.correction import correct, mean_noise
from admbench.methods.core.reconstruction.objective import Effort
from admbench.methods.core.reconstruction.smoothing import LEAST_SCALE
from admbench.methods.protocol import DenoisingModel
from admbench.taxonomy import arxiv


class QNCDConfig(SampledConfig):
    """Options of `qncd`."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"quick": {"timesteps": 25}}

    correction: bool = True
    """Whether the mean of the quantization noise is subtracted from the prediction."""


class QNCD(BlockwiseMethod):
    """Smooth the channels that timestep embeddings amplify, reconstruct every block, correct what is left on average.

    Weights per output channel; activations per tensor, one range for all timesteps. The first and the last layer keep
    at least 8 bits.
    """

    name = "qncd"
    summary = "channels smoothed by the timestep embedding's norm, mean noise subtracted by timestep (2403.19140)"
    version = "3"
    track = "post-training"
    family = "block reconstruction"
    paper = arxiv("2403.19140", "Chu et al., QNCD: Quantization Noise Correction for Diffusion Models, ACM MM 2024")
    takes_formats = True
    Config: ClassVar[type[QNCDConfig]] = QNCDConfig
    config: QNCDConfig

    def reconstruct(self, work: BlockwiseQuantization, model: DenoisingModel, calibration: CalibrationSet) -> None:
        """See `BlockwiseMethod`."""
        config, (weight_bits, activation_bits) = self.config, self.spec.bits
        scales = {} if activation_bits == 16 else embedding_scales(model, calibration)
        ends = backbone_ends(model.backbone, work.order)
        work.round_to_nearest(uniform_policy(*self.spec.sides, ends), fit_lp, scales)
        if weight_bits != 16:
            work.learn_weights(Effort(config.iterations, config.batch, config.learning_rate))
        if activation_bits != 16:
            work.learn_inputs(fit_lp, Effort(0))
        noise = mean_noise(model, work.module, calibration) if config.correction else None
        if noise is not None:
            correct(work.module, noise)


@torch.no_grad()
def embedding_scales(model: DenoisingModel, calibration: CalibrationSet) -> dict[str, Tensor]:
    """Return what the input of each ResNet block's second convolution is divided by, (channels,), positive.

    Of blocks that add a projected timestep embedding before a group norm, as diffusers' `ResnetBlock2D` does.
    """
    blocks: dict[str, Any] = {name: block for name, block in model.backbone.named_modules() if adds_embedding(block)}
    sums: dict[str, Tensor] = {}
    counts: dict[str, int] = {}

    def note(name: str, embedding: Tensor) -> None:
        norm = blocks[name].norm2
        normed = F.group_norm(embedding[:, :, None].float(), norm.num_groups, eps=norm.eps)[:, :, 0]
        total = normed.clamp(min=1).sum(0)
        sums[name] = sums[name] + total if name in sums else total
        counts[name] = counts.get(name, 0) + len(embedding)

    hooks = [
        block.time_emb_proj.register_forward_hook(lambda module, args, output, name=name: note(name, output))
        for name, block in blocks.items()
    ]
    try:
        for inputs in calibration.batches(BATCH_SIZE):
            model.call_backbone(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    scales = {name: total / counts[name] for name, total in sums.items()}
    for name, scale in scales.items():
        if blocks[name].norm2.weight is not None:
            scale.mul_(blocks[name].norm2.weight.detach().abs().float())
    return {f"{name}.conv2": scale.clamp(min=LEAST_SCALE) for name, scale in scales.items()}


def adds_embedding(block: nn.Module) -> bool:
    """Return whether a module is a ResNet block that adds its timestep embedding before its second norm."""
    projection, convolution = getattr(block, "time_emb_proj", None), getattr(block, "conv2", None)
    return (
        isinstance(projection, nn.Linear | QuantizedLayer)
        and isinstance(convolution, nn.Conv2d)
        and convolution.groups == 1
        and isinstance(getattr(block, "norm2", None), nn.GroupNorm)
        and getattr(block, "time_embedding_norm", None) == "default"
    )
