"""Stereo: what a mix hides is seen, by numbers that are known; mono and clips of equal channels are what they were."""

import numpy as np
import pytest
import soundfile

from admbench.metrics.audio import Sound, faults_of, levels, read_audio
from admbench.metrics.extract import extract_features
from admbench.metrics.extractors.base import load_extractor
from admbench.metrics.features import Features
from admbench.metrics.fidelity import (
    LogMelDistance,
    MultiResolutionSTFT,
    SignalToNoise,
    log_mel_distance,
    multi_resolution_stft_distance,
)
from admbench.metrics.scoring import score
from admbench.metrics.stereo import channel_correlation, level_difference, side_level
from admbench.metrics.zimtohrli import Zimtohrli

RATE = 16_000
TIME = np.arange(RATE) / RATE
MID, SIDE = (level * np.sin(2 * np.pi * hertz * TIME) for level, hertz in ((0.4, 300), (0.2, 500)))
"""Whole periods, so that they have nothing in common; the side has a fifth of the energy of both."""
FIFTH = 10 * np.log10(5)


def stereo(mid, side):
    return Sound(np.stack([mid + side, mid - side]).astype(np.float32), RATE)


WIDE, COLLAPSED = stereo(MID, SIDE), stereo(MID, 0 * SIDE)


def test_mid_and_side_are_half_the_sum_and_half_the_difference():
    mid, side = WIDE.mid_and_side()
    np.testing.assert_allclose(mid, MID, atol=1e-7)
    np.testing.assert_allclose(side, SIDE, atol=1e-7)
    np.testing.assert_array_equal(mid, WIDE.samples)
    assert not Sound(WIDE.samples, RATE).mid_and_side()[1].any()


def test_the_image_is_what_it_is_by_definition():
    assert side_level(WIDE) == pytest.approx(-FIFTH, abs=1e-5)
    assert side_level(COLLAPSED) == side_level(Sound(WIDE.samples, RATE)) == -60
    assert side_level(stereo(0 * MID, SIDE)) == 0
    left, right = MID, SIDE  # as channels: nothing in common, and four times the energy
    apart = Sound(np.stack([left, right]).astype(np.float32), RATE)
    assert level_difference(apart) == pytest.approx(20 * np.log10(2), abs=1e-5)
    assert channel_correlation(apart) == pytest.approx(0, abs=1e-6)
    assert channel_correlation(WIDE) == pytest.approx(0.6, abs=1e-6)  # (4 - 1) / (4 + 1)
    assert channel_correlation(COLLAPSED) == pytest.approx(1)
    assert channel_correlation(stereo(0 * MID, SIDE)) == pytest.approx(-1)


def test_a_silent_channel_has_a_defined_image():
    left_only = Sound(np.stack([MID, 0 * MID]).astype(np.float32), RATE)
    assert (level_difference(left_only), channel_correlation(left_only)) == (60, 0)
    assert side_level(left_only) == pytest.approx(-10 * np.log10(2), abs=1e-6)
    silent = stereo(0 * MID, 0 * MID)
    assert (side_level(silent), level_difference(silent), channel_correlation(silent)) == (-60, 0, 0)


def test_an_anti_phase_clip_is_not_silent_though_its_mix_is():
    turned = stereo(0 * MID, MID)
    assert not turned.samples.any()
    assert levels(turned.waveform, RATE) == pytest.approx((0.4 / np.sqrt(2), 0, 1))
    assert faults_of([levels(turned.samples, RATE)])["silent"].tolist() == [True]
    assert faults_of([levels(turned.waveform, RATE)])["silent"].tolist() == [False]


def test_what_is_lost_of_a_collapsed_clip_is_its_side():
    assert SignalToNoise().compare_sounds(COLLAPSED, WIDE) == pytest.approx(FIFTH, abs=1e-5)
    side, nothing = SIDE.astype(np.float32), np.zeros(RATE, np.float32)
    of_side = log_mel_distance(nothing, side, RATE)
    assert LogMelDistance().compare_sounds(COLLAPSED, WIDE) == pytest.approx(of_side / 2, rel=1e-3)  # the mid has none
    assert of_side > 10
    half = stereo(MID / 2, SIDE / 2)
    assert SignalToNoise().compare_sounds(half, WIDE) == pytest.approx(20 * np.log10(2), abs=1e-5)
    assert MultiResolutionSTFT().compare_sounds(COLLAPSED, WIDE) > 0.1


def test_mono_and_equal_channels_have_the_numbers_of_the_mid_to_the_last_bit():
    generator = np.random.default_rng(0)
    first, second = (0.1 * generator.normal(size=(2, RATE))).astype(np.float32)
    mono, doubled = (Sound(one, RATE) for one in (first, np.stack([first, first])))
    other, other_doubled = (Sound(one, RATE) for one in (second, np.stack([second, second])))
    for metric, expected in (
        (LogMelDistance(), log_mel_distance(first, second, RATE)),
        (MultiResolutionSTFT(), multi_resolution_stft_distance(first, second)),
    ):
        assert metric.compare_sounds(mono, other) == expected
        assert metric.compare_sounds(doubled, other_doubled) == expected
        assert metric.compare_sounds(mono, other_doubled) == expected


@pytest.fixture
def make(tmp_path):
    """Return the features of stereo clips that lie on disk, as a run computes them."""

    def make(folder, sounds, judges):
        (tmp_path / folder).mkdir()
        files = tuple(tmp_path / folder / f"clip-{row}.wav" for row in range(len(sounds)))
        for file, sound in zip(files, sounds, strict=True):
            soundfile.write(file, sound.waveform.T, RATE, subtype="FLOAT")
        extractors = [load_extractor("embedding"), load_extractor("logits")]
        ids = [file.stem for file in files]
        found = extract_features(ids, map(read_audio, files), None, extractors, judges)
        return Features(found.ids, found.arrays, files)

    return make


def test_a_collapsed_model_is_seen_though_networks_hear_no_difference(make, judges):
    gains = np.linspace(0.5, 1, 5)
    baseline = make("wide", [stereo(gain * MID, gain * SIDE) for gain in gains], judges)
    collapsed = make("mono", [stereo(gain * MID, 0 * SIDE) for gain in gains], judges)
    names = ["fd", "kl", "lmd", "snr", "side_level", "level_difference", "channel_correlation"]
    scores = score(collapsed, None, baseline, names, judges)
    assert scores["fd_vs_baseline"]["value"] == pytest.approx(0, abs=1e-6)
    assert scores["kl_vs_baseline"]["value"] == pytest.approx(0, abs=1e-6)
    assert scores["snr_vs_baseline"]["value"] == pytest.approx(FIFTH, abs=1e-4)
    assert scores["lmd_vs_baseline"]["value"] > 1
    side = scores["side_level_vs_baseline"]
    assert side["value"] == pytest.approx(60 - FIFTH, abs=1e-4)
    assert (side["mean_generated"], side["mean_baseline"]) == (-60, pytest.approx(-FIFTH, abs=1e-4))
    assert scores["channel_correlation_vs_baseline"]["value"] == pytest.approx(0.4, abs=1e-4)
    assert scores["level_difference_vs_baseline"]["value"] == pytest.approx(0, abs=1e-4)


def test_it_is_heard_by_each_ear():
    pytest.importorskip("zimtohrli")
    metric = Zimtohrli()
    assert metric.compare_sounds(WIDE, WIDE) == 0
    assert metric.compare_sounds(COLLAPSED, WIDE) > 0.001
    ears = [metric.compare_sounds(ours, theirs) for ours, theirs in zip(COLLAPSED.ears(), WIDE.ears(), strict=True)]
    assert metric.compare_sounds(COLLAPSED, WIDE) == pytest.approx(np.mean(ears))


def test_mono_clips_have_no_image_and_six_channels_no_score(make, judges, tmp_path):
    mono = make("mono", [Sound(WIDE.samples, RATE)] * 4, judges)
    reason = "clip clip-0: is mono, and so is the baseline's: there is no stereo image"
    scores = score(mono, None, mono, ["side_level"], judges)
    assert scores["side_level_vs_baseline"] == {"value": None, "reason": reason}
    surround = make("surround", [Sound(np.tile(WIDE.waveform, (3, 1)), RATE)] * 4, judges)
    scores = score(surround, None, surround, ["lmd", "side_level"], judges)
    nothing = {"value": None, "reason": "clip clip-0: has 6 channels; expected 1 or 2"}
    assert scores["lmd_vs_baseline"] == scores["side_level_vs_baseline"] == nothing
