"""What the board knows of scores is what the metrics say of themselves; neither room imports the other."""

from __future__ import annotations

import pytest

from admbench import metrics
from admbench.leaderboard.inference.scores import KINDS


@pytest.mark.parametrize("name", metrics.BUILTIN)
def test_direction_and_range_of_a_score_are_the_metrics(name: str) -> None:
    metric, kind = metrics.registry.get(name), KINDS[name]
    assert kind.higher_is_better == metric.higher_is_better
    assert (kind.low, kind.high) == metric.range
