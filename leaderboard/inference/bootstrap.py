"""The critical value of many contrasts at once: a Gaussian multiplier bootstrap over captions.

    t*_c = sum_i e_i psi_c,i / |psi_c| / sqrt(chi2_(n-1) / (n-1)),    e_i ~ N(0, 1)

psi_c,i is the influence of caption i on contrast c; the value is the 95 % quantile of the largest |t*_c| (sources:
`admbench.leaderboard.inference.pairs`). The influence of a pair of cells is the difference of theirs, so that a draw
multiplies K cells and not K (K-1) / 2 pairs: sum_i e_i (psi_j,i - psi_k,i) is the difference of two sums.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from admbench.leaderboard.inference.contrasts import CONFIDENCE, Contrast
from admbench.leaderboard.inference.influence import Values

DRAWS_PER_BLOCK = 1000
BLOCKS = 10
"""Of the bootstrap's 10,000 draws, by which the critical value is known to about 1 %."""
KEPT_CAPTIONS = 256
"""Up to so many, the draws are kept for the next call: at most 40 MB."""


class Family(Protocol):
    """Contrasts over the same captions."""

    @property
    def n(self) -> int:
        """Number of captions."""
        ...

    def largest(self, gaussian: Values) -> Values:
        """Return (d,) the largest |sum_i e_i psi_c,i / |psi_c|| of each row of (d, n) multipliers."""
        ...


@dataclass(frozen=True)
class Rows:
    """Contrasts by the influences of each."""

    unit: Values
    """(c, n) influences of each contrast over their norm; zero where there are none."""

    @classmethod
    def of(cls, contrasts: Sequence[Contrast]) -> Rows:
        """Return the family of some contrasts.

        Raises:
            ValueError: contrasts over other numbers of captions.
        """
        if len({one.n for one in contrasts}) > 1:
            raise ValueError("contrasts over other numbers of captions")
        return cls(np.stack([one.influence / (np.linalg.norm(one.influence) or 1.0) for one in contrasts]))

    @property
    def n(self) -> int:
        """Number of captions."""
        return self.unit.shape[1]

    def largest(self, gaussian: Values) -> Values:
        """See `Family`."""
        drawn = gaussian @ self.unit.T
        return np.maximum(drawn.max(axis=1), -drawn.min(axis=1))


@dataclass(frozen=True)
class Differences:
    """Contrasts that are differences of cells, by the influences of the cells."""

    influences: Values
    """(k, n) of each cell, of mean zero."""
    inverse: Values
    """(k, k) above the diagonal 1 / |psi_j - psi_k| of the pairs that are compared, zero elsewhere."""

    @property
    def n(self) -> int:
        """Number of captions."""
        return self.influences.shape[1]

    def largest(self, gaussian: Values) -> Values:
        """See `Family`."""
        sums = self.influences @ gaussian.T
        largest = np.zeros(len(gaussian))
        space = np.empty_like(sums)
        for j in range(len(sums) - 1):
            if self.inverse[j].any():
                drawn = np.subtract(sums[j + 1 :], sums[j], out=space[j + 1 :])
                drawn *= self.inverse[j, j + 1 :, None]
                np.maximum(largest, np.abs(drawn, out=drawn).max(axis=0), out=largest)
        return largest


def largest_draws(families: Sequence[Family], seed: int = 0) -> Values:
    """Return (10000,) the largest |t| of all contrasts of some families over the same captions, of each draw.

    Raises:
        ValueError: no contrast, or contrasts over other numbers of captions.
    """
    if not families:
        raise ValueError("no contrasts")
    if len({one.n for one in families}) > 1:
        raise ValueError("contrasts over other numbers of captions")
    drawn = blocks(families[0].n, seed)
    found: list[Values] = [
        np.max([one.largest(gaussian) for one in families], axis=0) / root[:, 0] for gaussian, root in drawn
    ]
    return np.concatenate(found)


def critical_value(largest: Values, n: int, confidence: float = CONFIDENCE) -> float:
    """Return the quantile of the largest |t|, and never less than that of a single contrast.

    Args:
        largest: of each draw.
        n: captions.
        confidence: of all intervals at once.
    """
    return max(float(np.quantile(largest, confidence)), float(stdtrit(n - 1, (1 + confidence) / 2)))


def studentized_draws(contrasts: Sequence[Contrast], *, seed: int = 0) -> Iterator[NDArray[np.float64]]:
    """Yield, in ten blocks, (1000, k) draws of the t of k contrasts, were each truly zero; of one without influence 0.

    Raises:
        ValueError: contrasts over other numbers of captions.
    """
    rows = Rows.of(contrasts)
    for gaussian, root in blocks(rows.n, seed):
        yield gaussian @ rows.unit.T / root


def blocks(n: int, seed: int) -> Iterator[tuple[Values, Values]]:
    """Yield the multipliers of ten blocks of draws, as of `_multipliers`.

    Multipliers belong to captions, so that draws are the same on every machine but for rounding.
    """
    for block in range(BLOCKS):
        yield _kept_multipliers(n, seed, block) if n <= KEPT_CAPTIONS else _multipliers(n, seed, block)


def _multipliers(n: int, seed: int, block: int) -> tuple[Values, Values]:
    """Return (1000, n) standard normal numbers, and (1000, 1) roots of chi-square over its n - 1 degrees of freedom."""
    generator = np.random.default_rng((seed, block))
    gaussian = generator.standard_normal((DRAWS_PER_BLOCK, n))
    return gaussian, np.sqrt(generator.chisquare(n - 1, (DRAWS_PER_BLOCK, 1)) / (n - 1))


_kept_multipliers = lru_cache(maxsize=2 * BLOCKS)(_multipliers)
