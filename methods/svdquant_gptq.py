"""`svdquant-gptq`: Wu et al., "Timestep-Aware SVDQuant-GPTQ for W4A4 Quantization of Wan2.2-I2V" (arXiv 2605.27003).

Three parts, by the abstract. SVDQuant: outliers are smoothed into the weight, and a low-rank branch in 16 bits takes
them up. GPTQ: what is left of the weight is rounded column by column, for the outputs' sake. And since inputs differ
from one end of the trajectory to the other, their ranges of run time are clipped by a ratio that is searched for each
layer and each bin of timesteps, by the error of the layer's output as it runs.

Reconstructed from the abstract and the beginning of the introduction; nothing else could be read, and no code was
found. Smoothing, rank and groups are those of `svdquant`, GPTQ is that of `gptq` on the smoothed inputs; the ratios
tried, `RATIOS`, and the number of bins are ours. Wan2.2 has a network for either half of the trajectory, and the
paper searches each apart; where there is one network, bins alone are what tells timesteps apart.

Departures. Codes of GPTQ that do worse than the nearest ones, on the layer as it runs, are not taken. A bin is some
neighbouring timesteps of the calibration set, as many in each. A number format's own ranges are not clipped. Else as
`svdquant`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.calibration.statistics import ChannelStatistics, input_rows_by_bin, timestep_bins
from admbench.methods.core.layers.kinds import QuantizableLayer, over_inputs, quantizable_layers
from admbench.methods.core.layers.policy import Policy
from admbench.methods.core.layers.quantized import QuantizedLayer, dynamic_input
from admbench.methods.core.numbers.dynamic import DynamicQuantizer
from admbench.methods.core.numbers.fitting import fit_weight
from admbench.methods.core.numbers.quantizer import Quantizer
from admbench.methods.core.numbers.scheme import LayerScheme
from admbench.methods.core.numbers.timesteps import ClippedInput
from admbench.methods.core.reconstruction.error_feedback import gptq_codes
from admbench.methods.core.reconstruction.run_layer import RunLayer
from admbench.methods.core.reconstruction.smoothed_branch import Decomposition, decompose
from admbench.methods.layerwise import BranchConfig, BranchMethod
from admbench.methods.protocol import DenoisingModel
from admbench.taxonomy import arxiv

RATIOS = tuple(1 - step / 20 for step in range(11))
"""Of a range that are tried: 1.00, 0.95, ... 0.50."""


class SVDQuantGPTQConfig(BranchConfig):
    """Options of `svdquant-gptq`."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"positions": 2048},
        "paper": {"positions": 16_384},
    }

    bins: int = Field(default=4, ge=1, le=1000)
    """Of timesteps, with a ratio each; at most as many as there are timesteps in the calibration set."""
    damping: float = Field(default=0.01, gt=0, le=1)
    """Share of the mean of the Gram matrix's diagonal that is added to it."""


@dataclass(frozen=True)
class Solution:
    """A layer as the method leaves it."""

    scale: Tensor
    """(in,), what the input is divided by."""
    quantizer: Quantizer
    """What the codes mean."""
    codes: Tensor
    """uint8, of the weight's shape."""
    branch: tuple[Tensor, Tensor]
    """float16 (rank, ...) and (out, rank)."""
    activation: Quantizer | None
    """Of the input, clipped; None where it stays as it is."""


class SVDQuantGPTQ(BranchMethod[Solution]):
    """SVDQuant, its residual rounded by GPTQ, its inputs clipped by a ratio for each bin of timesteps."""

    name = "svdquant-gptq"
    summary = "svdquant, GPTQ on the residual, inputs clipped by bins of timesteps (2605.27003)"
    version = "1"
    track = "post-training"
    family = "low rank"
    paper = arxiv(
        "2605.27003",
        "Wu et al., Timestep-Aware SVDQuant-GPTQ for W4A4 Quantization of Wan2.2-I2V, 2026",
        read="abstract",
    )
    takes_formats = True
    claims = frozenset({"channel outliers", "heavy-tailed weights", "drifting ranges"})
    Config: ClassVar[type[SVDQuantGPTQConfig]] = SVDQuantGPTQConfig
    config: SVDQuantGPTQConfig

    def solve(
        self,
        model: DenoisingModel,
        calibration: CalibrationSet,
        policy: Policy,
        seen: Mapping[str, ChannelStatistics],
    ) -> Mapping[str, Solution]:
        """See `LayerwiseMethod`; nothing where weights stay as they are."""
        if self.spec.bits[0] == 16:
            return {}
        layers, config = quantizable_layers(model.backbone), self.config
        timesteps, parts = zip(*timestep_bins(model, calibration, config.bins), strict=True)
        return {
            name: solve_layer(
                RunLayer.of(layers[name], policy.scheme_of(name), torch.cat(rows)),
                dict(zip(timesteps, map(len, rows), strict=True)),
                seen[name],
                config,
            )
            for name, rows in input_rows_by_bin(model, parts, list(seen), config.positions)
        }

    def quantize_layer(
        self,
        name: str,
        layer: QuantizableLayer,
        scheme: LayerScheme,
        seen: ChannelStatistics,
        solution: Solution | None,
    ) -> QuantizedLayer:
        """See `LayerwiseMethod`."""
        if solution is None:  # a convolution in groups, or weights in 16 bits
            activation = None if scheme.activation is None else dynamic_input(scheme.activation, layer)
            weight = None if scheme.weight is None else fit_weight(scheme.weight, layer.weight.detach())
            return QuantizedLayer.from_float(layer, weight, activation)
        return QuantizedLayer(
            layer,
            weight_codes=solution.codes,
            weight_quantizer=solution.quantizer,
            activation_quantizer=solution.activation,
            input_scale=solution.scale,
            low_rank=solution.branch,
        )


@torch.no_grad()
def solve_layer(
    run: RunLayer,
    bins: Mapping[tuple[float, ...], int],
    seen: ChannelStatistics,
    config: SVDQuantGPTQConfig,
) -> Solution:
    """Return what is found for a layer.

    Args:
        run: the layer with its inputs, bin after bin.
        bins: number of these inputs by the timesteps of the bin, rising.
        seen: the extremes of its input channels.
        config: of the method.
    """
    found = decompose(run, seen, config.rank, config.iterations)
    quantizer, codes = residual_codes(run, found, config.damping)
    activation = run.activation
    if isinstance(activation, DynamicQuantizer) and not activation.scheme.published:
        ratios = clip_ratios(run, found, quantizer.dequantize(codes), list(bins.values()))
        activation = clipped(activation, dict(zip(bins, ratios, strict=True)))
    return Solution(found.scale, quantizer, codes, found.branch, activation)


def residual_codes(run: RunLayer, found: Decomposition, damping: float) -> tuple[Quantizer, Tensor]:
    """Return quantizer and codes of the residual: by GPTQ, or the nearest where these do better as the layer runs."""
    weight, residual = run.layer.weight, found.residual
    smooth = run.rows / over_inputs(found.scale, weight).expand_as(weight[:1]).reshape(-1)
    nearest = fit_weight(run.scheme, residual)
    tried = [
        gptq_codes(residual, smooth.T @ smooth / len(smooth), run.scheme, damping),
        (nearest, nearest.codes(residual)),
    ]
    return min(tried, key=lambda one: run.error(found.scale, one[0].dequantize(one[1]), found.branch))


def clip_ratios(run: RunLayer, found: Decomposition, rounded: Tensor, counts: Sequence[int]) -> list[float]:
    """Return the ratio of `RATIOS` of least output error in each bin, the widest of equals.

    Args:
        run: the layer with its inputs, bin after bin.
        found: its scale and branch.
        rounded: its residual, as rounded.
        counts: inputs in each bin.
    """
    activation = run.activation
    assert isinstance(activation, DynamicQuantizer)

    def best(rows: Tensor, exact: Tensor) -> float:
        def error(ratio: float) -> float:
            part = replace(run, activation=clipped(activation, {(0.0,): ratio}), rows=rows, exact=exact)
            return part.error(found.scale, rounded, found.branch)

        return min(RATIOS, key=error)

    parts = zip(run.rows.split(list(counts)), run.exact.split(list(counts)), strict=True)
    return [best(*part) for part in parts]


def clipped(activation: DynamicQuantizer, ratios: Mapping[tuple[float, ...], float]) -> DynamicQuantizer:
    """Return a quantizer of run time with the ratios of some bins of timesteps; unclipped where all are 1."""
    if set(ratios.values()) == {1.0}:
        return activation
    if len(set(ratios.values())) == 1:
        ratios = {next(iter(ratios))[:1]: next(iter(ratios.values()))}
    entries = {timestep: ratio for timesteps, ratio in ratios.items() for timestep in timesteps}
    clip, timesteps = torch.tensor(list(entries.values())), torch.tensor(list(entries))
    return ClippedInput(activation.scheme, activation.channels, clip, timesteps)
