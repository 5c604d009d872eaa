"""Distances of sets whose jackknife has a closed form, so that thousands of trials take seconds.

The squared distance of means is the plainest that has a second-order part and a bias. Of two sets whose dimensions are
taken one by one, the Frechet distance is the sum over them of that of two Gaussians on a line,
(m1 - m2)^2 + (s1 - s2)^2. It has what makes intervals of the distance hard: a bias that falls with n, a second-order
part that is all of it near zero, and influences with long tails where embeddings have them. Captions are taken out of
sums and sums of squares.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from admbench.leaderboard.inference.contrasts import contrast
from admbench.leaderboard.inference.influence import Influence, Pairs

Array = NDArray[np.float64]

DIMENSIONS = 16
_SPREAD = np.arange(1, DIMENSIONS + 1) ** -0.5
"""Standard deviation of each dimension: the first few carry most, as of an embedding."""
TAIL = 4
"""Degrees of freedom of heavy-tailed rows, which are multivariate t: their fourth moments are infinite."""

Case = Mapping[str, float]
CASES: dict[str, Case] = {
    "away": {"from_reference": 0.3, "own": 0.85},
    "away, heavy tails": {"from_reference": 0.3, "own": 0.85, "tail": TAIL},
    "near zero": {"from_reference": 0.0, "own": 0.2},
    "near zero, heavy tails": {"from_reference": 0.0, "own": 0.2, "tail": TAIL},
}
"""How two equal cells lie to what they are held against: `from_reference` is how far their mean is moved, in standard
deviations, `own` the size of what is each cell's own. With `from_reference` of zero a cell is the reference itself but
for that: full precision's clips with some noise."""


def ring(n: int) -> Pairs:
    """Return (2 n, 2) pairs of captions, each caption in four."""
    places = np.arange(n)
    return np.concatenate([np.stack([places, np.roll(places, step)], axis=1) for step in (1, 3)])


def squared_distance(generated: Array, reference: Array) -> Influence:
    """Return |m1 - m2|^2 of (n, d) sets, row by row of one caption each, with its influences in closed form.

    Without a set S of m captions the difference of the means, u, is u + (m u - sum_S g) / (n - m), where g are the rows
    of the difference.
    """
    rows = generated - reference
    n, whole = len(rows), rows.mean(axis=0)
    pairs = ring(n)
    one = whole + (whole - rows) / (n - 1)
    two = whole + (2 * whole - rows[pairs].sum(axis=1)) / (n - 2)
    squares = (np.square(one).sum(axis=1), np.square(two).sum(axis=1))
    return Influence.of_jackknife(float(np.square(whole).sum()), *squares, pairs)


def by_dimension(generated: Array, reference: Array) -> Influence:
    """Return the distance of two (n, d) sets, row by row of one caption each, dimension by dimension."""
    n, pairs = len(generated), ring(len(generated))
    sets = (generated, reference)

    def without(rows: list[Array], squares: list[Array], left: int) -> Array:
        means = [(one.sum(axis=0) - gone) / left for one, gone in zip(sets, rows, strict=True)]
        spreads = [
            np.sqrt(np.maximum(np.square(one).sum(axis=0) - gone - left * np.square(mean), 0) / (left - 1))
            for one, gone, mean in zip(sets, squares, means, strict=True)
        ]
        distance: Array = (np.square(means[0] - means[1]) + np.square(spreads[0] - spreads[1])).sum(axis=-1)
        return distance

    squared = [np.square(one) for one in sets]
    none = [np.zeros((1, generated.shape[1]))] * 2
    two = [one[pairs].sum(axis=1) for one in sets], [one[pairs].sum(axis=1) for one in squared]
    whole = float(without(none, none, n)[0])
    return Influence.of_jackknife(whole, without([*sets], squared, n - 1), without(*two, n - 2), pairs)


def draw_equal(rng: np.random.Generator, n: int, case: Case, cells: int = 2) -> dict[str, Influence]:
    """Return cells of one distribution, over n captions that they share, at the same true distance."""

    def rows() -> Array:
        drawn = rng.normal(size=(n, DIMENSIONS)) * _SPREAD
        if "tail" in case:
            drawn *= np.sqrt((case["tail"] - 2) / rng.chisquare(case["tail"], size=(n, 1)))
        return drawn

    captions = rows()
    reference = captions if not case["from_reference"] else 0.6 * captions + 0.8 * rows()
    moved = captions if not case["from_reference"] else case["from_reference"] * _SPREAD + 0.85 * captions
    return {f"cell {k}": by_dimension(moved + case["own"] * rows(), reference) for k in range(cells)}


def wrongly_told_apart(n: int, case: Case, trials: int, seed: int = 0) -> int:
    """Count trials in which the 95 % interval of the ratio of two equal cells does not hold 1."""
    rng = np.random.default_rng((seed, n))
    wrong = 0
    for _ in range(trials):
        low, high = contrast(*draw_equal(rng, n, case).values(), ratio=True).interval()
        wrong += not low <= 1 <= high
    return wrong
