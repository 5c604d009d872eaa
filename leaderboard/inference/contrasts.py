"""One cell held against another over the same captions: a difference or a ratio, with its error.

A ratio is a difference of logarithms, linearized; its interval is formed on the logarithm, as that of a distance in
`admbench.metrics.intervals` is. Distances near zero are told apart by ratios where differences fail, because the error
of a distance grows with it. Where one of two distances is zero there is no ratio, and the difference decides.

A share (of clips classified rightly) is one of zeros and ones: 48 captions on which two cells agree would give an
interval of no length. So (1 / (n+2))^2 is added to the variance, which is what half an observation more in each place
of the paired table comes to (Agresti and Min 2005, "Simple improved confidence intervals for comparing matched
proportions").

Where a method was run R times with other calibration draws, its cell is a sequence of R scores: see
`admbench.leaderboard.inference.crossed` for what its error is then.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from admbench.leaderboard.inference.crossed import Crossed, crossed_mean
from admbench.leaderboard.inference.influence import Influence, Values
from admbench.leaderboard.inference.scores import Bounds, ScoreKind

Scale = Literal["difference", "ratio"]
Cell = Influence | Sequence[Influence]
"""A score of a cell; of one that was run with several calibration draws, of each draw."""

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Contrast:
    """An estimated difference (or logarithm of a ratio) of two cells."""

    scale: Scale
    estimate: float
    """Of the difference, or of the natural logarithm of the ratio."""
    standard_error: float
    """Of `estimate`, over captions, and over draws where there were several."""
    influence: Values
    """(n,) influence of each caption on `estimate`, mean zero."""
    crossed: Crossed | None = None
    """What the error is made of; None where each cell was run once."""

    @property
    def n(self) -> int:
        """Number of captions."""
        return len(self.influence)

    @property
    def shown(self) -> float:
        """The estimate as it is shown: the difference, or the ratio."""
        return self._shown(self.estimate)

    def half_width(self, confidence: float = CONFIDENCE) -> float:
        """Return Student's quantile times the standard error, on the scale of `estimate`."""
        if self.crossed:
            widened = self.standard_error / self.crossed.standard_error if self.crossed.standard_error else 1.0
            return widened * self.crossed.half_width(confidence)
        return float(stdtrit(self.n - 1, (1 + confidence) / 2)) * self.standard_error

    def interval(self, half_width: float | None = None) -> Bounds:
        """Return the interval of the difference, or of the ratio.

        Args:
            half_width: on the scale of `estimate`; None is that of 95 % for this contrast alone.
        """
        half = self.half_width() if half_width is None else half_width
        return self._shown(self.estimate - half), self._shown(self.estimate + half)

    def _shown(self, number: float) -> float:
        if self.scale == "difference":
            return number
        return math.exp(min(number, 700.0))  # e^710 is no double


def contrast(first: Cell, second: Cell, *, ratio: bool = False, share: bool = False) -> Contrast:
    """Hold one cell against another.

    Args:
        first: a score over some captions.
        second: the same score of another cell over the same captions in the same order. Draws are paired by their
            number; a cell of one draw is held against each draw of the other.
        ratio: whether they are compared as a ratio; they are as a difference where not both are above zero.
        share: whether a clip counts as 0 or 1.

    Raises:
        ValueError: other captions, or other numbers of draws.
    """
    rows = [(one, other) for one, other in paired(first, second)]
    scale: Scale = "ratio" if ratio and all(one.value > 0 and other.value > 0 for one, other in rows) else "difference"
    differences = [one.log() - other.log() if scale == "ratio" else one - other for one, other in rows]
    one = of_rows(differences, scale)
    return replace(one, standard_error=float(share_error(one.standard_error, one.n))) if share else one


def share_error(standard_error: ArrayLike, n: int) -> Values:
    """Return the standard errors of differences of shares of n clips, given those over captions; see the module."""
    found: Values = np.hypot(standard_error, 1 / (n + 2))
    return found


def level(score: Cell, kind: ScoreKind) -> Contrast:
    """Return a cell's score itself, held against nothing: of a distance above zero on its logarithm."""
    rows = draws(score)
    if len(rows) == 1:
        scale, own = on_its_scale(rows[0], kind)
        return of_rows([own], scale)
    if kind.ratio_scale and all(row.value > 0 for row in rows):
        return of_rows([row.log() for row in rows], "ratio")
    return of_rows(rows, "difference")


def on_its_scale(score: Influence, kind: ScoreKind) -> tuple[Scale, Influence]:
    """Return the scale of a score of one draw, and the score on it: the logarithm of a distance above zero.

    Raises:
        ValueError: a number of a size that no arithmetic stands.
    """
    return ("ratio", score.log()) if kind.ratio_scale and score.value > 0 else ("difference", score)


def score_interval(score: Cell, kind: ScoreKind) -> Bounds:
    """Return the 95 % interval of a cell's score, kept in the score's range."""
    if not isinstance(score, Influence):
        return kind.inside(level(score, kind).interval())
    scale, own = on_its_scale(score, kind)  # thousands of scores are asked for no more than this
    bare = Contrast(scale, own.value, own.standard_error(), own.first)
    return kind.inside(bare.interval())


def of_rows(rows: Sequence[Influence], scale: Scale) -> Contrast:
    """Return the contrast whose estimate is the mean of one or several draws' differences (or logarithms of ratios)."""
    if len(rows) == 1:
        only = rows[0]
        return Contrast(scale, only.value, only.standard_error(), only.calibrated())
    table = np.stack([row.value + row.calibrated() for row in rows])
    crossed = crossed_mean(table)
    influence: Values = table.mean(axis=0) - crossed.estimate
    return Contrast(scale, crossed.estimate, crossed.standard_error, influence, crossed)


def draws(cell: Cell) -> list[Influence]:
    """Return the scores of a cell's draws."""
    return [cell] if isinstance(cell, Influence) else list(cell)


def value(cell: Cell, *, ratio: bool = False) -> float:
    """Return the score of a cell: of several draws their mean, or the geometric one where cells are held as ratios."""
    values = np.array([draw.value for draw in draws(cell)])
    return float(np.exp(np.log(values).mean()) if ratio and len(values) > 1 and (values > 0).all() else values.mean())


def paired(first: Cell, second: Cell) -> list[tuple[Influence, Influence]]:
    """Return the draws of two cells that are held against each other: by number, or one against each.

    Raises:
        ValueError: a cell without a score, or other numbers of draws.
    """
    one, other = draws(first), draws(second)
    if not one or not other:
        raise ValueError("a cell without a score")
    if len(one) != len(other) and 1 not in (len(one), len(other)):
        raise ValueError(f"cells of {len(one)} and of {len(other)} draws are not compared")
    rows = max(len(one), len(other))
    return list(zip(one * (rows // len(one)), other * (rows // len(other)), strict=True))
