"""What the board knows of scores is what the metrics say of themselves; neither room imports the other."""

from __future__ import annotations

import pytest

from admbench import metrics
from admbench.bench.run.caption_results import kind_of
from admbench.leaderboard.inference.scores import KINDS, ONLY_OWN_AUDIO


@pytest.mark.parametrize("name", metrics.BUILTIN)
def test_direction_scale_and_range_of_a_score_are_the_metrics(name: str) -> None:
    assert KINDS[name] == kind_of(metrics.registry.get(name))


def test_names_that_stand_for_a_score_against_the_baseline_have_no_other() -> None:
    only = {name for name in metrics.BUILTIN if metrics.registry.get(name).against == ("baseline",)}
    assert only == ONLY_OWN_AUDIO
