"""ViSQOL: equal clips have its best score, more damage a lower one, and silence none."""

import sys

import numpy as np
import pytest

from admbench.metrics.audio import Sound
from admbench.metrics.features import Features
from admbench.metrics.scoring import score
from admbench.metrics.visqol import Visqol

RATE = 48_000


def noise(seed, level=0.1):
    return (level * np.random.default_rng(seed).normal(size=RATE)).astype(np.float32)


@pytest.mark.slow  # importing the package and loading its model
def test_more_damage_has_a_lower_score():
    pytest.importorskip("visqol")
    metric, clip = Visqol(), noise(0)
    equal, damaged = (metric.compare_sounds(Sound(clip + noise(1, g), RATE), Sound(clip, RATE)) for g in (0, 0.2))
    assert equal == pytest.approx(4.7321, abs=1e-4)
    assert 1 <= damaged < equal - 0.1


def test_silence_has_no_score():
    metric = Visqol()
    sounds = Sound(noise(0), RATE), Sound(0 * noise(0), RATE)
    with pytest.raises(ValueError, match=r"^is silent"):
        metric.compare_sounds(sounds[1], sounds[0])
    with pytest.raises(ValueError, match="the baseline's is silent"):
        metric.compare_sounds(*sounds)


def test_without_the_package_there_is_no_score_but_a_reason(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "visqol", None)
    monkeypatch.setattr("admbench.metrics.perceptual.missing_distributions", lambda names: f"needs {names[0]}")
    clips = Features(("clip",), {}, (tmp_path / "clip.wav",))
    found = score(clips, None, clips, ["visqol"], {})
    assert found == {"visqol_vs_baseline": {"value": None, "reason": "needs visqol-python"}}
