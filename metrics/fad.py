"""Frechet audio distance: the Frechet distance of all windows of generated and of real clips (Kilgour et al. 2019).

Where `fd` compares one embedding a clip, this compares those of every window, as the distance was defined with VGGish.
Conventions are those of `metrics.frechet`: lower is better, unbiased covariances, no epsilon. Captions are taken out
whole, with all their windows, so that the interval is one over captions.

The trace of (S1 S2)^(1/2) is the sum of the square roots of the eigenvalues of the symmetric S1^(1/2) S2 S1^(1/2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from admbench.metrics.base import Metric, given
from admbench.metrics.features import Features
from admbench.metrics.intervals import Statistic, Subsets, Values
from admbench.metrics.window_moments import mean_and_covariance

RESOLUTION = 1e-6
"""A distance below this share of both traces is rounding of the moments, which are float32, and zero."""


def frechet_audio_distance(generated: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    """Return the distance of two sets of windows, each given by its summed moments, see `metrics.window_moments`."""
    (mean1, covariance1), (mean2, covariance2) = (mean_and_covariance(total) for total in (generated, reference))
    values, vectors = np.linalg.eigh(covariance1)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    across = np.sqrt(np.clip(np.linalg.eigvalsh(root @ covariance2 @ root), 0, None)).sum()
    traces = float(np.trace(covariance1) + np.trace(covariance2))
    distance = float(np.square(mean1 - mean2).sum() + traces - 2 * across)
    return distance if distance > RESOLUTION * traces else 0.0


@dataclass(frozen=True)
class _Paired:
    """The distance of n generated to n reference clips, of one caption each."""

    generated: NDArray[np.float64]
    """(n, moments)."""
    reference: NDArray[np.float64]
    """(n, moments)."""

    @property
    def n(self) -> int:
        return len(self.generated)

    @cached_property
    def value(self) -> float:
        return frechet_audio_distance(*self._totals)

    def without(self, subsets: Subsets) -> Values:
        """Return the distance without each subset of captions: (s, m) -> (s,)."""
        first, second = self._totals
        return np.array(
            [
                frechet_audio_distance(
                    first - self.generated[rows].sum(axis=0), second - self.reference[rows].sum(axis=0)
                )
                for rows in subsets
            ]
        )

    @cached_property
    def _totals(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return self.generated.sum(axis=0), self.reference.sum(axis=0)


class FrechetAudioDistance(Metric):
    """Frechet distance of the windows that the tagger embeds."""

    name = "fad"
    summary = "Frechet distance of all windows of a judge that embeds windows (vggish); lower is better"
    higher_is_better = False
    ratio_scale = True
    range = (0.0, math.inf)
    needs = frozenset({"window_moments"})
    against = ("reference", "baseline")
    paired = False

    def compute(self, generated: Features, against: Features | None) -> float:
        """Return the distance; the two sets may be of different clips."""
        return _paired(generated, against).value

    def statistic(self, generated: Features, against: Features | None) -> Statistic:
        """Return the distance with fast removal of captions."""
        return _paired(generated, against)


def _paired(generated: Features, against: Features | None) -> _Paired:
    first, second = generated["window_moments"], given(against)["window_moments"]
    return _Paired(first.astype(np.float64), second.astype(np.float64))
