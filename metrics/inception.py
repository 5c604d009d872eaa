"""Inception score: are single clips of clear classes, and all clips together of many?

Conventions: softmax over the tagger's logits, mean over splits of exp(mean KL(p || mean p)); higher is better; between
1 and the number of classes, and never above the number of clips in a split. So it depends on n and on the splits, which
belong to the score. Clips are dealt to splits by their posteriors, whatever their files are called
(`metrics.dealing`). It does not look at the reference: a model that ignores its captions can score well.

    IS = mean over splits of exp( 1/m sum_i sum_k p_ik (log p_ik - log pbar_k) ),    pbar = mean of the m clips' p

Salimans et al. 2016, with the 10 splits of its code where there are clips for them: at least 24 a split here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import entr, softmax

from admbench.metrics.arrays import as_matrix
from admbench.metrics.base import Metric
from admbench.metrics.dealing import content_order
from admbench.metrics.features import Features
from admbench.metrics.intervals import Statistic, Subsets, Values

MAXIMUM_SPLITS = 10
CLIPS_PER_SPLIT = 24


def default_splits(n: int) -> int:
    """Return the number of splits for n clips: at most 10, each of at least 24 clips if there is more than one.

    >>> [default_splits(n) for n in (1, 47, 48, 200, 1000)]
    [1, 1, 2, 8, 10]
    """
    return min(MAXIMUM_SPLITS, max(1, n // CLIPS_PER_SPLIT))


def inception_score(logits: ArrayLike, splits: int | None = None) -> float:
    """Return the Inception score of clips, computed in float64.

    Args:
        logits: (n, classes).
        splits: number of splits, to which clips are dealt by what they are; None is the default.

    Raises:
        ValueError: no rows, a logit that is not finite, or fewer clips than splits.
    """
    matrix = as_matrix(logits, "logits")
    return SplitInception(matrix, default_splits(len(matrix)) if splits is None else splits).value


@dataclass(frozen=True)
class SplitInception:
    """The Inception score with removal of clips; a clip stays in its split when others go."""

    logits: ArrayLike
    """(n, classes)."""
    splits: int

    def __post_init__(self) -> None:
        if not 1 <= self.splits <= self.n:
            raise ValueError(f"{self.splits} splits of {self.n} clips")

    @property
    def n(self) -> int:
        """Number of clips."""
        return len(self._posteriors)

    @cached_property
    def value(self) -> float:
        """The score of all clips."""
        return float(_mean_score(*self._sums))

    def without(self, subsets: Subsets) -> Values:
        """Return the score without each subset of clips: (s, m) -> (s,)."""
        return np.array([self._without(subset) for subset in subsets])

    @cached_property
    def _posteriors(self) -> NDArray[np.float64]:
        posteriors: NDArray[np.float64] = softmax(as_matrix(self.logits, "logits"), axis=1)
        return posteriors

    @cached_property
    def _entropies(self) -> NDArray[np.float64]:
        entropies: NDArray[np.float64] = entr(self._posteriors).sum(axis=1)
        return entropies

    @cached_property
    def _split(self) -> NDArray[np.int64]:
        """The split of each clip, (n,): shuffled, and the same whatever the clips are called."""
        splits = np.empty(self.n, dtype=np.int64)
        splits[content_order(self._posteriors)] = np.random.default_rng(self.n).permutation(self.n) % self.splits
        return splits

    @cached_property
    def _sums(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
        """Per split: sum of posteriors (splits, classes), sum of entropies (splits,), number of clips (splits,)."""
        members = np.arange(self.splits)[:, None] == self._split
        return members @ self._posteriors, members @ self._entropies, members.sum(axis=1)

    def _without(self, subset: Subsets) -> float:
        posteriors, entropies, clips = self._sums[0].copy(), self._sums[1].copy(), self._sums[2].copy()
        split = self._split[subset]
        np.subtract.at(posteriors, split, self._posteriors[subset])
        np.subtract.at(entropies, split, self._entropies[subset])
        np.subtract.at(clips, split, 1)
        left = clips > 0
        return float(_mean_score(posteriors[left], entropies[left], clips[left]))


def _mean_score(
    posteriors: NDArray[np.float64], entropies: NDArray[np.float64], clips: NDArray[np.int64]
) -> np.float64:
    """Mean over splits of exp(H(mean p) - mean H(p)), which is the exponent of the mean KL divergence to the mean."""
    marginals = np.maximum(posteriors / clips[:, None], 0.0)
    score: np.float64 = np.exp(np.maximum(entr(marginals).sum(axis=1) - entropies / clips, 0.0)).mean()
    return score


class InceptionScore(Metric):
    """Inception score of the tagger's posteriors."""

    name = "is"
    summary = "Inception score of class posteriors; higher is better, compare at equal n and splits only"
    version = "2"
    higher_is_better = True
    range = (1.0, math.inf)
    needs = frozenset({"logits"})

    def compute(self, generated: Features, against: Features | None) -> float:
        """Return the score with the default number of splits."""
        return self.statistic(generated, against).value

    def statistic(self, generated: Features, against: Features | None) -> Statistic:
        """Return the score with the default number of splits."""
        return SplitInception(generated["logits"], default_splits(len(generated.ids)))

    def details(self, generated: Features, against: Features | None) -> dict[str, Any]:
        """Return the number of splits."""
        return {"splits": default_splits(len(generated.ids))}
