"""Zimtohrli: equal clips are at no distance, more damage is farther, and short clips are followed by silence."""

import sys

import numpy as np
import pytest
import soundfile

from admbench.leaderboard.inference.margins import DEFAULT_MARGINS
from admbench.metrics.audio import Sound
from admbench.metrics.features import Features
from admbench.metrics.perceptual import SAMPLE_RATE, at_one_length
from admbench.metrics.scoring import score
from admbench.metrics.zimtohrli import Zimtohrli, mean_opinion_score

RATE = 16_000
KEY = "zimtohrli_vs_baseline"


def noise(seed, samples=RATE, level=0.1):
    return (level * np.random.default_rng(seed).normal(size=samples)).astype(np.float32)


@pytest.fixture
def make(tmp_path):
    """Return clips that lie on disk as 32-bit float."""

    def make(folder, waveforms, rate=RATE):
        (tmp_path / folder).mkdir()
        files = tuple(tmp_path / folder / f"clip-{row}.wav" for row in range(len(waveforms)))
        for file, waveform in zip(files, waveforms, strict=True):
            soundfile.write(file, waveform, rate, subtype="FLOAT")
        return Features(tuple(file.stem for file in files), {}, files)

    return make


def test_clips_are_brought_to_one_rate_and_length():
    first, second = at_one_length(Sound(noise(0), RATE), Sound(noise(1, 9_000), 8_000), SAMPLE_RATE)
    assert first.dtype == second.dtype == np.float32
    assert first.shape == second.shape == (54_000,)  # 1.125 s, of the second
    assert not first[48_000:].any()


@pytest.mark.parametrize("samples", [1, 16, 400, RATE - 1])
def test_what_is_shorter_than_a_second_is_followed_by_silence(samples):
    # below 50 ms the package's own memory would be read beyond its end
    clips = at_one_length(Sound(noise(0, samples), RATE), Sound(noise(1, samples), RATE), SAMPLE_RATE)
    assert [one.shape for one in clips] == [(SAMPLE_RATE,)] * 2


@pytest.mark.parametrize(
    "clip", [noise(0), noise(1, 3 * RATE, 0.5), np.zeros(RATE, np.float32), np.sin(np.arange(RATE) / 9).astype("f4")]
)
def test_a_clip_and_itself_are_as_far_apart_as_the_package_says(clip):
    pytest.importorskip("zimtohrli")
    measure, sound = Zimtohrli(), Sound(clip, RATE)
    heard = measure.hear(*at_one_length(sound, Sound(clip.copy(), RATE), SAMPLE_RATE))
    assert measure.compare_sounds(sound, Sound(clip.copy(), RATE)) == heard == 0.0


def test_clips_of_equal_samples_and_other_rates_are_heard():
    pytest.importorskip("zimtohrli")
    assert Zimtohrli().compare_sounds(Sound(noise(0), RATE), Sound(noise(0), 2 * RATE)) > 0.0


def test_more_damage_is_farther_and_the_score_says_how_it_was_made(make):
    pytest.importorskip("zimtohrli")
    clips = [noise(row) for row in range(4)]
    baseline = make("baseline", clips)
    found = {}
    for level in (0.0, 0.02, 0.1):
        damaged = [clip + noise(10 + row, level=level) for row, clip in enumerate(clips)]
        found[level] = score(make(f"damaged-{level}", damaged), None, baseline, ["zimtohrli"], {})[KEY]
    values = [one["value"] for one in found.values()]
    assert values[0] == 0
    assert values == sorted(values)
    assert values[1] < values[-1] < 0.02
    assert found[0.1]["ci95"][0] > found[0.02]["ci95"][1]
    about = {"sample_rate": 48_000, "resampler": "soxr HQ", "padded_to": "the longer clip, at least 1 s"}
    assert about.items() <= found[0.1].items()
    assert found[0.1]["package"].startswith("zimtohrli 0.")
    assert (found[0.1]["n"], found[0.1]["against"], found[0.1]["higher_is_better"]) == (4, "baseline", False)


def test_it_is_the_distance_of_the_package():
    package = pytest.importorskip("zimtohrli")
    first, second = noise(0, 60_000), noise(1, 60_000)
    expected = package.Pyohrli().distance(second, first)
    assert Zimtohrli().compare_sounds(Sound(first, SAMPLE_RATE), Sound(second, SAMPLE_RATE)) == expected


def test_the_margin_is_half_a_point_of_opinion():
    pytest.importorskip("zimtohrli")
    assert mean_opinion_score(0) == 5
    assert mean_opinion_score(DEFAULT_MARGINS[KEY].amount) == pytest.approx(4.5, abs=0.005)
    assert mean_opinion_score(0.0056) == pytest.approx(4, abs=0.01)  # as the list of metrics says


def test_without_the_package_there_is_no_score_but_a_reason(make, monkeypatch):
    monkeypatch.setitem(sys.modules, "zimtohrli", None)
    monkeypatch.setattr("admbench.metrics.perceptual.missing_distributions", lambda names: f"needs {names[0]}")
    clips = make("clips", [noise(row) for row in range(4)])
    assert score(clips, None, clips, ["zimtohrli"], {})[KEY] == {"value": None, "reason": "needs zimtohrli"}
