"""`tdac`: the allotment of calibration samples to timesteps of EDA-DM (arXiv 2401.04585), by density and variety.

"Temporal distribution alignment calibration". The feature f_t in the middle of the backbone is recorded at every step t
of a first batch of prompts. In the released code:

    density_t = #{j : MSE(f_t, f_j) <= r}                  steps like this one are many: it stands for much
    variety_t = sum_j sum_samples (1 - cos(f_t, f_j))      it is unlike the others: it adds much
    n_t = N * w_t / sum w,   w_t = density_t + lambda * variety_t,  both scaled to 0..1

with r = 0.3 and lambda = 5 for Stable Diffusion; each sample then comes from a trajectory at the step it is allotted.

Departures. r is a share of the features' mean power, which a threshold of the feature itself is only on models of one
scale. The first batch is the first `FEATURE_PROMPTS` prompts, both halves of guidance. Remainders of n_t go to the
largest ones. Samples are dealt so that each prompt gets the same number.

The middle of a backbone is found by its structure: of its blocks, those that return the fewest positions; of these, the
one in the middle of the order of execution. Of a U-Net that is its middle block, of a DiT the middle layer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.calibration.samplers.drawing import Counts, Drawing, deal
from admbench.methods.core.layers.blocks import Block, execution_order, find_blocks
from admbench.methods.protocol import DenoisingModel

RADIUS = 0.3
"""r: mean squared difference, as a share of the mean square, below which two features are alike."""
VARIETY = 5.0
"""lambda, the weight of variety."""
FEATURE_PROMPTS = 4
"""Prompts whose features are compared: what bounds the memory that they take."""


def draw_tdac(drawing: Drawing) -> CalibrationSet:
    """Record pairs at steps allotted by density and variety."""
    features = middle_features(drawing)
    if features is None:
        return drawing.record(np.zeros((len(drawing.prompts), drawing.steps), dtype=np.int64))
    per_step = allot(drawing.budget, density_and_variety(features))
    return drawing.record(deal(per_step, len(drawing.prompts), drawing.generator(0x7DAC)))


def middle_features(drawing: Drawing) -> Tensor | None:
    """Return the features in the middle of the backbone along the first prompts' trajectories, (steps, samples, n).

    None of a network that is not called step by step.
    """
    model = drawing.model
    first = replace(drawing, prompts=drawing.prompts[:FEATURE_PROMPTS])
    calls, stepwise = first.calls()
    if not stepwise:
        return None
    features: list[Tensor] = []
    middle: Block | None = None
    for call in calls:
        if middle is None:
            middle = middle_block(model, {name: tensor[:1] for name, tensor in call.inputs.items()})
        if call.step < drawing.steps:
            features.append(_outputs(model, [middle], call.inputs)[middle.name].flatten(1).float().cpu())
    return torch.stack(features)


def middle_block(model: DenoisingModel, inputs: dict[str, Tensor]) -> Block:
    """Return the block in the middle of a backbone; of one without blocks, the layer in the middle.

    Args:
        model: in full precision.
        inputs: of one call of the backbone.
    """
    blocks = find_blocks(model.backbone, execution_order(model, inputs))
    units = [block for block in blocks if block.kind != "layer"]
    if not units:
        return blocks[(len(blocks) - 1) // 2]
    outputs = _outputs(model, units, inputs)
    positions = {block.name: _positions(block, outputs[block.name]) for block in units}
    narrow = [block for block in units if positions[block.name] == min(positions.values())]
    return narrow[(len(narrow) - 1) // 2]


def density_and_variety(features: Tensor) -> NDArray[np.float64]:
    """Return the weight of each step, (steps,), 0 or more.

    Args:
        features: (steps, samples, n).
    """
    samples = features.shape[1]
    squares = features.square().mean((1, 2))
    products = torch.einsum("asn,bsn->ab", features, features) / features[0].numel()
    difference = (squares[:, None] + squares[None] - 2 * products).clamp(min=0)
    density = (difference <= RADIUS * squares.mean()).sum(1).double()
    directions = torch.nn.functional.normalize(features, dim=2)
    variety = (samples - torch.einsum("asn,bsn->ab", directions, directions)).clamp(min=0).sum(1).double()
    weights: NDArray[np.float64] = (_scaled(density) + VARIETY * _scaled(variety)).numpy()
    return weights


def allot(samples: int, weights: NDArray[np.float64]) -> Counts:
    """Split a number of samples in proportion to weights, remainders to the largest; evenly if all weights are 0."""
    if not weights.any():
        weights = np.ones_like(weights)
    shares = samples * weights / weights.sum()
    counts = np.floor(shares).astype(np.int64)
    largest = np.argsort(counts - shares, kind="stable")[: samples - counts.sum()]
    counts[largest] += 1
    return counts


def _scaled(numbers: Tensor) -> Tensor:
    """Return numbers scaled to 0..1; zeros if they are all the same."""
    spread = numbers.max() - numbers.min()
    return (numbers - numbers.min()) / spread if spread > 0 else torch.zeros_like(numbers)


@torch.no_grad()
def _outputs(model: DenoisingModel, blocks: Sequence[Block], inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return what some blocks return in one call of the backbone."""
    outputs: dict[str, Tensor] = {}

    def see(name: str, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        outputs[name] = output if isinstance(output, Tensor) else output[0]

    hooks = [
        model.backbone.get_submodule(block.name).register_forward_hook(partial(see, block.name)) for block in blocks
    ]
    try:
        model.call_backbone(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return outputs


def _positions(block: Block, output: Tensor) -> int:
    return output.shape[1] if block.kind == "transformer" else math.prod(output.shape[2:])
