"""Intervals over captions: a jackknife with its second-order correction, for one score or a paired difference.

What an interval is for: E[T_n], the expected value of the statistic T at this number of clips n, had other captions
(each with its generated and its reference clip) been drawn from the same population. It says nothing of the value at
another n: the Frechet distance and the Inception score depend on n, so scores of different n are never compared.

How. T_(i) is the statistic without caption i, and T_(ij) without captions i and j; a caption takes its generated clip,
its reference clip and, in a difference, its baseline clip away together. The jackknife variance
(n-1)/n sum_i (T_(i) - mean T_(.))^2 is right for the part of T that is a sum over captions, and counts the part that is
a sum over pairs of captions twice (Efron and Stein 1981, "The jackknife estimate of variance"). Near a Frechet distance
of zero, where almost everything is pairs, the standard error comes out 1.4 times too long. The pair part is estimated,
as in that paper, from Q_ij = n T - (n-1) (T_(i) + T_(j)) + (n-2) T_(ij), whose mean square is twice it; so

    variance = (n-1)/n max(sum_i (T_(i) - mean T_(.))^2 - P/2, P),    P = mean Q_ij^2 / 2

over a fixed set of pairs. With P in the place of P/2 it is unbiased to the second order. But it scatters (its square
by 25 % at 96 captions of the embedded models, as of 30 degrees of freedom), most where pairs are much of it, and a
ratio of distances leans; so intervals of ratios of equal distances miss up to 7.7 % of the time (Gaussian, heavy-tailed
and near zero; 48, 96 and 260 captions), and with P/2, half way to the plain jackknife, which is never too small on
average, up to 6.3 %, without heavy tails 5.4 %. The price is length near zero: where pairs are all there is, 1.22 times
the right one on average in place of 1. What else was tried is in docs/conclusions.md.

For a mean over clips Q is zero and this is the classical s^2 / n. With Student's t of n - 1
degrees of freedom the interval is T +- t * s.e.; of a distance or divergence, which is not negative and whose error
grows with it, T exp(+- t * s.e. / T): T +- t * s.e. misses above far more often than below. Either way it contains T,
and ends where the range of the statistic does: no accuracy is above 1, so that nothing is lost.

Coverage, on known Gaussians in tests/metrics/test_coverage.py: 92 to 99 % from 96 clips on; at 48 down to 91 % where
one or two directions carry nearly all of the distance. A percentile bootstrap is not offered: repeated captions lower
the rank of the covariance, so that its Frechet distances all lie above the value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

CONFIDENCE = 0.95
MINIMUM_CLIPS = 4  # without two of them, two are left: the least that has a covariance
MAXIMUM_PAIRS = 480
TAKEN_OFF = 0.5  # share of the part that the jackknife counts twice which is taken off

Range = tuple[float, float]
"""Least and greatest value of a statistic."""
UNBOUNDED: Range = (-math.inf, math.inf)

Subsets = NDArray[np.int64]
Values = NDArray[np.float64]


class Statistic(Protocol):
    """A number computed from n captions that can be recomputed without some of them."""

    @property
    def value(self) -> float:
        """The statistic of all captions."""
        ...

    @property
    def n(self) -> int:
        """Number of captions."""
        ...

    def without(self, subsets: Subsets) -> Values:
        """Return the statistic without each subset: (s, m) distinct caption indices -> (s,) values."""
        ...


@dataclass(frozen=True)
class Mean:
    """The mean of one number per clip.

    Raises:
        ValueError: no clips, or a number that is not finite.
    """

    per_clip: Values
    """(n,)."""

    def __post_init__(self) -> None:
        if self.per_clip.ndim != 1 or not len(self.per_clip):
            raise ValueError(f"expected one number per clip, got shape {self.per_clip.shape}")
        if not np.isfinite(self.per_clip).all():
            raise ValueError("not every clip has a finite number")

    @property
    def value(self) -> float:
        """The mean."""
        return float(self.per_clip.mean())

    @property
    def n(self) -> int:
        """Number of clips."""
        return len(self.per_clip)

    def without(self, subsets: Subsets) -> Values:
        """Return the mean without each subset of clips."""
        kept: Values = (self.per_clip.sum() - self.per_clip[subsets].sum(axis=1)) / (self.n - subsets.shape[1])
        return kept


@dataclass(frozen=True)
class Replicates:
    """A statistic with its values without one and without two captions; subtracting gives the paired difference."""

    value: float
    """The statistic of all n captions."""
    without_one: Values
    """(n,), without each caption."""
    without_two: Values
    """(p,), without each of `deletion_pairs(n)`."""

    @classmethod
    def of(cls, statistic: Statistic) -> Replicates:
        """Compute the replicates of a statistic.

        Raises:
            ValueError: fewer than 4 captions.
        """
        n = statistic.n
        if n < MINIMUM_CLIPS:
            raise ValueError(f"an interval needs at least {MINIMUM_CLIPS} clips, got {n}")
        one = np.arange(n)[:, None]
        return cls(statistic.value, statistic.without(one), statistic.without(deletion_pairs(n)))

    @property
    def n(self) -> int:
        """Number of captions."""
        return len(self.without_one)

    def __sub__(self, other: Replicates) -> Replicates:
        """Return the replicates of the difference of two statistics over the same captions."""
        return Replicates(
            self.value - other.value, self.without_one - other.without_one, self.without_two - other.without_two
        )

    def standard_error(self) -> float:
        """Return the jackknife standard error with the second-order correction described above."""
        n, pairs = self.n, deletion_pairs(self.n)
        total = np.square(self.without_one - self.without_one.mean()).sum()
        pair_part = n * self.value - (n - 1) * self.without_one[pairs].sum(axis=1) + (n - 2) * self.without_two
        twice_counted = np.square(pair_part).mean() / 2
        return math.sqrt((n - 1) / n * max(total - TAKEN_OFF * twice_counted, twice_counted))

    def interval(self, *, ratio_scale: bool = False, within: Range = UNBOUNDED) -> tuple[float, float]:
        """Return the 95 % interval, for what the module docstring says.

        Args:
            ratio_scale: whether the statistic is a distance or divergence, so that the interval is formed on its
                logarithm.
            within: the values that the statistic can have; the interval ends where they do.
        """
        half = float(stdtrit(self.n - 1, (1 + CONFIDENCE) / 2)) * self.standard_error()
        if not ratio_scale:
            low, high = self.value - half, self.value + half
        elif self.value == 0:
            low, high = 0.0, half
        else:
            low, high = self.value * math.exp(-half / self.value), self.value * math.exp(half / self.value)
        # the value itself may have left the range by its rounding: the interval holds it all the same
        return min(max(low, within[0]), self.value), max(min(high, within[1]), self.value)


def deletion_pairs(n: int) -> Subsets:
    """Return (p, 2) pairs out of n captions, the same ones at every call: each caption in four, at most 480 in all."""
    generator = np.random.default_rng(n)
    orders = [generator.permutation(n) for _ in range(2)]
    pairs = np.concatenate([np.stack([order, np.roll(order, 1)], axis=1) for order in orders])
    return pairs[:MAXIMUM_PAIRS]
