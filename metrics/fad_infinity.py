"""FAD-infinity: the Frechet distance extrapolated to infinitely many clips.

Conventions: lower is better; 0 for distributions with the same mean and covariance, so single values can be negative.
The plug-in Frechet distance is too large by an amount that falls nearly as 1/n where n is well above the number of
dimensions. So distances at several numbers of clips lie on a line over 1/n, whose intercept is free of that part of the
bias. Where n is below the number of dimensions the distances lie on a curve, and the intercept is still too large: then
the kernel audio distance says more.

    FD(n) = FAD_inf + slope / n,    least squares over the rungs n = N, N/2, N/3, N/4

Chong and Forsyth 2020, "Effectively unbiased FID and Inception Score" (the line); Gui et al. 2024, "Adapting Frechet
audio distance for generative music evaluation" (FAD). Both draw many subsets of the generated clips against all of the
reference. Here the reference is no larger than the generated set and as biased, so both sets shrink together, and a
caption's two clips stay together. A rung N/k is the mean over k disjoint parts of the clips: no clip counts more than
another, and nothing is drawn twice, which would lower the rank. Captions are dealt by their reference clips, whatever
their files are called (`metrics.dealing`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from admbench.metrics.arrays import as_matrix, as_pair
from admbench.metrics.base import Metric, given
from admbench.metrics.dealing import content_order
from admbench.metrics.features import Features
from admbench.metrics.frechet import PairedFrechet, frechet_distance
from admbench.metrics.intervals import Statistic, Subsets, Values

RUNGS = (1, 2, 3, 4)
"""In how many parts the clips are divided."""
ORDERS = 2
"""How many times the clips are dealt to the parts of each rung."""
MINIMUM_CLIPS = 16
"""Fewer would leave less than two clips of a part when two captions are removed."""


@dataclass(frozen=True)
class Extrapolation:
    """A line through distances over 1/n."""

    sizes: tuple[float, ...]
    """Mean number of generated clips in a part, per rung."""
    distances: tuple[float, ...]
    """Mean distance, per rung."""

    @property
    def value(self) -> float:
        """The distance at 1/n = 0."""
        return float(_intercept_weights() @ np.array(self.distances))

    @property
    def slope(self) -> float:
        """How fast the distance rises with 1/n."""
        return float(np.polynomial.polynomial.polyfit(1 / np.array(self.sizes), self.distances, 1)[1])

    @property
    def r2(self) -> float | None:
        """The share of the distances' variance that lies on the line; None if they do not vary."""
        distances, fitted = np.array(self.distances), self.value + self.slope / np.array(self.sizes)
        total = np.square(distances - distances.mean()).sum()
        return float(1 - np.square(distances - fitted).sum() / total) if total else None


def fad_infinity(generated: ArrayLike, reference: ArrayLike, *, paired: bool = False) -> Extrapolation:
    """Extrapolate the Frechet distance between two sets of embeddings to infinitely many clips.

    Args:
        generated: (n1, d), n1 >= 16.
        reference: (n2, d), n2 >= 16.
        paired: whether rows of the same number are of one caption, and stay in one part.

    Raises:
        ValueError: not two-dimensional, too few rows, different d, different n of pairs, or a value that is not finite.
    """
    if paired:
        return PairedExtrapolation(generated, reference).fit
    sets = as_matrix(generated, "generated"), as_matrix(reference, "reference")
    _check_number(min(map(len, sets)))
    orders = [content_order(one) for one in sets]
    rungs = []
    for parts in RUNGS:
        dealt = zip(*(_deal(order, parts) for order in orders), strict=True)
        rungs.append([frechet_distance(sets[0][mine], sets[1][theirs]) for mine, theirs in dealt])
    return _extrapolation(len(sets[0]), rungs)


@dataclass(frozen=True)
class PairedExtrapolation:
    """FAD-infinity of n generated to n reference embeddings, row by row of one caption each.

    A removed caption leaves each part that it is in, of which there is one per rung and order; the line does not change
    its weights, as they depend on the ratios of the sizes only.
    """

    generated: ArrayLike
    """(n, d)."""
    reference: ArrayLike
    """(n, d)."""

    @property
    def n(self) -> int:
        """Number of captions."""
        return len(self._embeddings[0])

    @cached_property
    def value(self) -> float:
        """The extrapolated distance of all captions."""
        return self.fit.value

    @cached_property
    def fit(self) -> Extrapolation:
        """The line of all captions."""
        return _extrapolation(self.n, [[part.value for _, part in rung] for rung in self._rungs])

    def without(self, subsets: Subsets) -> Values:
        """Return the extrapolated distance without each subset of captions: (s, m) -> (s,)."""
        means = [np.mean([self._part_without(*part, subsets) for part in rung], axis=0) for rung in self._rungs]
        extrapolated: Values = _intercept_weights() @ np.array(means)
        return extrapolated

    @cached_property
    def _embeddings(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return as_pair(self.generated, "generated", self.reference, "reference")

    @cached_property
    def _rungs(self) -> list[list[tuple[NDArray[np.int64], PairedFrechet]]]:
        """Per rung: the captions of each part, and the distance of the part."""
        generated, reference = self._embeddings
        _check_number(self.n)
        order = content_order(reference, generated)  # all that are compared with one reference are dealt alike
        return [
            [(rows, PairedFrechet(generated[rows], reference[rows])) for rows in _deal(order, parts)] for parts in RUNGS
        ]

    def _part_without(self, rows: NDArray[np.int64], part: PairedFrechet, subsets: Subsets) -> Values:
        """Return the distance of a part without those of each subset that are in it, (s,)."""
        place = np.full(self.n, -1)
        place[rows] = np.arange(len(rows))
        places = np.sort(place[subsets], axis=1)  # those that are elsewhere, -1, come first
        inside = (places >= 0).sum(axis=1)
        distances = np.full(len(subsets), part.value)
        for count in range(1, subsets.shape[1] + 1):
            if (chosen := inside == count).any():
                distances[chosen] = part.without(places[chosen, -count:])
        return distances


def _check_number(n: int) -> None:
    if n < MINIMUM_CLIPS:
        raise ValueError(f"FAD-infinity needs at least {MINIMUM_CLIPS} clips, got {n}")


def _deal(order: NDArray[np.int64], parts: int) -> list[NDArray[np.int64]]:
    """Return the rows of each part of n clips in an order, all deals one after the other; whole sets are dealt once."""
    generator = np.random.default_rng([len(order), parts])
    deals = 1 if parts == 1 else ORDERS
    return [rows for _ in range(deals) for rows in np.array_split(order[generator.permutation(len(order))], parts)]


def _intercept_weights() -> NDArray[np.float64]:
    """Return what each rung's distance counts in the intercept of the least-squares line over 1/n, (rungs,)."""
    weights: NDArray[np.float64] = np.linalg.pinv(np.stack([np.ones(len(RUNGS)), RUNGS], axis=1))[0]
    return weights


def _extrapolation(n: int, rungs: list[list[float]]) -> Extrapolation:
    return Extrapolation(tuple(n / parts for parts in RUNGS), tuple(float(np.mean(rung)) for rung in rungs))


class FadInfinity(Metric):
    """FAD-infinity of the tagger's embeddings."""

    name = "fad_inf"
    summary = "Frechet distance of embeddings extrapolated to infinitely many clips; lower is better, can be negative"
    version = "2"
    higher_is_better = False
    needs = frozenset({"embedding"})
    against = ("reference", "baseline")
    paired = False

    def compute(self, generated: Features, against: Features | None) -> float:
        """Return the extrapolated distance; the two sets may be of different clips."""
        return _fit(generated, given(against)).value

    def statistic(self, generated: Features, against: Features | None) -> Statistic:
        """Return the extrapolated distance with fast removal of captions."""
        return PairedExtrapolation(generated["embedding"], given(against)["embedding"])

    def details(self, generated: Features, against: Features | None) -> dict[str, Any]:
        """Return the line: its rungs (number of clips, distance), its slope, its share of the variance."""
        fit = _fit(generated, given(against))
        rungs = [{"n": size, "fd": distance} for size, distance in zip(fit.sizes, fit.distances, strict=True)]
        return {"fit": {"rungs": rungs, "slope": fit.slope, "r2": fit.r2}}


def _fit(generated: Features, against: Features) -> Extrapolation:
    """Return the line between two sets, of the same clips in the same order or of different ones."""
    return fad_infinity(generated["embedding"], against["embedding"], paired=generated.ids == against.ids)
