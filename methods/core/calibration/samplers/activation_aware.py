"""`activation-aware`: the pairs of prompt and step that cover the ranges of activations and their drift.

The second part of PTQ4ADM (arXiv 2409.13894), reconstructed from the abstract: it names an "activation-aware
calibration set generation" and says no more. What follows is our definition.

Of every pair of a prompt and a denoising step, and every layer l, the input of the layer is measured while the
full-precision trajectories run: its smallest and largest number, and the quantiles `TAIL` and 1 - `TAIL` of a sample of
it. Both halves of guidance count, whichever reaches further. With 0, each of the two intervals is a range; over all
pairs, the ranges of a layer span an interval. A set S of pairs is then worth F(S) = (range + drift) / 2:

- range: the share of that interval which the ranges of S span, averaged over layers and over the two kinds of range;
- drift: 1 minus the distance from a pair to the nearest one in S, averaged over all pairs. The distance of two pairs is
  how much their four numbers differ, in units of the interval and averaged over layers; it is divided by the largest
  distance between two pairs.

The first term is what a static range must cover. The second keeps the set near every state that the layers are in on
the way from noise to latent. Both are maxima over S, so F is monotone and submodular, and greedy choice is worth at
least 63 % of the best (`admbench.methods.core.calibration.submodular`).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.calibration.samplers.drawing import Drawing
from admbench.methods.core.calibration.samplers.observing import observe
from admbench.methods.core.calibration.submodular import FacilityLocation, Reach, WeightedSum, greedy
from admbench.methods.core.layers.kinds import quantizable_layers

TAIL = 0.02
"""Share of a layer's input beyond either quantile."""
SAMPLED = 256
"""Numbers of a layer's input that quantiles are taken from, per sample."""
CLIENTS = 2048
"""Pairs that the drift is averaged over, drawn at random where there are more."""


def draw_activation_aware(drawing: Drawing) -> CalibrationSet:
    """Choose prompts * timesteps pairs of all by F, greedily."""
    seen = observe(drawing, quantizable_layers(drawing.model.backbone), reach)
    if not seen.stepwise:
        return seen.pool
    numbers = torch.stack(list(seen.measured.values()), 1).numpy()
    spanned, drift = coverage(numbers, drawing.generator(0xAC7))
    chosen = greedy(WeightedSum([(0.5, spanned), (0.5, drift)]), range(len(numbers)), drawing.budget)
    return seen.choose(np.array(chosen), {"range_coverage": spanned.value, "drift_coverage": drift.value})


def reach(layer: nn.Module, values: Tensor) -> Tensor:
    """Return how far each row of a layer's input (rows, ...) reaches, float32 (rows, 4).

    In the order -smallest, -lower quantile, upper quantile, largest. Larger numbers reach further on either side, so
    that the larger of two is that of both together.
    """
    rows = values.flatten(1)
    low, high = torch.aminmax(rows, dim=1)
    if rows.shape[1] > SAMPLED:
        places = torch.randint(rows.shape[1], (SAMPLED,), generator=torch.Generator().manual_seed(0))
        rows = rows[:, places.to(rows.device)]
    beyond = 1 + int(TAIL * rows.shape[1])
    inner_low = rows.topk(beyond, dim=1, largest=False).values[:, -1]
    inner_high = rows.topk(beyond, dim=1).values[:, -1]
    return torch.stack([-low, -inner_low, inner_high, high], 1)


def coverage(numbers: NDArray[np.float32], generator: np.random.Generator) -> tuple[Reach, FacilityLocation]:
    """Return the two terms of F, of the measured numbers of all pairs, (pairs, layers, 4), in the order of `reach`.

    A layer whose input is zero throughout has nothing to cover: its share of the first term is missing from it.
    """
    pairs, layers, _ = numbers.shape
    outer, inner = numbers[..., [0, 3]].clip(min=0), numbers[..., [1, 2]].clip(min=0)  # ranges hold 0
    sides = np.stack([outer, inner], 1)  # pairs, kind of range, layer, side
    width = np.maximum(sides.max(0).sum(-1, keepdims=True), np.finfo(np.float32).tiny)
    spanned = Reach((sides / width).reshape(pairs, -1), np.full(sides[0].size, 1 / (2 * layers)))
    places = torch.from_numpy((numbers / width[0]).reshape(pairs, -1) / (4 * layers))
    clients = places
    if pairs > CLIENTS:
        clients = places[torch.from_numpy(np.sort(generator.choice(pairs, CLIENTS, replace=False)))]
    distance = torch.cdist(clients, places, p=1).numpy()
    return spanned, FacilityLocation(1 - distance / max(distance.max(), np.finfo(np.float32).tiny))
