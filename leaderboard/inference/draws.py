"""Simultaneous intervals of the pairs of cells that were run with several calibration draws.

Task: every pair of K cells, of R draws each, all over the same n captions, held against each other draw by draw. Its
estimate is the mean of R differences, and its variance has a part of the draws and a part of the captions:

    variance = S / R + v_c / n,    S = variance of the R differences (captions within a draw in it)

The part of the captions takes the one critical value of all pairs, from the bootstrap (`bootstrap.critical_value`). The
part of the draws has R - 1 degrees of freedom, two for three draws, and a correlation over draws cannot be estimated
from three. So it takes Student's quantile at 1 - 0.05 / (2 x number of pairs) (Bonferroni), and the interval weights
the two by the parts of the variance (Cochran and Cox 1957, as in `crossed`):

    half width = sqrt(t^2 S / R + c^2 v_c / n)

With two degrees of freedom and 45 pairs t is 26, and nothing would be told apart. So S is moderated (Smyth 2004,
"Linear models and empirical Bayes methods for assessing differential expression in microarray experiments": thousands
of genes and three replicates; here some methods and three draws). What cells do beside what a draw does to all of them,

    e_rj = y_rj - mean_r - mean_j + mean,    s2_j = K / (K-1) sum_r e_rj^2 / (R-1)

has a variance per cell. Smyth takes these for draws from a scaled inverse chi-square of d0 degrees of freedom around
s0^2, both found from the mean and the variance of log s2_j: cells that scatter alike lend each other degrees of
freedom, cells that do not lend none. Two departures, both towards longer intervals, because K cells are no thousands
and one cell may scatter five times as much as all others: only a third of d0 is used, and S is never taken below the
pair's own. `simulate.py` holds the error rates. A pair of which one cell has no draws has what a draw does to all cells
in it, and is not moderated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import digamma, polygamma, stdtrit

from admbench.leaderboard.inference.contrasts import CONFIDENCE, Contrast

LENT = 1 / 3
"""Share of the degrees of freedom lent by the other cells that is used."""
LEAST = 1e-5
"""Variances below this share of their median count as so much, as they have no logarithm (as limma does)."""


@dataclass(frozen=True)
class Moderation:
    """What the draws of all cells say of the variance of one."""

    variance: float
    """s0^2: of a cell's draw, beside what the draw does to all cells."""
    degrees: float
    """Degrees of freedom that a cell borrows."""


def moderation(scores: ArrayLike) -> Moderation:
    """Return what the scatter of some cells over draws lends to each of them.

    Args:
        scores: (R, K) score of each draw (row) of each cell, on the scale on which cells are compared; R, K >= 2.

    Raises:
        ValueError: another shape.

    >>> alike = moderation([[0.0, 1.0, 5.0], [1.0, 0.0, 6.0], [0.0, 0.0, 7.0]])
    >>> 0 < alike.degrees <= 2 / 3  # a third of what three cells of three draws have beside a cell's own two
    True
    """
    table = np.asarray(scores, dtype=np.float64)
    if table.ndim != 2 or min(table.shape) < 2:
        raise ValueError(f"expected at least two draws of two cells, got shape {table.shape}")
    rows, cells = table.shape
    own = rows - 1
    residual = table - table.mean(axis=0) - table.mean(axis=1, keepdims=True) + table.mean()
    variances = np.square(residual).sum(axis=0) / own * cells / (cells - 1)
    floor = LEAST * float(np.median(variances))
    if not floor:
        return Moderation(0.0, 0.0)  # most cells do not scatter at all: they say nothing of those that do
    logs = np.log(np.maximum(variances, floor)) - digamma(own / 2) + math.log(own / 2)
    excess = float(logs.var(ddof=1)) - float(polygamma(1, own / 2))
    lent = 2 * _inverse_trigamma(excess) if excess > 0 else math.inf
    center = float(logs.mean()) + (float(digamma(lent / 2)) - math.log(lent / 2) if lent < math.inf else 0.0)
    return Moderation(math.exp(center), LENT * min(lent, own * (cells - 2)))


def over_draws(one: Contrast, shared: Moderation | None, critical: float, pairs: int) -> float:
    """Return half the length of the simultaneous 95 % interval of a pair, on the scale of its estimate.

    Args:
        one: the pair, of several calibration draws.
        shared: what other cells say of the scatter of a cell's draws; None: nothing.
        critical: of |t|, simultaneous over captions.
        pairs: number of pairs of several draws.

    Raises:
        ValueError: a pair of one draw.
    """
    if one.crossed is None:
        raise ValueError("a pair of one calibration draw")
    rows, degrees = one.crossed.draws, one.crossed.draws - 1.0
    variance = float(np.var(one.crossed.of_draws, ddof=1))
    if shared is not None and shared.degrees:
        pooled = (shared.degrees * 2 * shared.variance + degrees * variance) / (shared.degrees + degrees)
        variance, degrees = max(variance, pooled), degrees + shared.degrees
    student = float(stdtrit(degrees, 1 - (1 - CONFIDENCE) / (2 * pairs)))
    more = one.standard_error**2 - one.crossed.standard_error**2  # of a share: see `contrasts`
    return math.sqrt(student**2 * variance / rows + critical**2 * (one.crossed.variance_captions + max(0.0, more)))


def _inverse_trigamma(value: float) -> float:
    """Return y with trigamma(y) = value, by Newton's method on 1 / trigamma (Smyth 2004, appendix)."""
    y = 0.5 + 1 / value
    for _ in range(100):
        trigamma = float(polygamma(1, y))
        step = trigamma * (1 - trigamma / value) / float(polygamma(2, y))
        y += step
        if abs(step) < 1e-8 * y:
            break
    return y
