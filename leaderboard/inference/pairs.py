"""All pairs of cells of one model, compared over the same captions, simultaneously at 95 %.

Each pair is a studentized contrast. One critical value serves for all: the 95 % quantile of the largest |t| over all
pairs, so that with probability 95 % *every* interval holds its true difference. It comes from a Gaussian multiplier
bootstrap over captions (Chernozhukov, Chetverikov and Kato 2013; studentized max-|t| as in Romano and Wolf 2005,
"Exact and approximate stepdown methods for multiple hypothesis testing"):

    t*_jk = sum_i e_i psi_jk,i / |psi_jk| / sqrt(chi2_(n-1) / (n-1)),    e_i ~ N(0, 1)

psi_jk,i is the influence of caption i on the contrast of cells j and k. Given the data, sum_i e_i psi_jk,i / |psi_jk|
is Gaussian with the contrasts' correlation. The chi-square, one for all pairs, makes a
multivariate t of it, as the standard errors are estimates (Hothorn, Bretz and Westfall 2008); for one pair this is
Student's t.

It is the first step of Romano and Wolf's procedure and stops there. A step down would tell a few more pairs apart, but
with intervals of the first step that hold zero all the same. Here intervals, letters and ranks are read from one event
of probability 95 %, and cannot contradict each other.

Ranks: with the same probability, every cell's rank is in its rank interval, from 1 + the number of cells that are shown
to be better, to the number of cells that are not shown to be worse (Mogstad, Romano, Shaikh and Wilhelm 2024,
"Inference for ranks with applications to mobility across neighbourhoods and academic achievement across countries").
The rank of a cell is 1 + the number of those truly better: cells that are equal share a rank.

Where cells were run with several calibration draws, each pair has a critical value of its own, which weights that of
the captions and one of the draws: `admbench.leaderboard.inference.draws`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from admbench.leaderboard.inference.bootstrap import critical_value, largest_draws
from admbench.leaderboard.inference.contrasts import Cell, Contrast, contrast, draws, value
from admbench.leaderboard.inference.draws import Moderation, moderation, over_draws
from admbench.leaderboard.inference.influence import Values
from admbench.leaderboard.inference.letters import MAXIMUM_LETTERS, compact_letters
from admbench.leaderboard.inference.pairwise import Pairwise, pairwise, place_of
from admbench.leaderboard.inference.scores import ScoreKind, caution

MAXIMUM_CELLS = 100


@dataclass(frozen=True)
class Pair:
    """Two cells of one model."""

    better: str
    """The cell whose point estimate is better."""
    worse: str
    contrast: Contrast
    """Of `better` against `worse`."""
    low: float
    """Simultaneous 95 % interval of the difference `better` - `worse`, or of their ratio: see `contrast.scale`."""
    high: float
    told_apart: bool
    """Whether the interval holds neither a difference of 0 nor a ratio of 1."""


@dataclass(frozen=True)
class AllPairs:
    """Every cell of one model by one score.

    A hundred cells have 4,950 pairs: what they are made of is made when it is asked for, and not kept.
    """

    values: dict[str, float]
    """Point estimates, best first; of a cell with several draws the mean."""
    letters: dict[str, str]
    """Cells that share a letter are not told apart; no letters where more than 200 would be needed."""
    ranks: dict[str, tuple[int, int]]
    """Simultaneous 95 % rank intervals."""
    n: int
    """Captions."""
    critical: float | None
    """Critical value of |t|; None where each pair has its own."""
    cells: Mapping[str, Cell]
    """That are compared."""
    kind: ScoreKind
    """Of the score."""
    halves: Values
    """(P,) half the length of each interval, on the scale of `Contrast.estimate`, best cells first."""
    apart: NDArray[np.bool_]
    """(P,) whether the pair is told apart."""
    largest: Values
    """The largest |t| of all pairs in each draw of the bootstrap; empty of one cell."""

    @property
    def order(self) -> tuple[str, ...]:
        """Names of the cells, best point estimate first."""
        return tuple(self.values)

    @property
    def caution(self) -> str | None:
        """Why not to trust this too far: too few captions; None if nothing."""
        return caution(self.n)

    @property
    def unlettered(self) -> str | None:
        """Why cells have no letters; None if they have."""
        if all(self.letters.values()):
            return None
        return f"the pairs of {len(self.values)} cells that are told apart ask for more than {MAXIMUM_LETTERS} letters"

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """Every pair, those of the best cell first."""
        return tuple(self._made(place, *names) for place, names in enumerate(combinations(self.order, 2)))

    @property
    def told_apart(self) -> list[tuple[str, str]]:
        """The pairs that are told apart: the better cell, then the worse."""
        return [names for names, apart in zip(combinations(self.order, 2), self.apart, strict=True) if apart]

    def pair(self, first: str, second: str) -> Pair:
        """Return the pair of two cells, whichever is better.

        Raises:
            KeyError: there is no such pair.
        """
        better, worse = self._names(first, second)
        return self._made(self._place(better, worse), better, worse)

    def better_than(self, first: str, second: str) -> bool | None:
        """Return whether one cell is shown to be better than another; None if they are not told apart.

        Raises:
            KeyError: there is no such pair.
        """
        better, worse = self._names(first, second)
        return better == first if self.apart[self._place(better, worse)] else None

    @cached_property
    def _at(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.values)}

    def _names(self, first: str, second: str) -> tuple[str, str]:
        if first == second or first not in self._at or second not in self._at:
            raise KeyError(f"no pair of {first} and {second}")
        return (first, second) if self._at[first] < self._at[second] else (second, first)

    def _place(self, better: str, worse: str) -> int:
        return place_of(len(self.values), self._at[better], self._at[worse])

    def _made(self, place: int, better: str, worse: str) -> Pair:
        one = contrast(self.cells[better], self.cells[worse], ratio=self.kind.ratio_scale, share=self.kind.share)
        low, high = one.interval(float(self.halves[place]))
        if one.scale == "difference":
            low, high = self.kind.difference_inside((low, high))
        return Pair(better, worse, one, low, high, bool(self.apart[place]))


def all_pairs(cells: Mapping[str, Cell], kind: ScoreKind, *, seed: int = 0) -> AllPairs:
    """Compare every cell with every other.

    Args:
        cells: by name, one score over the same captions in the same order.
        kind: of the score.
        seed: of the bootstrap's draws; the same data and seed give the same result.

    Raises:
        ValueError: no cell, too many, or cells over other captions.
    """
    if not 1 <= len(cells) <= MAXIMUM_CELLS:
        raise ValueError(f"expected 1 to {MAXIMUM_CELLS} cells, got {len(cells)}")
    sign = -1 if kind.higher_is_better else 1
    values = {name: value(cell, ratio=kind.ratio_scale) for name, cell in cells.items()}
    order = sorted(cells, key=lambda name: (sign * values[name], name))
    found = pairwise(cells, order, kind)
    largest = largest_draws(found.families, seed) if found.families else np.zeros(0)
    (halves,), critical = half_widths([found], largest, _lent(cells, found))
    apart = sign * found.estimate < -halves
    table = np.zeros((len(order), len(order)), dtype=np.bool_)
    table[np.triu_indices(len(order), 1)] = apart
    beaten_by, beats = table.sum(axis=0), table.sum(axis=1)
    told = [(order[one], order[other]) for one, other in np.argwhere(table)]
    return AllPairs(
        values={name: values[name] for name in order},
        letters=compact_letters(order, told) or dict.fromkeys(order, ""),
        ranks={name: (1 + int(beaten_by[k]), len(order) - int(beats[k])) for k, name in enumerate(order)},
        n=draws(cells[order[0]])[0].n,
        critical=critical,
        cells=cells,
        kind=kind,
        halves=halves,
        apart=apart,
        largest=largest,
    )


def half_widths(
    parts: Sequence[Pairwise], largest: Values, lent: Mapping[int, Moderation] | None = None
) -> tuple[list[Values], float | None]:
    """Return half the length of each simultaneous 95 % interval, and the critical value if there is one for all.

    Half lengths are on the scale of `Contrast.estimate`.

    Args:
        parts: pairs over the same captions, by one score or by several.
        largest: of all of them, the largest |t| in each draw of the bootstrap; empty where there is no pair.
        lent: of pairs of the first part over several calibration draws, by their place, what other cells say of their
            scatter; without it each stands alone.

    Raises:
        ValueError: pairs over other numbers of captions.
    """
    if not len(largest):
        return [np.zeros(0) for _ in parts], None
    captions = {family.n for one in parts for family in one.families}
    if len(captions) > 1:
        raise ValueError("contrasts over other numbers of captions")
    critical = critical_value(largest, captions.pop())
    halves = [critical * one.standard_error for one in parts]
    several = sum(len(one.drawn) for one in parts)
    for k, (one, own) in enumerate(zip(parts, halves, strict=True)):
        for place, drawn in one.drawn.items():
            own[place] = over_draws(drawn, lent.get(place) if lent and k == 0 else None, critical, several)
    return halves, None if several else critical


def _lent(cells: Mapping[str, Cell], found: Pairwise) -> dict[int, Moderation]:
    """Return by the place of each pair of two cells of several draws what all such cells say of their scatter.

    Not of other pairs, of which what a draw does to all cells is a part, and of none where pairs are on several scales.
    """
    several = [name for name in cells if len(draws(cells[name])) > 1]
    if len(several) < 3 or found.ratio.any() != found.ratio.all():
        return {}
    scores = np.array([[one.value for one in draws(cells[name])] for name in several]).T
    shared = moderation(np.log(scores) if found.ratio.all() else scores)
    pairs = enumerate(combinations(found.names, 2))
    return {place: shared for place, (one, other) in pairs if one in several and other in several}
