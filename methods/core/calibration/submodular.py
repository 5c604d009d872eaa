"""Choosing few of many so that they cover much: greedy maximisation of monotone submodular functions.

A set function F is monotone and submodular if adding j never lowers it, and helps the less the more is there already.
Under a limit on the number of elements, greedy choice then reaches at least 1 - 1/e, 63 %, of the best possible F
(Nemhauser, Wolsey, Fisher 1978), and no polynomial algorithm promises more for coverage (Feige 1998). Sums of such
functions with positive weights are such functions.

Greedy choice is lazy (Minoux 1978): a gain that was computed for a smaller set bounds what it is now, so that most
candidates are not looked at again. Of equal gains the first candidate's wins, so that the choice is reproducible.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class SetFunction(Protocol):
    """A monotone submodular function of a growing set of candidates, 0 of the empty set."""

    @property
    def value(self) -> float:
        """Of the set as it is."""

    def gain(self, candidate: int) -> float:
        """Return by how much the candidate would raise the value."""

    def add(self, candidate: int) -> None:
        """Put the candidate into the set."""


class FacilityLocation:
    """How near every point is to its nearest chosen candidate: F(S) = mean over i of max over j in S of s(i, j).

    >>> function = FacilityLocation(np.array([[1.0, 0.5], [0.0, 0.8]]))
    >>> function.gain(0), function.gain(1)
    (0.5, 0.65)

    Args:
        similarity: (points, candidates), none negative.

    Raises:
        ValueError: a similarity is negative or not finite, or there are no points.
    """

    def __init__(self, similarity: NDArray[np.floating]) -> None:
        if not len(similarity) or not np.all(np.isfinite(similarity)) or similarity.min(initial=0) < 0:
            raise ValueError("similarities must be finite and not negative, of at least one point")
        self._similarity = np.asarray(similarity, dtype=np.float64)
        self._nearest = np.zeros(len(similarity))

    @property
    def value(self) -> float:
        """See `SetFunction`."""
        return float(self._nearest.mean())

    def gain(self, candidate: int) -> float:
        """See `SetFunction`."""
        return float(np.maximum(self._similarity[:, candidate] - self._nearest, 0).mean())

    def add(self, candidate: int) -> None:
        """See `SetFunction`."""
        np.maximum(self._nearest, self._similarity[:, candidate], out=self._nearest)


class Coverage:
    """Weight of the features that at least one chosen candidate has, as a share of all weight.

    Args:
        has: (candidates, features) bool.
        weights: (features,), none negative; equal ones if None.

    Raises:
        ValueError: a weight is negative or not finite, or all are 0.
    """

    def __init__(self, has: NDArray[np.bool_], weights: NDArray[np.floating] | None = None) -> None:
        given = np.ones(has.shape[1]) if weights is None else np.asarray(weights, dtype=np.float64)
        if not np.all(np.isfinite(given)) or given.min(initial=0) < 0 or given.sum() == 0:
            raise ValueError("weights must be finite and not negative, and one of them more than 0")
        self._has = has
        self._weights, self._total = given, given.sum()
        self._covered = np.zeros(has.shape[1], dtype=bool)

    @property
    def value(self) -> float:
        """See `SetFunction`."""
        return float(self._weights[self._covered].sum() / self._total)

    def gain(self, candidate: int) -> float:
        """See `SetFunction`."""
        return float(self._weights[self._has[candidate] & ~self._covered].sum() / self._total)

    def add(self, candidate: int) -> None:
        """See `SetFunction`."""
        self._covered |= self._has[candidate]


class Reach:
    """How far the farthest chosen candidate reaches: F(S) = sum over items of weight times max over j in S of r(j, i).

    Args:
        reach: (candidates, items), none negative.
        weights: (items,), none negative.

    Raises:
        ValueError: a number is negative or not finite.
    """

    def __init__(self, reach: NDArray[np.floating], weights: NDArray[np.floating]) -> None:
        if not all(np.all(np.isfinite(given)) and given.min(initial=0) >= 0 for given in (reach, weights)):
            raise ValueError("reach and weights must be finite and not negative")
        self._reach, self._weights = reach, np.asarray(weights, dtype=np.float64)
        self._farthest = np.zeros(reach.shape[1])

    @property
    def value(self) -> float:
        """See `SetFunction`."""
        return float(self._farthest @ self._weights)

    def gain(self, candidate: int) -> float:
        """See `SetFunction`."""
        return float(np.maximum(self._reach[candidate] - self._farthest, 0) @ self._weights)

    def add(self, candidate: int) -> None:
        """See `SetFunction`."""
        np.maximum(self._farthest, self._reach[candidate], out=self._farthest)


class WeightedSum:
    """A sum of set functions with weights that are not negative."""

    def __init__(self, parts: Sequence[tuple[float, SetFunction]]) -> None:
        self._parts = parts

    @property
    def value(self) -> float:
        """See `SetFunction`."""
        return sum(weight * part.value for weight, part in self._parts)

    def gain(self, candidate: int) -> float:
        """See `SetFunction`."""
        return sum(weight * part.gain(candidate) for weight, part in self._parts)

    def add(self, candidate: int) -> None:
        """See `SetFunction`."""
        for _, part in self._parts:
            part.add(candidate)


def greedy(function: SetFunction, candidates: Iterable[int], count: int) -> list[int]:
    """Choose up to `count` candidates, each time the one that raises the function most; it ends at their value.

    Args:
        function: of the empty set, or of what is chosen already.
        candidates: to choose from, each at most once.
        count: how many to choose; all candidates if there are fewer.

    Returns:
        The chosen, in the order of choice. Candidates that raise nothing any more are chosen in their own order.
    """
    bounds = [(-function.gain(candidate), candidate) for candidate in dict.fromkeys(candidates)]
    heapq.heapify(bounds)
    chosen: list[int] = []
    while bounds and len(chosen) < count:
        _, candidate = bounds[0]
        fresh = (-function.gain(candidate), candidate)
        if len(bounds) > 1 and fresh > min(bounds[1:3]):  # another candidate's bound is higher: look at that first
            heapq.heapreplace(bounds, fresh)
            continue
        heapq.heappop(bounds)
        function.add(candidate)
        chosen.append(candidate)
    return chosen
