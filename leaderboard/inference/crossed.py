"""A mean over two crossed samples: captions, and calibration draws (or models), with what each adds to its error.

Task: a method was run R times with other calibration draws, each run heard on the same n captions. How sure is its
score, had other captions *and* other draws been taken? Of R models instead of R draws the question is the same.

    y_ri = mu + draw_r + caption_i + rest_ri,    variances v_d, v_c, v_e
    var(mean) = v_d / R + v_c / n + v_e / (R n)

Both effects are random and crossed, with one number in each place, so that the mean squares of the two-way table have
the expectations (Cornfield and Tukey 1956, "Average values of mean squares in factorials"; Searle, Casella and
McCulloch 1992, "Variance components", ch. 4)

    E MS_d = v_e + n v_d      E MS_c = v_e + R v_c      E MS_e = v_e

Components are estimated from these, none below zero. The degrees of freedom are Satterthwaite's (1946) of the sum
of mean squares that the variance is: few where the draws decide, near n - 1 where the captions do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit


@dataclass(frozen=True)
class Crossed:
    """A mean over draws and captions."""

    estimate: float
    standard_error: float
    """Over draws and captions."""
    degrees: float
    """Degrees of freedom of the standard error."""
    draws: int
    """R."""
    captions: int
    """n."""
    share_draws: float
    """Share of the variance of `estimate` that other draws (or models) would bring."""
    share_captions: float
    """Share that other captions would bring."""

    @property
    def share_rest(self) -> float:
        """Share that belongs to single pairs of a draw and a caption."""
        return max(0.0, 1 - self.share_draws - self.share_captions)

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Return the interval over draws and captions."""
        half = float(stdtrit(self.degrees, (1 + confidence) / 2)) * self.standard_error if self.standard_error else 0.0
        return self.estimate - half, self.estimate + half


def crossed_mean(table: ArrayLike) -> Crossed:
    """Return the mean of a table of draws (rows) and captions (columns), both random.

    Args:
        table: (R, n) finite numbers, R >= 2 and n >= 2. Of a score that is no mean over clips, the score of a draw
            plus the influence of each caption, so that a row's mean is the score.

    Raises:
        ValueError: another shape, or a number that is not finite.

    >>> one = crossed_mean([[0.0, 2.0, 4.0], [1.0, 3.0, 5.0]])
    >>> one.estimate, round(one.standard_error, 3), round(one.share_draws, 3)
    (2.5, 1.258, 0.158)
    """
    numbers = np.asarray(table, dtype=np.float64)
    if numbers.ndim != 2 or min(numbers.shape) < 2:
        raise ValueError(f"expected at least two draws and two captions, got shape {numbers.shape}")
    if not np.isfinite(numbers).all():
        raise ValueError("not every number is finite")
    rows, columns = numbers.shape
    mean = float(numbers.mean())
    by_row, by_column = numbers.mean(axis=1) - mean, numbers.mean(axis=0) - mean
    rest = numbers - mean - by_row[:, None] - by_column[None, :]
    freedom = (rows - 1, columns - 1, (rows - 1) * (columns - 1))
    square_row = columns * float(np.square(by_row).sum()) / freedom[0]
    square_column = rows * float(np.square(by_column).sum()) / freedom[1]
    square_rest = float(np.square(rest).sum()) / freedom[2]

    of_rows = max(0.0, (square_row - square_rest) / columns) / rows
    of_columns = max(0.0, (square_column - square_rest) / rows) / columns
    variance = of_rows + of_columns + square_rest / (rows * columns)
    if not variance:
        return Crossed(mean, 0.0, float(freedom[1]), rows, columns, 0.0, 0.0)
    parts = [
        (square_row if of_rows else 0.0, freedom[0]),
        (square_column if of_columns else 0.0, freedom[1]),
        (square_rest * (1 - bool(of_rows) - bool(of_columns)), freedom[2]),
    ]
    spread = sum((square / (rows * columns)) ** 2 / count for square, count in parts)
    degrees = variance**2 / spread if spread else float(freedom[1])
    degrees = min(max(degrees, 1.0), float(freedom[2]) if freedom[2] > freedom[1] else float(freedom[1]))
    return Crossed(
        mean, math.sqrt(variance), degrees, rows, columns, of_rows / variance, of_columns / variance
    )
