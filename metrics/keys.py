"""Which scores come of a list of metrics, and their keys in the record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from admbench.metrics import DEFAULT, registry
from admbench.metrics.base import Against, Metric

BASELINE_SUFFIX = "_vs_baseline"


@dataclass(frozen=True)
class ScoreKey:
    """One score to be computed."""

    key: str
    """In the record: `fd`, `fd_vs_baseline`, ..."""
    metric: Metric
    against: Against | None


def requested_scores(metrics: Sequence[str], *, baseline: bool = True) -> list[ScoreKey]:
    """Return the scores of some metrics: first those against the reference or nothing, then those against the baseline.

    Args:
        metrics: registry names.
        baseline: whether scores against the full-precision model's own output are wanted; those of a metric that has
            no others always are.

    Raises:
        UsageError: an unknown name.
        PluginError: a metric cannot be loaded.
    """
    loaded: list[tuple[str, Metric]] = [(name, registry.get(name)()) for name in metrics]
    plain = [
        ScoreKey(name, metric, "reference" if metric.against else None)
        for name, metric in loaded
        if not metric.against or "reference" in metric.against
    ]
    relative = [
        ScoreKey(name + BASELINE_SUFFIX, metric, "baseline")
        for name, metric in loaded
        if metric.against == ("baseline",) or (baseline and "baseline" in metric.against)
    ]
    return plain + relative


def default_metrics(*, baseline: bool) -> list[str]:
    """Return what is computed where no metrics are named: without baseline audio, what needs none.

    >>> default_metrics(baseline=False)
    ['fd', 'kl', 'is', 'clap']
    """
    return [name for name in DEFAULT if baseline or registry.get(name).against != ("baseline",)]


def score_keys(metrics: Sequence[str]) -> list[str]:
    """Return the keys of the scores that a cell's record has for some metrics.

    >>> score_keys(["fd", "clap"])
    ['fd', 'clap', 'fd_vs_baseline']
    """
    return [requested.key for requested in requested_scores(metrics)]
