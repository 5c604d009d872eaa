"""Greedy maximisation of a monotone submodular function under a budget.

Nemhauser, Wolsey and Fisher (1978), "An analysis of approximations for maximizing submodular set functions": what is
chosen by largest gain is worth at least 1 - 1/e, 63 %, of the best choice of that size. Lazily, as Minoux (1978): gains
only fall, so that a gain which is still the largest after it was brought up to date is the largest of all.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Objective(Protocol):
    """A monotone submodular function F of a set of candidates, with the set chosen so far."""

    def gain(self, candidate: int) -> float:
        """Return F with the candidate minus F without it; never negative, and never more than it was before."""

    def add(self, candidate: int) -> None:
        """Choose a candidate."""


def greedy(
    objective: Objective, candidates: Sequence[int] | NDArray[np.int64], budget: int, until: Callable[[float], bool]
) -> list[int]:
    """Choose the candidate of the largest gain, again and again; return the chosen ones in that order.

    Args:
        objective: what is to be large.
        candidates: what can be chosen; of equal gains the first one is taken.
        budget: how many to choose at most.
        until: the largest gain -> whether to stop before it is taken.
    """
    queue = [(-objective.gain(int(candidate)), place) for place, candidate in enumerate(candidates)]
    heapq.heapify(queue)
    chosen: list[int] = []
    while queue and len(chosen) < budget:
        _, place = queue[0]
        gain = objective.gain(int(candidates[place]))
        heapq.heapreplace(queue, (-gain, place))
        if queue[0][1] != place:
            continue
        if until(gain):
            break
        heapq.heappop(queue)
        objective.add(int(candidates[place]))
        chosen.append(int(candidates[place]))
    return chosen


class FacilityLocation:
    """F(S) = the mean over clients of their largest similarity to a member of S; 0 for the empty set.

    Args:
        similarity: (clients, candidates), not negative.
    """

    def __init__(self, similarity: Tensor) -> None:
        self._similarity = similarity.t().contiguous()
        self._best = torch.zeros(similarity.shape[0], dtype=similarity.dtype)

    @property
    def value(self) -> float:
        """F of what is chosen."""
        return self._best.mean().item()

    def gain(self, candidate: int) -> float:
        """See `Objective`."""
        return (self._similarity[candidate] - self._best).clamp_(min=0).mean().item()

    def add(self, candidate: int) -> None:
        """See `Objective`."""
        torch.maximum(self._best, self._similarity[candidate], out=self._best)


class Hull:
    """F(S) = the weighted sum over items of the largest reach of a member of S; 0 for the empty set.

    Args:
        reach: (candidates, items), not negative.
        weights: (items,), not negative.
    """

    def __init__(self, reach: Tensor, weights: Tensor) -> None:
        self._reach, self._weights = reach, weights
        self._best = torch.zeros_like(weights)

    @property
    def value(self) -> float:
        """F of what is chosen."""
        return torch.dot(self._best, self._weights).item()

    def gain(self, candidate: int) -> float:
        """See `Objective`."""
        return torch.dot((self._reach[candidate] - self._best).clamp_(min=0), self._weights).item()

    def add(self, candidate: int) -> None:
        """See `Objective`."""
        torch.maximum(self._best, self._reach[candidate], out=self._best)
