"""`tcaq-dm`: Huang et al., "TCAQ-DM: Timestep-Channel Adaptive Quantization for Diffusion Models" (arXiv 2412.16700).

Three parts, written after the paper's description; there is no released code, and two of its formulas could not be
verified. Timestep-channel reparameterization: a layer's input is divided, channel by channel, by a scale from its
maxima over groups of timesteps, and the weight is multiplied by it. Here the maximum of a channel is the mean of its
maxima in `GROUPS` groups of steps, a group weighted by how wide the layer's input is in it, and the scale shares the
range between input and weight as SmoothQuant's does. Dynamic adaptive quantizer: attention weights that follow a power
law are rounded to powers of two, others evenly; the law is decided by the likelihood of a Pareto against an exponential
distribution (Clauset et al., arXiv 0706.1062). Here one choice and one range hold for all timesteps, the paper has them
per step. Progressively aligned reconstruction: when every block is reconstructed, calibration data is drawn again, of
trajectories of the quantized model, and blocks are reconstructed a second time with fewer iterations.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from admbench.methods.blockwise import BlockwiseMethod, SampledConfig
from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.calibration.ranges import BATCH_SIZE, sample_values, watch_inputs
from admbench.methods.core.calibration.statistics import ChannelStatistics, channel_rows
from admbench.methods.core.layers.attention import AttentionSites, set_sites, watch_operands
from admbench.methods.core.layers.kinds import quantizable_layers
from admbench.methods.core.layers.policy import backbone_ends, uniform_policy
from admbench.methods.core.numbers.codebooks import Log2Quantizer
from admbench.methods.core.numbers.quantizer import Quantizer
from admbench.methods.core.numbers.scheme import Scheme, activation_scheme
from admbench.methods.core.numbers.search import fit_lp
from admbench.methods.core.reconstruction.blockwise import BlockwiseQuantization
from admbench.methods.core.reconstruction.objective import Effort
from admbench.methods.core.reconstruction.smoothing import smoothing_scale
from admbench.methods.protocol import DenoisingModel
from admbench.taxonomy import arxiv

GROUPS = 5
"""Groups of consecutive steps whose maxima are averaged."""
SAMPLED = 4096
"""Attention weights of a call, of each attention, that its law is decided by."""


class TCAQConfig(SampledConfig):
    """Options of `tcaq-dm`."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"again": 50},
        "paper": {"batch": 32, "again": 5000},
    }

    again: int = Field(50, ge=0, le=1_000_000)
    """Iterations on trajectories of the quantized model; 0 leaves this part out."""
    alpha: float = Field(0.11, ge=0, le=1)
    """Share of the inputs' range that the weights take over."""


class TCAQDM(BlockwiseMethod):
    """Balance channels over timesteps, choose the quantizer of attention weights, reconstruct twice.

    Weights per output channel; activations per tensor. The first and the last layer keep at least 8 bits.
    """

    name = "tcaq-dm"
    summary = "channels balanced over timesteps, log2 or even attention weights, two reconstructions (2412.16700)"
    version = "2"
    track = "post-training"
    family = "block reconstruction"
    paper = arxiv(
        "2412.16700", "Huang et al., TCAQ-DM: Timestep-Channel Adaptive Quantization for Diffusion Models, 2024"
    )
    takes_formats = True
    claims = frozenset({"channel outliers"})
    Config: ClassVar[type[TCAQConfig]] = TCAQConfig
    config: TCAQConfig

    def reconstruct(self, work: BlockwiseQuantization, model: DenoisingModel, calibration: CalibrationSet) -> None:
        """See `BlockwiseMethod`."""
        config, (weight_bits, activation_bits) = self.config, self.spec.bits
        scales = {} if activation_bits == 16 else channel_scales(model, calibration, config.alpha)
        ends = backbone_ends(model.backbone, work.order)
        work.round_to_nearest(uniform_policy(*self.spec.sides, ends), fit_lp, scales)
        scheme = activation_scheme(activation_bits)
        if scheme is not None:
            for name, quantizer in softmax_quantizers(model, calibration, scheme).items():
                set_sites(work.module, name, AttentionSites({"softmax": quantizer}))

        def learn(iterations: int) -> None:
            if weight_bits != 16:
                work.learn_weights(Effort(iterations, config.batch, config.learning_rate))
            if activation_bits != 16:
                work.learn_inputs(fit_lp, Effort(0))

        learn(config.iterations)
        if config.again:
            own, model.backbone = model.backbone, work.module
            try:
                drawn = config.recipe_for(model).draw(model, calibration.prompts, seed=calibration.seed)
            finally:
                model.backbone = own
            work.use(self.samples(drawn))
            learn(config.again)


def channel_scales(model: DenoisingModel, calibration: CalibrationSet, alpha: float) -> dict[str, Tensor]:
    """Return what each layer's input is divided by, (in,), from its channels' maxima over groups of steps."""
    layers = quantizable_layers(model.backbone)
    maxima: dict[str, list[Tensor]] = {}
    for steps in calibration.step.unique().chunk(GROUPS):
        group: dict[str, Tensor] = {}

        def see(name: str, values: Tensor, group: dict[str, Tensor] = group) -> None:
            largest = channel_rows(layers[name], values).abs().amax(0).float()
            group[name] = torch.maximum(group[name], largest) if name in group else largest

        chosen = torch.nonzero(torch.isin(calibration.step, steps)).reshape(-1)
        watch_inputs(model, calibration.take(chosen), layers, see)
        for name, largest in group.items():
            maxima.setdefault(name, []).append(largest)
    scales = {}
    for name, of_groups in maxima.items():
        stacked = torch.stack(of_groups)
        weights = stacked.mean(1, keepdim=True)
        largest = (stacked * weights).sum(0) / weights.sum().clamp(min=torch.finfo(torch.float32).tiny)
        if getattr(layers[name], "groups", 1) == 1:
            scales[name] = smoothing_scale(layers[name], ChannelStatistics(-largest, largest, largest), alpha)
    return scales


@torch.no_grad()
def softmax_quantizers(model: DenoisingModel, calibration: CalibrationSet, scheme: Scheme) -> dict[str, Quantizer]:
    """Return a quantizer of each attention's weights: powers of two where these follow a power law, else even steps."""
    seen: dict[str, list[Tensor]] = {}

    def see(name: str, operand: str, values: Tensor) -> None:
        if operand == "softmax":
            seen.setdefault(name, []).append(sample_values(values, SAMPLED))

    own = model.backbone
    model.backbone = copy.deepcopy(own)
    watch_operands(model.backbone, see)
    try:
        for inputs in calibration.batches(BATCH_SIZE):
            model.call_backbone(inputs)
    finally:
        model.backbone = own
    quantizers: dict[str, Quantizer] = {}
    for name, parts in seen.items():
        values = torch.cat(parts)
        if follows_power_law(values):
            log2 = Scheme(bits=scheme.bits, granularity="tensor", symmetric=False, codebook="log2")
            quantizers[name] = Log2Quantizer.fit(log2, values)
        else:
            quantizers[name] = fit_lp(scheme, values.reshape(1, -1))
    return quantizers


def follows_power_law(values: Tensor) -> bool:
    """Return whether positive numbers are likelier under a Pareto than under an exponential distribution.

    Both start at the median, above which the tail is looked at; each has its maximum-likelihood parameter.
    """
    tail = values[values > 0].double()
    least = tail.median()
    tail = tail[tail > least]
    if not len(tail):
        return False
    logs, excess = (tail / least).log(), tail - least
    exponent, rate = 1 / logs.mean(), 1 / excess.mean()  # of the density, less 1; of the exponential
    pareto = (exponent / least).log() - (exponent + 1) * logs.mean()
    exponential = rate.log() - 1
    return bool(pareto > exponential)
