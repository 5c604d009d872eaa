"""Which scores come of a list of metrics, and their keys in the record."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from admbench.errors import PluginError
from admbench.judged import JUDGE_NAME, by_judge
from admbench.metrics import DEFAULT, registry
from admbench.metrics.base import Against, Metric
from admbench.metrics.roles import role_of
from admbench.plain_text import visible

BASELINE_SUFFIX = "_vs_baseline"


@dataclass(frozen=True)
class ScoreKey:
    """One score to be computed."""

    key: str
    """In the record: `fd`, `fd_vs_baseline`, `fd[laion-clap]`, ..."""
    metric: Metric
    against: Against | None
    judge: str | None = None
    """Registry name of the judge that it is by; None is the first of the metric's role, or none."""

    @property
    def seat(self) -> str | None:
        """What the judge that it is by is called among those of a run; None if it is by none."""
        role = role_of(self.metric)
        return role and by_judge(role, self.judge)


def requested_scores(
    metrics: Sequence[str], *, baseline: bool = True, further: Mapping[Any, Sequence[str]] | None = None
) -> list[ScoreKey]:
    """Return the scores of some metrics: first those against the reference or nothing, then those against the baseline.

    Then, where a role has further judges, the same of each of these and of the metrics that read that role.

    Args:
        metrics: registry names.
        baseline: whether scores against the full-precision model's own output are wanted; those of a metric that has
            no others always are.
        further: role -> registry names of the judges that have it beside the first.

    Raises:
        UsageError: an unknown name.
        PluginError: a metric cannot be loaded, or has a name that no record takes as a key.
    """
    loaded: list[tuple[str, Metric]] = [(name, registry.get(name)()) for name in map(check_key, metrics)]
    scores = _by_one_judge(loaded, baseline, None)
    for role, judges in (further or {}).items():
        reading = [(name, metric) for name, metric in loaded if role_of(metric) == role]
        for judge in judges:
            scores += _by_one_judge(reading, baseline, judge)
    return scores


def check_key(name: str) -> str:
    """Return a metric's name if a record takes it as the key of a score.

    Raises:
        UsageError: there is no such metric.
        PluginError: a metric of a name that no record takes.
    """
    registry.check(name)
    if not re.fullmatch(JUDGE_NAME, name, re.ASCII) or name.endswith(BASELINE_SUFFIX):
        expected = (
            f"expected at most 64 of a-z, 0-9, . _ -, with a letter or digit first, not ending in {BASELINE_SUFFIX}"
        )
        raise PluginError(f"metric {visible(name, 100)!r}: its name is no key of a score; {expected}")
    return name


def _by_one_judge(metrics: Sequence[tuple[str, Metric]], baseline: bool, judge: str | None) -> list[ScoreKey]:
    plain = [
        ScoreKey(by_judge(name, judge), metric, "reference" if metric.against else None, judge)
        for name, metric in metrics
        if not metric.against or "reference" in metric.against
    ]
    relative = [
        ScoreKey(by_judge(name, judge) + BASELINE_SUFFIX, metric, "baseline", judge)
        for name, metric in metrics
        if metric.against == ("baseline",) or (baseline and "baseline" in metric.against)
    ]
    return plain + relative


def default_metrics(*, baseline: bool) -> list[str]:
    """Return what is computed where no metrics are named: without baseline audio, what needs none.

    >>> default_metrics(baseline=False)
    ['fd', 'kl', 'is', 'clap']
    """
    return [name for name in DEFAULT if baseline or registry.get(name).against != ("baseline",)]


def score_keys(metrics: Sequence[str], further: Mapping[Any, Sequence[str]] | None = None) -> list[str]:
    """Return the keys of the scores that a cell's record has for some metrics; arguments as of `requested_scores`.

    >>> score_keys(["fd", "clap"])
    ['fd', 'clap', 'fd_vs_baseline']
    >>> score_keys(["fd", "clap"], {"tagger": ["tiny-clap"]})
    ['fd', 'clap', 'fd_vs_baseline', 'fd[tiny-clap]', 'fd[tiny-clap]_vs_baseline']
    """
    return [requested.key for requested in requested_scores(metrics, further=further)]
