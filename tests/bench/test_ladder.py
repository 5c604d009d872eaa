"""The sanity ladder: its verdicts, and that it holds on an embedded model."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pytest

from admbench.bench.studies.ladder import FULL_LADDER, RANDOM, REAL, Expected, _agreement, run_ladder
from admbench.leaderboard.ladder import read_ladder
from admbench.metrics.intervals import Replicates


def _level(fd: float, kl: float, clap: float) -> dict[str, Replicates]:
    nothing = np.zeros(0)
    values = {"fd": fd, "kl": kl, "clap": clap}
    return {name: Replicates(value, nothing, nothing) for name, value in values.items()}


def test_metrics_that_rank_alike_agree_fully():
    levels = [_level(1.0, 0.1, 0.9), _level(2.0, 0.2, 0.8), _level(3.0, 0.3, 0.1)]
    assert _agreement(levels) == {"kl": pytest.approx(1), "clap": pytest.approx(1), "threshold": 0.7, "holds": True}


def test_a_metric_that_ranks_backwards_disagrees():
    levels = [_level(1.0, 0.1, 0.1), _level(2.0, 0.2, 0.2), _level(3.0, 0.3, 0.3)]
    agreement = _agreement(levels)
    assert agreement["clap"] == pytest.approx(-1)
    assert not agreement["holds"]


def test_a_metric_that_sees_no_difference_has_no_rank():
    agreement = _agreement([_level(1.0, 0.5, 0.9), _level(2.0, 0.5, 0.8), _level(3.0, 0.5, 0.7)])
    assert agreement["kl"] is None
    assert not agreement["holds"]


def test_the_ladder_goes_from_real_audio_to_random_weights():
    assert FULL_LADDER[0] == Expected("real vs real", None)
    assert FULL_LADDER[-1].name == "random weights"
    assert all(level.relation in ("<", "~") for level in FULL_LADDER[1:])


TOO_SMALL_TO_SEE = {
    ("tiny-audioldm", "naive@w4a8"),
    ("tiny-tango", "naive@w4a8"),
    ("tiny-make-an-audio", "naive@w3a8"),
}
"""Steps of the whole ladder that 260 captions do not show; docs/ladder.md says why."""


def assert_holds(folder: Path, but: Collection[tuple[str, str]] = ()) -> None:
    """Every step but those named, and the agreement of the metrics, in what the leaderboard reads of a run folder."""
    ladder = read_ladder(folder)
    assert ladder is not None
    steps = {(model.model, level.name): level.step for model in ladder.models for level in model.levels[1:]}
    assert {name for name, step in steps.items() if step is None or not step.holds} == set(but), steps
    for model in ladder.models:
        assert model.agreement.holds, (model.model, model.agreement)


SHORT_LADDER = (
    Expected(REAL, None),
    Expected("fp32", "<"),
    Expected("naive@w8a8", "~"),
    Expected("naive@w3a8", "<"),
    Expected(RANDOM, "<"),
)
"""Five levels that are far enough apart to be told from few captions."""


@pytest.mark.slow
def test_a_short_ladder_holds(tmp_path: Path):
    """Five levels, one model, 48 captions; the model that rounding hurts most, so that so few captions suffice."""
    run_ladder(["tiny-audioldm"], tmp_path, 48, SHORT_LADDER)
    assert_holds(tmp_path)


@pytest.mark.whole_ladder
def test_the_whole_ladder_holds_but_for_what_the_page_says(tmp_path: Path):
    """Seven levels, every embedded model, the whole suite: half an hour of two cores."""
    run_ladder(None, tmp_path)
    assert_holds(tmp_path, but=TOO_SMALL_TO_SEE)
