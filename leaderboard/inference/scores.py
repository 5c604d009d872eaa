"""What the engine knows of a score by its key: which way is better, its scale, and its range.

Of a built-in score that is here; a plug-in's score says it in the per-caption file. `NAME_vs_baseline` has the kind of
`NAME`: it is the same statistic against the full-precision model's own clips. So has `NAME[JUDGE]`, by another judge.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from admbench.judged import without_judge

OWN_AUDIO = "_vs_baseline"
"""End of the keys of scores against the full-precision model's own output."""
ENOUGH_CAPTIONS = 96
"""Below this number intervals of set scores are somewhat too short: docs/metrics.md, "Intervals"."""

Bounds = tuple[float, float]


@dataclass(frozen=True)
class ScoreKind:
    """What a score is."""

    higher_is_better: bool
    ratio_scale: bool = False
    """Whether it is a distance or divergence: not negative, with an error that grows with it. Compared as ratios."""
    low: float = -math.inf
    """Least value that it can have."""
    high: float = math.inf
    """Largest value that it can have."""
    share: bool = False
    """Whether a clip counts as 0 or 1, so that captions on which two cells agree are no proof that all would."""

    def inside(self, interval: Bounds) -> Bounds:
        """Return an interval of the score, kept in the score's range.

        >>> KINDS["cas"].inside((0.9, 1.07))
        (0.9, 1.0)
        """
        return max(interval[0], self.low), min(interval[1], self.high)

    def difference_inside(self, interval: Bounds) -> Bounds:
        """Return an interval of a difference of two such scores, kept in what a difference can be."""
        reach = self.high - self.low
        return max(interval[0], -reach), min(interval[1], reach)


_DISTANCE = ScoreKind(higher_is_better=False, ratio_scale=True, low=0.0)
_COSINE = ScoreKind(higher_is_better=True, low=-1.0, high=1.0)
_DECIBELS = ScoreKind(higher_is_better=True)
_RATING = ScoreKind(higher_is_better=True)

KINDS: dict[str, ScoreKind] = {
    "fd": _DISTANCE,
    "fad": _DISTANCE,
    "kl": _DISTANCE,
    "fad_inf": ScoreKind(higher_is_better=False),
    "kad": ScoreKind(higher_is_better=False, high=200.0),  # 100 (1 + 1 - 0)
    "is": ScoreKind(higher_is_better=True, low=1.0),
    "cas": ScoreKind(higher_is_better=True, low=0.0, high=1.0, share=True),
    "clap": _COSINE,
    "clap_audio": _COSINE,
    "audiobox_ce": _RATING,
    "audiobox_cu": _RATING,
    "audiobox_pq": _RATING,
    "lmd": _DISTANCE,
    "mrstft": _DISTANCE,
    "zimtohrli": ScoreKind(higher_is_better=False, ratio_scale=True, low=0.0, high=1.0),
    "visqol": ScoreKind(higher_is_better=True, low=1.0, high=5.0),
    "side_level": ScoreKind(higher_is_better=False, ratio_scale=True, low=0.0, high=60.0),  # dB
    "level_difference": ScoreKind(higher_is_better=False, ratio_scale=True, low=0.0, high=120.0),
    "channel_correlation": ScoreKind(higher_is_better=False, ratio_scale=True, low=0.0, high=2.0),
    "snr": _DECIBELS,
    "latent_sqnr": _DECIBELS,
}
"""By the name of the metric."""

ONLY_OWN_AUDIO = frozenset(
    {
        "lmd",
        "mrstft",
        "snr",
        "latent_sqnr",
        "clap_audio",
        "zimtohrli",
        "visqol",
        "side_level",
        "level_difference",
        "channel_correlation",
    }
)
"""Metrics whose only score is the one against the full-precision model's own clips, so that their name says which."""


def score_key(name: str) -> str:
    """Return the key of the score that is meant by a name as typed: of `lmd` there is `lmd_vs_baseline` alone.

    >>> score_key("lmd"), score_key("fd")
    ('lmd_vs_baseline', 'fd')
    """
    return name + OWN_AUDIO if without_judge(name) in ONLY_OWN_AUDIO else name


def score_kind(key: str) -> ScoreKind | None:
    """Return the kind of a built-in score; None for a key that is not known here.

    >>> score_kind("fd_vs_baseline") is score_kind("fd") is score_kind("fd[laion-clap]_vs_baseline")
    True
    """
    return KINDS.get(without_judge(key).removesuffix(OWN_AUDIO))


def caution(n: int) -> str | None:
    """Return the warning that stands wherever a conclusion of n captions is shown; None where n is enough.

    >>> caution(48)
    'only 48 captions: below 96 intervals can be too short'
    """
    return f"only {n} captions: below {ENOUGH_CAPTIONS} intervals can be too short" if n < ENOUGH_CAPTIONS else None
