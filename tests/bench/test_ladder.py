"""The sanity ladder: its verdicts, and that it holds on an embedded model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.ladder import FULL_LADDER, SHORT_LADDER, _agreement, run_ladder
from leaderboard.ladder import read_ladder
from metrics.intervals import Replicates


def _rung(fd: float, kl: float, clap: float) -> dict[str, Replicates]:
    nothing = np.zeros(0)
    values = {"fd": fd, "kl": kl, "clap": clap}
    return {name: Replicates(value, nothing, nothing) for name, value in values.items()}


def test_metrics_that_rank_alike_agree_fully():
    rungs = [_rung(1.0, 0.1, 0.9), _rung(2.0, 0.2, 0.8), _rung(3.0, 0.3, 0.1)]
    assert _agreement(rungs) == {"kl": pytest.approx(1), "clap": pytest.approx(1), "threshold": 0.7, "holds": True}


def test_a_metric_that_ranks_backwards_disagrees():
    rungs = [_rung(1.0, 0.1, 0.1), _rung(2.0, 0.2, 0.2), _rung(3.0, 0.3, 0.3)]
    agreement = _agreement(rungs)
    assert agreement["clap"] == pytest.approx(-1)
    assert not agreement["holds"]


def test_a_metric_that_sees_no_difference_has_no_rank():
    agreement = _agreement([_rung(1.0, 0.5, 0.9), _rung(2.0, 0.5, 0.8), _rung(3.0, 0.5, 0.7)])
    assert agreement["kl"] is None
    assert not agreement["holds"]


@pytest.mark.parametrize("rungs", [FULL_LADDER, SHORT_LADDER])
def test_ladders_go_from_real_audio_to_random_weights(rungs):
    assert rungs[0].name == "real vs real"
    assert rungs[0].relation is None
    assert rungs[-1].name == "random weights"
    assert all(rung.relation in ("<", "~") for rung in rungs[1:])


@pytest.mark.slow
def test_a_ladder_tells_real_audio_from_trained_from_untrained(tmp_path: Path):
    """Five rungs, one model, 48 captions; what is written is what the leaderboard reads."""
    run_ladder(["tiny-make-an-audio"], tmp_path, 48, SHORT_LADDER)
    ladder = read_ladder(tmp_path)
    assert ladder is not None
    (model,) = ladder.models
    assert [rung.name for rung in model.rungs] == [rung.name for rung in SHORT_LADDER]
    distance = {rung.name: rung.scores["fd"].value for rung in model.rungs}
    assert distance["real vs real"] < distance["fp32"] < distance["random weights"]
    assert model.rungs[1].step is not None
    assert model.rungs[1].step.holds
