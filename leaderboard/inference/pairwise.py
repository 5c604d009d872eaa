"""Every pair of some cells by one score, as arrays: what `contrast` says of each, computed for all at once.

A hundred cells have 4,950 pairs. Their estimates and standard errors are made cell by cell against all that follow;
what a single pair is made of, its `Contrast`, is made when somebody asks for it. A pair of which a cell was run with
several calibration draws is made by `contrast` itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from admbench.leaderboard.inference.bootstrap import Differences, Family, Rows
from admbench.leaderboard.inference.contrasts import Cell, Contrast, contrast, share_error
from admbench.leaderboard.inference.influence import TAKEN_OFF, Influence, Values
from admbench.leaderboard.inference.scores import ScoreKind

Place = TypeVar("Place", int, NDArray[np.int64])

NEAR = 1e-6
"""Cells whose influences differ by less than this share of them are compared by the difference itself: that of two sums
over captions would be rounding."""


@dataclass(frozen=True)
class Pairwise:
    """All pairs of K cells, in the order of `itertools.combinations`."""

    names: tuple[str, ...]
    estimate: Values
    """(P,) of the difference of the first and the second cell, or of the natural logarithm of their ratio."""
    standard_error: Values
    """(P,) of `estimate`."""
    ratio: NDArray[np.bool_]
    """(P,) whether it is a ratio."""
    drawn: dict[int, Contrast]
    """Place of a pair -> its contrast, where a cell was run with several calibration draws."""
    families: tuple[Family, ...]
    """The pairs as the bootstrap takes them."""


def pairwise(cells: Mapping[str, Cell], names: Sequence[str], kind: ScoreKind) -> Pairwise:
    """Hold each cell against each that follows it.

    Args:
        cells: by name, one score over the same captions in the same order.
        names: of the cells, in the order in which they are held against each other.
        kind: of the score.

    Raises:
        ValueError: cells over other captions, or with other numbers of draws.
    """
    count = len(names) * (len(names) - 1) // 2
    scales = np.zeros(count, dtype=np.bool_)
    estimate, error = np.zeros(count), np.zeros(count)
    single = {name: score for name in names if (score := _one(cells[name])) is not None}
    drawn: dict[int, Contrast] = {}
    for place, (one, other) in enumerate(combinations(names, 2)):
        if one not in single or other not in single:
            found = contrast(cells[one], cells[other], ratio=kind.ratio_scale, share=kind.share)
            drawn[place], scales[place] = found, found.scale == "ratio"
            estimate[place], error[place] = found.estimate, found.standard_error
    families: list[Family] = [Rows.of(list(drawn.values()))] if drawn else []
    positive = [name in single and kind.ratio_scale and single[name].value > 0 for name in names]
    for ratio in (True, False):
        among = [k for k, name in enumerate(names) if name in single and (positive[k] or not ratio)]
        if len(among) < 2 or (not ratio and all(positive[k] for k in among)):
            continue
        scores = [single[names[k]].log() if ratio else single[names[k]] for k in among]
        table = _Table.of(scores)
        inverse, cells_of = np.zeros((len(among), len(among))), np.array(among)
        close: list[Values] = []
        for j, first in enumerate(among[:-1]):
            later = np.arange(j + 1, len(among))
            if not ratio and positive[first]:
                later = later[[not positive[among[k]] for k in later]]  # two above zero are held as a ratio
            if not len(later):
                continue
            numbers, errors, rows, norms = table.against(j, later)
            places = place_of(len(names), first, cells_of[later])
            estimate[places], error[places], scales[places] = numbers, errors, ratio
            apart = norms > NEAR * np.maximum(table.norms[j], table.norms[later])
            inverse[j, later[apart]] = 1 / norms[apart]
            close += [row / norm for row, norm in zip(rows[~apart], norms[~apart], strict=True) if norm]
        families.append(Differences(table.first, inverse))
        families += [Rows(np.stack(close))] if close else []
    if kind.share:
        fixed = np.array([k not in drawn for k in range(count)], dtype=np.bool_)
        error[fixed] = share_error(error[fixed], next(iter(single.values())).n) if fixed.any() else error[fixed]
    return Pairwise(tuple(names), estimate, error, scales, drawn, tuple(families))


@dataclass(frozen=True)
class _Table:
    """K scores over the same captions, of one draw each."""

    values: Values
    first: Values
    """(K, n) influences, of mean zero."""
    second: Values
    """(K, p) second-order parts; zero of a score without."""
    norms: Values
    """(K,) of the influences."""

    @classmethod
    def of(cls, scores: Sequence[Influence]) -> _Table:
        for one in scores:
            one.check_comparable(scores[0])
        with_second = [one for one in scores if len(one.pairs)]
        for one in with_second:
            one.check_comparable(with_second[0])
        first = np.stack([one.first for one in scores])
        first = first - first.mean(axis=1, keepdims=True)
        second = np.zeros((len(scores), max(len(one.second) for one in scores)))
        for row, one in zip(second, scores, strict=True):
            row[: len(one.second)] = one.second
        return cls(np.array([one.value for one in scores]), first, second, np.linalg.norm(first, axis=1))

    def against(self, j: int, later: NDArray[np.int64]) -> tuple[Values, Values, Values, Values]:
        """Return estimates, standard errors, influences and their norms of score j less each of some others."""
        n = self.first.shape[1]
        rows = self.first[j] - self.first[later]
        rows -= rows.mean(axis=1, keepdims=True)
        squares = np.square(rows).sum(axis=1)
        variance = squares / (n * (n - 1))
        if self.second.shape[1]:
            twice = (n - 1) / n * np.square(self.second[j] - self.second[later]).mean(axis=1) / 2
            variance = np.maximum(variance - TAKEN_OFF * twice, twice)
        return self.values[j] - self.values[later], np.sqrt(variance), rows, np.sqrt(squares)


def _one(cell: Cell) -> Influence | None:
    """Return the score of a cell of one draw."""
    if isinstance(cell, Influence):
        return cell
    return cell[0] if len(cell) == 1 else None


def place_of(count: int, first: int, second: Place) -> Place:
    """Return where the pair of the cells at two places, the lower first, is among the pairs of `count` cells.

    Of several second cells, an array of them, it is an array.

    >>> [place_of(4, *pair) for pair in combinations(range(4), 2)]
    [0, 1, 2, 3, 4, 5]
    """
    return first * (2 * count - first - 1) // 2 + second - first - 1
