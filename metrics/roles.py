"""Whose features a metric reads: its role, and of several judges that have it in a run, one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from admbench.errors import PluginError
from admbench.judged import by_judge, judge_of
from admbench.metrics.base import Metric
from admbench.metrics.extractors.base import Extractor, Role, load_extractor
from admbench.metrics.features import Features


def role_of(metric: Metric) -> Role | None:
    """Return the role of the judge whose features a metric reads; None if it reads none's.

    Raises:
        PluginError: it reads those of two, so that its score would not say what it depends on.
    """
    roles = roles_of(load_extractor(need) for need in metric.needs)
    if len(roles) > 1:
        raise PluginError(f'metric "{metric.name}" reads the features of {" and ".join(roles)}; expected one judge')
    return roles[0] if roles else None


def roles_of(extractors: Iterable[Extractor]) -> list[Role]:
    """Return the roles of the networks that some extractors read."""
    return sorted({one.role for one in extractors if one.role is not None})


def as_heard(features: Features, metric: Metric, judge: str | None) -> Features:
    """Return features as a metric reads them, which knows of one judge only.

    Args:
        features: of clips, by all judges of a run.
        metric: that reads them.
        judge: None is the first of the metric's role. Of a further one there is only what the metric needs: its own
            arrays stand under the names of the first's, and what it does not give is missing, not taken from another.
    """
    if judge is None:
        arrays = {name: array for name, array in features.arrays.items() if judge_of(name) is None}
        return replace(features, arrays=arrays)
    names = {need: by_judge(need, judge) if load_extractor(need).role else need for need in metric.needs}
    given = {need: features.arrays[name] for need, name in names.items() if name in features.arrays}
    return replace(features, arrays=given)
