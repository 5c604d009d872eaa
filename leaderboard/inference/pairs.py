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

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from admbench.leaderboard.inference.contrasts import CONFIDENCE, Cell, Contrast, contrast, draws, value
from admbench.leaderboard.inference.draws import Moderation, moderation, over_draws
from admbench.leaderboard.inference.letters import compact_letters
from admbench.leaderboard.inference.scores import ScoreKind, caution

MAXIMUM_CELLS = 100
DRAWS_PER_BLOCK = 1000
BLOCKS = 10
"""Of the bootstrap's 10,000 draws, by which the critical value is known to about 1 %."""
KEPT_CAPTIONS = 256
"""Up to so many, the draws are kept for the next call: at most 40 MB."""


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
    """Every cell of one model by one score."""

    values: dict[str, float]
    """Point estimates, best first; of a cell with several draws the mean."""
    pairs: tuple[Pair, ...]
    letters: dict[str, str]
    """Cells that share a letter are not told apart."""
    ranks: dict[str, tuple[int, int]]
    """Simultaneous 95 % rank intervals."""
    n: int
    """Captions."""
    critical: float | None
    """Critical value of |t|; None where each pair has its own."""

    @property
    def order(self) -> tuple[str, ...]:
        """Names of the cells, best point estimate first."""
        return tuple(self.values)

    @property
    def caution(self) -> str | None:
        """Why not to trust this too far: too few captions; None if nothing."""
        return caution(self.n)

    def pair(self, first: str, second: str) -> Pair:
        """Return the pair of two cells, whichever is better.

        Raises:
            KeyError: there is no such pair.
        """
        found = self._by_names.get(frozenset((first, second)))
        if found is None:
            raise KeyError(f"no pair of {first} and {second}")
        return found

    @cached_property
    def _by_names(self) -> dict[frozenset[str], Pair]:
        return {frozenset((one.better, one.worse)): one for one in self.pairs}

    def better_than(self, first: str, second: str) -> bool | None:
        """Return whether one cell is shown to be better than another; None if they are not told apart."""
        found = self.pair(first, second)
        return found.better == first if found.told_apart else None


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
    named = list(combinations(order, 2))
    contrasts = [contrast(cells[one], cells[other], ratio=kind.ratio_scale, share=kind.share) for one, other in named]
    halves, critical = half_widths(contrasts, seed, _lent(cells, named, contrasts))
    pairs = [_pair(names, one, half, kind) for names, one, half in zip(named, contrasts, halves, strict=True)]
    apart = [(pair.better, pair.worse) for pair in pairs if pair.told_apart]
    ranks = {
        name: (
            1 + sum(worse == name for _, worse in apart),
            len(order) - sum(better == name for better, _ in apart),
        )
        for name in order
    }
    n = draws(cells[order[0]])[0].n
    return AllPairs(
        {name: values[name] for name in order}, tuple(pairs), compact_letters(order, apart), ranks, n, critical
    )


def critical_value(contrasts: Sequence[Contrast], *, confidence: float = CONFIDENCE, seed: int = 0) -> float:
    """Return the quantile of the largest |t| of some contrasts over the same captions.

    Raises:
        ValueError: no contrast, or contrasts over other numbers of captions.
    """
    if not contrasts:
        raise ValueError("no contrasts")
    blocks = studentized_draws(contrasts, seed=seed)
    largest = [np.maximum(drawn.max(axis=1), -drawn.min(axis=1)) for drawn in blocks]  # no copy of a block's 5 million
    student = float(stdtrit(contrasts[0].n - 1, (1 + confidence) / 2))
    return max(float(np.quantile(np.concatenate(largest), confidence)), student)  # never below that of a single pair


def studentized_draws(contrasts: Sequence[Contrast], *, seed: int = 0) -> Iterator[NDArray[np.float64]]:
    """Yield, in ten blocks, (1000, k) draws of the t of k contrasts, were each truly zero; of one without influence 0.

    Multipliers belong to captions, so that the draws are the same on every machine but for rounding.

    Raises:
        ValueError: contrasts over other numbers of captions.
    """
    if len({one.n for one in contrasts}) > 1:
        raise ValueError("contrasts over other numbers of captions")
    n = contrasts[0].n
    rows = np.stack([one.influence / (np.linalg.norm(one.influence) or 1.0) for one in contrasts])
    for block in range(BLOCKS):
        gaussian, root = _kept_multipliers(n, seed, block) if n <= KEPT_CAPTIONS else _multipliers(n, seed, block)
        drawn = gaussian @ rows.T
        drawn /= root
        yield drawn


def _multipliers(n: int, seed: int, block: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (1000, n) standard normal numbers, and (1000, 1) roots of chi-square over its n - 1 degrees of freedom."""
    generator = np.random.default_rng((seed, block))
    gaussian = generator.standard_normal((DRAWS_PER_BLOCK, n))
    return gaussian, np.sqrt(generator.chisquare(n - 1, (DRAWS_PER_BLOCK, 1)) / (n - 1))


_kept_multipliers = lru_cache(maxsize=2 * BLOCKS)(_multipliers)


def half_widths(
    contrasts: Sequence[Contrast], seed: int, lent: Sequence[Moderation | None] = ()
) -> tuple[list[float], float | None]:
    """Return half the length of each simultaneous 95 % interval, and the critical value if there is one for all.

    Half lengths are on the scale of `Contrast.estimate`.

    Args:
        contrasts: over the same captions.
        seed: of the bootstrap's draws.
        lent: of each contrast over several calibration draws, what other cells say of its scatter; without it each
            stands alone.

    Raises:
        ValueError: contrasts over other numbers of captions.
    """
    critical = critical_value(contrasts, seed=seed) if contrasts else 0.0
    if any(one.crossed for one in contrasts):
        return over_draws(contrasts, lent or [None] * len(contrasts), critical), None
    return [critical * one.standard_error for one in contrasts], critical if contrasts else None


def _lent(
    cells: Mapping[str, Cell], named: Sequence[tuple[str, str]], contrasts: Sequence[Contrast]
) -> list[Moderation | None]:
    """Return for each pair of two cells of several draws what all such cells say of their scatter.

    None for other pairs, of which what a draw does to all cells is a part, and where pairs are on several scales.
    """
    several = [name for name, cell in cells.items() if len(draws(cell)) > 1]
    scales = {one.scale for one in contrasts}
    if len(several) < 3 or len(scales) > 1:
        return [None] * len(contrasts)
    scores = np.array([[one.value for one in draws(cells[name])] for name in several]).T
    shared = moderation(np.log(scores) if "ratio" in scales else scores)
    return [shared if one in several and other in several else None for one, other in named]


def _pair(names: tuple[str, str], one: Contrast, half: float, kind: ScoreKind) -> Pair:
    low, high = one.interval(half)
    if one.scale == "difference":
        low, high = kind.difference_inside((low, high))
    sign = -1 if kind.higher_is_better else 1
    return Pair(*names, one, low, high, sign * one.estimate < -half)
