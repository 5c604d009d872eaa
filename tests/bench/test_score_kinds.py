"""What the board knows of scores is what the metrics say of themselves; neither room imports the other."""

from __future__ import annotations

import pytest

from admbench import metrics
from admbench.bench.run.caption_results import kind_of
from admbench.leaderboard.inference.scores import KINDS


@pytest.mark.parametrize("name", metrics.BUILTIN)
def test_direction_scale_and_range_of_a_score_are_the_metrics(name: str) -> None:
    assert KINDS[name] == kind_of(metrics.registry.get(name))
