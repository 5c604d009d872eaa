"""One cell against another on several models: ratios and counts, never an average of distances of different models.

Frechet distances of different models have different units for all that one knows (the reference, the model's own
level), so only ratios are put together: of a method to another on the same model, such as to rounding at the same bits.
Their geometric mean is exp of the mean log ratio. Its interval is over captions and models, both drawn at random and
crossed, as the models speak the same captions (`admbench.leaderboard.inference.crossed`): it is about models like
these. Where the captions are not the same on all models, the log ratios are independent, each with its caption error in
it, and the interval is Student's over models. With three models either is long: two degrees of freedom at worst.

Whether a model counts as nearer or farther is read from its own pairs (`AllPairs`), so that no table of counts tells
apart what that model's letters do not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from admbench.leaderboard.inference.contrasts import CONFIDENCE, Contrast
from admbench.leaderboard.inference.crossed import Crossed, crossed_mean
from admbench.leaderboard.inference.pairs import AllPairs
from admbench.leaderboard.inference.scores import caution


@dataclass(frozen=True)
class ModelRatio:
    """A cell against another on one model."""

    ratio: float
    low: float
    """95 % interval over captions, of this ratio alone."""
    high: float
    better: bool | None
    """Whether the cell is shown to be better or worse, by the model's simultaneous pairs; None: not told apart."""


@dataclass(frozen=True)
class Across:
    """A cell against another on several models."""

    cell: str
    versus: str
    models: dict[str, ModelRatio]
    missing: dict[str, str]
    """Models without this ratio, with the reason."""
    mean: float | None
    """Geometric mean of the ratios; None with a reason."""
    low: float | None
    """95 % interval of the mean over captions and models; None with a reason."""
    high: float | None
    crossed: Crossed | None
    """What the error of the mean log ratio is made of (draws: models); None where captions are not shared."""
    reason: str | None
    n: int | None
    """Fewest captions of a model."""

    @property
    def better(self) -> int:
        """Number of models on which the cell is shown to be better."""
        return sum(one.better is True for one in self.models.values())

    @property
    def worse(self) -> int:
        """Number of models on which it is shown to be worse."""
        return sum(one.better is False for one in self.models.values())

    @property
    def untold(self) -> int:
        """Number of models on which the two are not told apart."""
        return sum(one.better is None for one in self.models.values())

    @property
    def caution(self) -> str | None:
        """Why not to trust this too far: too few captions; None if nothing."""
        return None if self.n is None else caution(self.n)


def across_models(models: Mapping[str, AllPairs], cell: str, versus: str, *, shared_captions: bool) -> Across:
    """Put the ratios of one cell to another together.

    Args:
        models: all pairs of each model by one score.
        cell: name of a cell, such as `ptq4adm@w4a8`.
        versus: name of the cell that it is held against, such as `naive@w4a8`.
        shared_captions: whether all models were scored on the same captions in the same order.
    """
    ratios: dict[str, ModelRatio] = {}
    missing: dict[str, str] = {}
    logs: list[Contrast] = []
    for model, pairs in models.items():
        absent = [name for name in (cell, versus) if name not in pairs.values]
        if absent:
            missing[model] = f"no score of {absent[0]}"
            continue
        pair = pairs.pair(cell, versus)
        if pair.contrast.scale != "ratio":
            missing[model] = "no ratio: a score is not compared as a ratio, or is zero"
            continue
        one = pair.contrast if pair.better == cell else _inverse(pair.contrast)
        ratios[model] = ModelRatio(one.shown, *one.interval(), pairs.better_than(cell, versus))
        logs.append(one)
    if not logs:
        return Across(cell, versus, ratios, missing, None, None, None, None, "no model has this ratio", None)
    mean = float(np.mean([one.estimate for one in logs]))
    n = min(one.n for one in logs)
    if len(logs) == 1:
        reason = "one model says nothing of others: no interval over models"
        return Across(cell, versus, ratios, missing, math.exp(mean), None, None, None, reason, n)
    crossed = None
    if shared_captions:
        crossed = crossed_mean(np.stack([one.estimate + one.influence for one in logs]))
        low, high = crossed.interval(CONFIDENCE)
    else:
        spread = float(np.std([one.estimate for one in logs], ddof=1)) / math.sqrt(len(logs))
        half = float(stdtrit(len(logs) - 1, (1 + CONFIDENCE) / 2)) * spread
        low, high = mean - half, mean + half
    return Across(cell, versus, ratios, missing, math.exp(mean), *_exponentials(low, high), crossed, None, n)


def _inverse(one: Contrast) -> Contrast:
    return Contrast(one.scale, -one.estimate, one.standard_error, -one.influence, one.crossed)


def _exponentials(low: float, high: float) -> tuple[float, float]:
    return math.exp(max(low, -700.0)), math.exp(min(high, 700.0))
