"""Conclusions of the engine as JSON values; what is missing, or not finite, is null."""

from __future__ import annotations

import math
from typing import Any

from admbench.leaderboard.inference.across import Across
from admbench.leaderboard.inference.equivalence import Verdict


def verdict_json(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as JSON values; by `scale` the numbers are of the difference, the ratio or the score."""
    finite = {
        name: number if number is not None and math.isfinite(number) else None
        for name, number in (("estimate", verdict.estimate), ("limit", verdict.limit))
    }
    interval = None if verdict.low is None or verdict.high is None else [verdict.low, verdict.high]
    return {
        "word": verdict.word,
        "margin": str(verdict.margin),
        "scale": verdict.scale,
        **finite,
        "ci95": interval if interval and all(map(math.isfinite, interval)) else None,
        "n": verdict.n,
        "differs": verdict.differs,
        "draws": verdict.draws,
        "share_draws": verdict.share_draws,
        "captions_needed": verdict.captions_needed,
        "reason": verdict.reason,
    }


def across_json(one: Across) -> dict[str, Any]:
    """Return a cell against another on several models as JSON values."""
    return {
        "method": one.cell,
        "versus": one.versus,
        "geometric_mean": one.mean,
        "ci95": None if one.low is None else [one.low, one.high],
        "reason": one.reason,
        "better": one.better,
        "worse": one.worse,
        "not_told_apart": one.untold,
        "models": {
            model: {"ratio": ratio.ratio, "ci95": [ratio.low, ratio.high], "better": ratio.better}
            for model, ratio in one.models.items()
        },
        "missing": one.missing,
        "n": one.n,
    }
