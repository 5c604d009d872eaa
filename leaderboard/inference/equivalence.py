"""Is a cell no worse than full precision? One of three words, from one interval and one margin.

    no worse         the whole 95 % interval is on the good side of the margin
    worse            the whole 95 % interval is beyond the margin
    cannot be told   the interval holds the margin

This is a non-inferiority test in its usual form (a two-sided 95 % interval, hence a one-sided test at 2.5 %: ICH E9,
1998; one half of Schuirmann's 1987 two one-sided tests, as better than full precision is no fault). A cell whose loss
is exactly the margin is called `no worse` 2.5 % of the time, and at most 5 % at the sizes and distances that the
simulations hold. `worse` is held against the margin too, not against zero: more captions then turn `cannot be told`
into one of the other words, and never one of these into the other. That a loss is real though within the margin is
said beside it (`differs`). A score that improved by chance is not called better.

How many captions would tell: half the interval shrinks as 1 / sqrt(n), so

    n' = n ((t_0.975 + z_0.8) s.e. / |estimate - margin|)^2

captions tell with probability 80 %, if the estimate is the truth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from scipy.special import ndtri, stdtrit

from admbench.leaderboard.inference.contrasts import CONFIDENCE, Cell, Contrast, Scale, contrast, draws, level, value
from admbench.leaderboard.inference.margins import Margin
from admbench.leaderboard.inference.scores import ScoreKind, caution

Word = Literal["no worse", "worse", "cannot be told"]

POWER = 0.8
"""Probability with which the projected number of captions tells."""
MAXIMUM_PROJECTED = 100_000
"""More captions than this are not projected: the estimate lies at the margin."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One cell held against full precision by one score."""

    word: Word
    margin: Margin
    scale: Scale | Literal["value"]
    """What the numbers are: the difference to full precision, the ratio to it, or the score itself."""
    estimate: float | None
    low: float | None
    """95 % interval, kept in the range of what it is of."""
    high: float | None
    limit: float | None
    """The margin on the same scale: the ratio 1.05, the difference -0.01, the level 20."""
    n: int | None
    """Captions."""
    differs: bool | None
    """Whether the interval says that the cell is not equal to full precision; None where that is no question."""
    captions_needed: int | None
    """Of `cannot be told`: how many captions in all would tell with probability 80 %."""
    reason: str | None
    """Why it cannot be told, or why no number of captions is projected."""
    draws: int = 1
    """Calibration draws that the cell, or what it is held against, was run with."""
    share_draws: float | None = None
    """How much of the variance of the estimate is that of draws; None of one draw."""

    @property
    def caution(self) -> str | None:
        """Why not to trust this too far: too few captions; None if nothing."""
        return None if self.n is None else caution(self.n)


def judge(margin: Margin, kind: ScoreKind, cell: Mapping[str, Cell], full: Mapping[str, Cell] | None) -> Verdict:
    """Say whether a cell is no worse than full precision by the score of a margin.

    Args:
        margin: with the key of the score.
        kind: of the score.
        cell: the cell's scores by key, over the same captions as `full`.
        full: full precision's own scores by key; None if there is none, which a margin in the unit of a score against
            full precision's clips does not need.
    """
    score = cell.get(margin.key)
    if score is None:
        return _untold(margin, f"the cell has no {margin.key}")
    base_key = margin.of or (margin.key if margin.bounded == "change" else None)
    base = full.get(base_key) if full and base_key else None
    if base_key and base is None:
        return _untold(margin, f"full precision has no {base_key}")
    try:
        return _judged(margin, kind, score, base)
    except ValueError as error:
        return _untold(margin, str(error))


def captions_needed(one: Contrast, limit: float) -> int | None:
    """Return how many captions would tell an estimate from a limit, both on the contrast's own scale.

    Rounded up to two digits, and more than there are. What draws bring to the error stays as it is. None if that is
    beyond 100,000 captions, if no number of them would tell, or if the estimate has no error.
    """
    if not one.standard_error:
        return None
    of_draws = one.crossed.variance_draws if one.crossed else 0.0
    of_captions = one.standard_error**2 - of_draws
    fixed = _reach(one.crossed.draws) ** 2 * of_draws if one.crossed else 0.0
    left = (one.estimate - limit) ** 2 - fixed
    if left <= 0 or _reach(one.n) ** 2 * of_captions * one.n > MAXIMUM_PROJECTED * left:
        return None
    needed = one.n * _reach(one.n) ** 2 * of_captions / left
    step = 10 ** max(0, math.floor(math.log10(max(needed, 1))) - 1)
    return max(math.ceil(needed / step) * step, one.n + 1)


def _reach(sample: int) -> float:
    """Return how many standard errors lie between an estimate and a limit that is told from it with the power."""
    return float(stdtrit(sample - 1, (1 + CONFIDENCE) / 2)) + float(ndtri(POWER))


def _judged(margin: Margin, kind: ScoreKind, score: Cell, base: Cell | None) -> Verdict:
    neutral: float | None
    scale: Scale | Literal["value"]
    if base is None:
        one, scale, limit, neutral = level(score, kind), "value", margin.amount, None
    elif margin.relative:
        if value(base) <= 0:
            raise ValueError(f"full precision's {margin.of} of {value(base):.3g} is not above zero: no share of it")
        one = _ratio(score, base)
        scale, neutral = "ratio", None if margin.bounded == "level" else 1.0
        limit = margin.amount if margin.bounded == "level" else 1 + margin.amount
    else:
        one, scale, limit, neutral = contrast(score, base, share=kind.share), "difference", margin.amount, 0.0

    own = math.log(limit) if one.scale == "ratio" and limit > 0 else limit
    if one.scale == "ratio" and limit <= 0:
        own = -math.inf
    half = one.half_width()
    good, bad = (one.estimate - half, one.estimate + half)[:: -1 if kind.higher_is_better else 1]
    sign = -1 if kind.higher_is_better else 1
    word: Word = "cannot be told"
    if sign * bad <= sign * own:
        word = "no worse"
    elif sign * good > sign * own:
        word = "worse"
    low, high = one.interval()
    if scale == "value":
        low, high = kind.inside((low, high))
    elif scale == "difference":
        low, high = kind.difference_inside((low, high))
    needed, reason = None, None
    if word == "cannot be told":
        needed = captions_needed(one, own)
        reason = "the interval holds the margin" if needed else "the estimate lies at the margin, or too near to it"
    differs = None if neutral is None else not low <= neutral <= high
    over = (one.crossed.draws, one.crossed.share_draws) if one.crossed else (1, None)
    return Verdict(word, margin, scale, one.shown, low, high, limit, one.n, differs, needed, reason, *over)


def _ratio(score: Cell, base: Cell) -> Contrast:
    """Return the ratio of two scores: on the logarithm, or linearized where the first is not above zero."""
    if all(row.value > 0 for row in draws(score)):
        return contrast(score, base, ratio=True)
    whole = value(base)
    shares = [row.scaled(1 / whole) for row in draws(score)]
    ratio = sum(row.value for row in shares) / len(shares)
    one = contrast(shares, [row.scaled(ratio / whole) for row in draws(base)])
    return replace(one, estimate=one.estimate + ratio)  # the linearized difference is zero at the estimate


def _untold(margin: Margin, reason: str) -> Verdict:
    return Verdict("cannot be told", margin, "value", None, None, None, None, None, None, None, reason)
