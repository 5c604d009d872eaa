"""`covercal`: COVERCAL (arXiv 2604.24008), calibration data chosen as a weighted set cover over outlier channels.

Reconstructed from the abstract, which names the parts: activation statistics computed beforehand, outlier channels
(hidden dimensions with unusually large activations) as what is to be covered, a monotone submodular objective maximised
greedily, and a clipping loss that the weight left uncovered bounds. The paper chooses texts for language models; here
pairs of a prompt and a denoising step are chosen. The definitions are ours:

- A_j is the largest |x| that any pair shows on channel j of a layer's input, and a_sj what pair s shows; both halves of
  guidance count, whichever shows more.
- Channel j is an outlier if A_j > `OUTLIER` times the median over its layer's channels. The largest channel of each
  layer is one in any case, so that every layer is covered. Its weight w_j is A_j over that median.
- Pair s covers j if a_sj >= `REACH` * A_j.

A layer whose range for j ends at the largest a_sj of the chosen set S clips at most A_j minus that, or relative to the
median, w_j * (1 - max_s a_sj / A_j). Summed over outliers that is at most the weight that S does not cover plus 1 -
`REACH` times the weight that it does.

Often a few pairs cover everything. Then the cover is begun again with the pairs that are left, until the budget is
spent; of equal gains a random one is taken.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from admbench.errors import DataError
from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.calibration.samplers.drawing import Drawing
from admbench.methods.core.calibration.samplers.observing import observe
from admbench.methods.core.calibration.submodular import Coverage, greedy
from admbench.methods.core.layers.kinds import quantizable_layers

OUTLIER = 3.0
"""Multiple of the layer's median channel beyond which a channel is an outlier."""
REACH = 0.9
"""Share of a channel's largest activation that covers it."""
MOST = 1e6
"""Largest weight, of a channel whose layer is silent otherwise."""


def draw_covercal(drawing: Drawing) -> CalibrationSet:
    """Choose prompts * timesteps pairs of all by the weight of the outlier channels that they cover."""
    seen = observe(drawing, quantizable_layers(drawing.model.backbone), channel_reach)
    if not seen.stepwise:
        return seen.pool
    has, weights = outliers(seen.measured)
    chosen, first = cover(has, weights, drawing.generator(0xC0).permutation(len(has)), drawing.budget)
    covered = float(weights[has[chosen].any(0)].sum() / weights.sum())
    counts = {"outlier_channels": float(len(weights)), "pairs_of_first_cover": float(first)}
    return seen.choose(chosen, {"outlier_coverage": covered, **counts})


def channel_reach(layer: nn.Module, values: Tensor) -> Tensor:
    """Return the largest |x| of each input channel in each row of a layer's input, (rows, channels)."""
    channels_last = values if isinstance(layer, nn.Linear) else values.movedim(1, -1)
    return channels_last.reshape(len(values), -1, channels_last.shape[-1]).abs().amax(1)


def outliers(measured: Mapping[str, Tensor]) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return which pair covers which outlier channel, (pairs, outliers), and the outliers' weights.

    Args:
        measured: layer -> largest |x| of every pair on every channel, (pairs, channels). A layer whose input is zero
            throughout has no outlier.

    Raises:
        DataError: that is all layers.
    """
    has, weights = [], []
    for reached in measured.values():
        largest = reached.amax(0)
        median = largest.median().clamp(min=largest.max() / MOST)
        standing_out = torch.nonzero((largest > 0) & ((largest > OUTLIER * median) | (largest == largest.max())))[:, 0]
        has.append((reached[:, standing_out] >= REACH * largest[standing_out]).numpy())
        weights.append((largest[standing_out] / median).double().numpy())
    joined = np.concatenate(weights)
    if not len(joined):
        raise DataError("there are no activations to cover: the inputs of all layers are zero")
    return np.concatenate(has, axis=1), joined


def cover(
    has: NDArray[np.bool_], weights: NDArray[np.float64], order: NDArray[np.int64], budget: int
) -> tuple[NDArray[np.int64], int]:
    """Choose pairs by the weight that each adds to what is covered; begin again when nothing is added.

    Args:
        has: (pairs, items), which pair covers which item.
        weights: (items,), positive.
        order: of the pairs: of equal gains the first one is taken.
        budget: how many to choose, at most as many as there are pairs.

    Returns:
        the chosen pairs in the order of choice, and how many of them the first cover took.
    """
    chosen: list[int] = []
    first = 0
    while len(chosen) < budget:
        left = order[~np.isin(order, chosen)]
        function, new = Coverage(has[left], weights), list[int]()
        for pair in greedy(Coverage(has[left], weights), range(len(left)), budget - len(chosen)):
            if new and function.gain(pair) <= 0:
                break
            function.add(pair)
            new.append(int(left[pair]))
        first = first or len(new)
        chosen += new
    return np.array(chosen), first
