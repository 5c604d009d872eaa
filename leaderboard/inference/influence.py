"""A score as it depends on each caption: what two cells need so that they are compared, paired, from records alone.

A score T of n captions is kept as its value, the influence of each caption, and its second-order part on a fixed list
of pairs of captions. With T_(i) the score without caption i and T_(ij) without captions i and j,

    first_i   = (n-1) (T - T_(i))                                        jackknife influence (Tukey 1958; Efron 1982)
    second_ij = n T - (n-1) (T_(i) + T_(j)) + (n-2) T_(ij)               Efron and Stein 1981

For a mean over clips first_i is the clip's own number minus the mean, and second_ij is zero. Both are linear in T, so
those of a difference of two scores over the same captions are the differences of theirs: what the captions' ease and
difficulty have in common cancels. The standard error is the one of `admbench.metrics.intervals`, to the last digits:

    variance = max(S - P'/2, P'),    S = sum (first_i - mean)^2 / (n (n-1)),    P' = (n-1)/n mean second_ij^2 / 2

The jackknife S alone counts the part of the variance that comes of pairs twice. Near a Frechet distance of zero, where
almost everything is pairs, intervals would be 1.4 times too long without the second-order part; so it is kept. Half of
what is counted twice is taken off; why not all of it, is there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Values = NDArray[np.float64]
Pairs = NDArray[np.int64]

MINIMUM_CAPTIONS = 4
"""Fewer have no interval."""
TAKEN_OFF = 0.5
"""Share of the part of the variance that the jackknife counts twice which is taken off, as in
`admbench.metrics.intervals`."""


@dataclass(frozen=True)
class Influence:
    """A score of n captions, linearized.

    Raises:
        ValueError: fewer than 4 captions, shapes that do not belong together, a number that is not finite, or a pair
            of captions that are not there.
    """

    value: float
    """The score of all captions."""
    first: Values
    """(n,) influence of each caption, in the score's unit; its mean need not be zero."""
    second: Values
    """(p,) second-order part of each pair; empty for a mean over clips, of which it is zero."""
    pairs: Pairs
    """(p, 2) the captions of each pair, by their place."""
    taken_off: float = TAKEN_OFF
    """What `standard_error` takes off: another share in intervals of records that are older than it."""

    def __post_init__(self) -> None:
        if self.first.ndim != 1:
            raise ValueError(f"expected one influence of each caption, got shape {self.first.shape}")
        if len(self.first) < MINIMUM_CAPTIONS:
            raise ValueError(f"an interval needs at least {MINIMUM_CAPTIONS} captions, got {len(self.first)}")
        if self.second.ndim != 1 or self.pairs.shape != (len(self.second), 2):
            raise ValueError(f"second-order part of shape {self.second.shape} for pairs of shape {self.pairs.shape}")
        if len(self.pairs) and not (self.pairs.min() >= 0 and self.pairs.max() < self.n):
            raise ValueError(f"a pair of captions beyond the {self.n} that there are")
        if not (math.isfinite(self.value) and np.isfinite(self.first).all() and np.isfinite(self.second).all()):
            raise ValueError("not every number is finite")

    def __getstate__(self) -> dict[str, Any]:
        """Go to other processes without what is computed from the rest."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def of_clips(cls, per_clip: ArrayLike) -> Influence:
        """Return the mean of one number per clip, (n,)."""
        numbers = np.asarray(per_clip, dtype=np.float64)
        if numbers.ndim != 1 or not len(numbers):
            raise ValueError(f"expected one number per clip, got shape {numbers.shape}")
        mean = float(numbers.mean())
        return cls(mean, numbers - mean, np.empty(0), np.empty((0, 2), dtype=np.int64))

    @classmethod
    def of_jackknife(cls, value: float, without_one: ArrayLike, without_two: ArrayLike, pairs: ArrayLike) -> Influence:
        """Return a score from its values without captions.

        Args:
            value: of all n captions.
            without_one: (n,) without each caption.
            without_two: (p,) without each pair of captions.
            pairs: (p, 2) these pairs.
        """
        one, two = np.asarray(without_one, dtype=np.float64), np.asarray(without_two, dtype=np.float64)
        both = np.asarray(pairs, dtype=np.int64).reshape(-1, 2)
        n = len(one)
        second = n * value - (n - 1) * one[both].sum(axis=1) + (n - 2) * two
        return cls(float(value), (n - 1) * (value - one), second, both)

    @property
    def n(self) -> int:
        """Number of captions."""
        return len(self.first)

    def check_comparable(self, other: Influence) -> None:
        """Raise ValueError unless two scores can be over the same captions: as many, second-order parts on one list."""
        if self.n != other.n:
            raise ValueError(f"scores of {self.n} and of {other.n} captions are not compared")
        if len(self.pairs) and len(other.pairs) and not np.array_equal(self.pairs, other.pairs):
            raise ValueError("the second-order parts are on other pairs of captions")

    def __sub__(self, other: Influence) -> Influence:
        """Return the difference of two scores over the same captions in the same order.

        Raises:
            ValueError: other numbers of captions, or second-order parts on other pairs.
        """
        self.check_comparable(other)
        pairs = self.pairs if len(self.pairs) else other.pairs
        second = np.zeros(len(pairs))
        second[: len(self.second)] += self.second  # one without a second-order part has zero everywhere
        second[: len(other.second)] -= other.second
        return Influence(self.value - other.value, self.first - other.first, second, pairs, self.taken_off)

    def scaled(self, factor: float) -> Influence:
        """Return the score times a number."""
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite then is refused below, in words
            return replace(self, value=self.value * factor, first=self.first * factor, second=self.second * factor)

    @cached_property
    def _log(self) -> Influence:
        return replace(self.scaled(1 / self.value), value=math.log(self.value))

    def log(self) -> Influence:
        """Return the score's logarithm, linearized at its value (delta method).

        Raises:
            ValueError: the score is not above zero.
        """
        if self.value <= 0:
            raise ValueError(f"{self.value:g} has no logarithm")
        return self._log

    def reordered(self, order: ArrayLike) -> Influence:
        """Return the score with its captions in another order: place k holds what was at `order[k]`."""
        places = np.asarray(order, dtype=np.int64)
        if not np.array_equal(np.sort(places), np.arange(self.n)):
            raise ValueError(f"not an order of {self.n} captions")
        where = np.argsort(places)
        return replace(self, first=self.first[places], pairs=where[self.pairs])

    @cached_property
    def canonical(self) -> Influence:
        """The same score with each pair, and the list of pairs, in ascending order, as `-` wants them alike."""
        pairs, order = _ascending(self.pairs.tobytes())
        return self if order is None else replace(self, second=self.second[order], pairs=pairs)

    def standard_error(self) -> float:
        """Return the standard error over captions, as in the module docstring."""
        return self._standard_error

    @cached_property
    def _standard_error(self) -> float:
        n = self.n
        total = float(np.square(self.first - self.first.mean()).sum()) / (n * (n - 1))
        if not len(self.second):
            return math.sqrt(total)
        twice_counted = (n - 1) / n * float(np.square(self.second).mean()) / 2
        return math.sqrt(max(total - self.taken_off * twice_counted, twice_counted))

    def calibrated(self) -> Values:
        """Return (n,) influences of mean zero, scaled so that their classical standard error is `standard_error`."""
        centred: Values = self.first - self.first.mean()
        plain = math.sqrt(float(np.square(centred).sum()) / (self.n * (self.n - 1)))
        return centred * (self.standard_error() / plain) if plain else centred


@lru_cache(maxsize=32)
def _ascending(pairs: bytes) -> tuple[Pairs, Pairs | None]:
    """Return a list of pairs in ascending order, one for all scores on it, and that order; None: it is in it."""
    given = np.frombuffer(pairs, dtype=np.int64).reshape(-1, 2)
    each = np.sort(given, axis=1)
    order = np.lexsort((each[:, 1], each[:, 0]))
    found = each[order]
    found.flags.writeable = False
    return found, None if np.array_equal(found, given) else order
