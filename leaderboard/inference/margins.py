"""How much worse is still no worse: a margin per score, as typed (`fd=+5%`, `clap=-0.01`), and its default.

A margin bounds one of three things:

- `change`: of a score against real audio or captions, its difference to full precision's own score (`clap=-0.01`);
- `ratio`: its relative difference to full precision's own score (`fd=+5%`);
- `level`: of a score against the full-precision model's own clips, the score itself, as full precision's own is zero or
  infinite (`lmd_vs_baseline=1`); in per cent it is of full precision's own score against real audio
  (`fd_vs_baseline=5%` of its `fd`).

A score of a further judge is named with it: `fd[laion-clap]=+5%`. The sign must point to the worse side.
docs/conclusions.md has the defaults with their reasons.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

from admbench.judged import JUDGE_NAME
from admbench.leaderboard.inference.scores import OWN_AUDIO, ScoreKind, score_key, score_kind

Bounded = Literal["change", "ratio", "level"]

_KEY = rf"[a-z0-9][a-z0-9_.-]{{0,63}}(?:\[{JUDGE_NAME}\](?:{OWN_AUDIO})?)?"
_MARGIN = re.compile(rf"({_KEY})\s*=\s*([+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?)\s*(%?)", re.ASCII)


@dataclass(frozen=True)
class Margin:
    """The largest loss of one score that counts as none."""

    key: str
    amount: float
    """In the score's unit, or as a fraction where `relative`: +5% is 0.05."""
    relative: bool

    @property
    def bounded(self) -> Bounded:
        """What the margin bounds."""
        if self.key.endswith(OWN_AUDIO):
            return "level"
        return "ratio" if self.relative else "change"

    @property
    def of(self) -> str | None:
        """Key of full precision's own score that a relative margin is a share of; None for an absolute one."""
        return self.key.removesuffix(OWN_AUDIO) if self.relative else None

    def __str__(self) -> str:
        """The margin as it is typed.

        >>> str(parse_margin("fd = 5%")), str(parse_margin("lmd_vs_baseline=1"))
        ('fd=+5%', 'lmd_vs_baseline=1')
        """
        number = f"{self.amount * 100:.12g}%" if self.relative else f"{self.amount:.12g}"
        sign = "+" if self.bounded != "level" and self.amount > 0 else ""
        return f"{self.key}={sign}{number}"


def parse_margin(text: str, kind: ScoreKind | None = None) -> Margin:
    """Read a margin as it is typed.

    Args:
        text: such as `fd=+5%`, `clap=-0.01`, `snr_vs_baseline=20`; of a metric that has no other score its name is
            enough, `snr=20`.
        kind: of the score; None is that of the built-in score of this key.

    Raises:
        ValueError: not of this form, a score whose kind is not known, or a margin on the better side.

    >>> parse_margin("clap=-0.01")
    Margin(key='clap', amount=-0.01, relative=False)
    >>> parse_margin("zimtohrli=0.0026").key
    'zimtohrli_vs_baseline'
    >>> parse_margin("fd[laion-clap]_vs_baseline=5%").of  # by a further judge, against the same judge's own FD
    'fd[laion-clap]'
    """
    found = _MARGIN.fullmatch(text.strip())
    if found is None:
        raise ValueError(f'"{text}" is no margin: expected such as fd=+5%, clap=-0.01 or lmd_vs_baseline=1')
    name, number, percent = found.groups()
    key = score_key(name)
    amount = float(number) / (100 if percent else 1)
    kind = kind or score_kind(key)
    if kind is None:
        raise ValueError(f'"{key}" is no score that is known here')
    if not math.isfinite(amount):
        raise ValueError(f'the margin of "{text}" is not finite')
    margin = Margin(key, amount, bool(percent))
    if margin.bounded == "level":
        if margin.relative and kind.higher_is_better:
            raise ValueError(f"{key} is better when higher: its least value is in its own unit, such as {key}=20")
        if not kind.low <= amount <= kind.high:
            raise ValueError(f"{key} cannot be {amount:g}")
    elif amount * (-1 if kind.higher_is_better else 1) < 0:
        better, sign = ("higher", "-") if kind.higher_is_better else ("lower", "+")
        raise ValueError(f"{key} is better when {better}: how much worse it may be begins with {sign}")
    return margin


DEFAULT_MARGINS: dict[str, Margin] = {
    margin.key: margin
    for margin in map(
        parse_margin,
        (
            "fd=+5%",
            "fad=+5%",
            "fad_inf=+5%",
            "kl=+5%",
            "is=-5%",
            "kad=+0.1",
            "clap=-0.01",
            "cas=-0.02",
            "audiobox_ce=-0.1",
            "audiobox_cu=-0.1",
            "audiobox_pq=-0.1",
            "fd_vs_baseline=5%",
            "fad_vs_baseline=5%",
            "fad_inf_vs_baseline=5%",
            "kl_vs_baseline=5%",
            "kad_vs_baseline=0.1",
            "zimtohrli_vs_baseline=0.0026",
            "visqol_vs_baseline=4.5",
            "lmd_vs_baseline=1",
            "mrstft_vs_baseline=0.24",
            "snr_vs_baseline=20",
            "latent_sqnr_vs_baseline=20",
            "clap_audio_vs_baseline=0.95",
            "side_level_vs_baseline=1",
            "level_difference_vs_baseline=1",
            "channel_correlation_vs_baseline=0.04",
        ),
    )
}
"""By score key. docs/conclusions.md says why."""
