"""Paired fidelity: half the amplitude is 6.02 dB, the same clip is no distance, and what has no value says why."""

import json

import numpy as np
import pytest
import soundfile

from admbench.leaderboard.record import Score as RecordScore
from admbench.metrics.features import Features
from admbench.metrics.fidelity import (
    log_mel_distance,
    multi_resolution_stft_distance,
    signal_to_noise_ratio,
)
from admbench.metrics.scoring import score

RATE = 16_000
HALF = 20 * np.log10(2)  # dB
WAVEFORM_METRICS = ["lmd", "mrstft", "snr"]
KEYS = ["lmd_vs_baseline", "mrstft_vs_baseline", "snr_vs_baseline", "clap_audio_vs_baseline"]


def tone(rate=RATE, seconds=1.0, fundamental=50.0):
    """A tone with harmonics of equal strength up to the Nyquist frequency, so that every band has some of it."""
    time = np.arange(round(rate * seconds)) / rate
    harmonics = np.arange(fundamental, rate / 2, fundamental)
    phases = np.random.default_rng(0).uniform(0, 2 * np.pi, len(harmonics))
    waveform = np.sin(2 * np.pi * harmonics[:, None] * time + phases[:, None]).sum(axis=0)
    return (0.5 * waveform / np.abs(waveform).max()).astype(np.float32)


def noise(seed, samples=RATE, level=0.1):
    return (level * np.random.default_rng(seed).normal(size=samples)).astype(np.float32)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_half_the_amplitude_is_six_decibels(rate):
    whole = tone(rate)
    assert signal_to_noise_ratio(whole / 2, whole) == pytest.approx(HALF, abs=1e-6)
    assert log_mel_distance(whole / 2, whole, rate) == pytest.approx(HALF, abs=1e-3)
    assert log_mel_distance(whole, whole / 2, rate) == pytest.approx(HALF, abs=1e-3)


def test_half_the_amplitude_is_half_the_magnitude():
    # Half of every magnitude is missing, and the logarithm of every one is smaller by that of two.
    assert multi_resolution_stft_distance(noise(0) / 2, noise(0)) == pytest.approx(0.5 + np.log(2), abs=1e-3)


def test_a_sine_is_heard_in_its_own_band_only():
    sine = (0.5 * np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)).astype(np.float32)
    assert signal_to_noise_ratio(sine / 2, sine) == pytest.approx(HALF, abs=1e-6)
    assert 0 < log_mel_distance(sine / 2, sine, RATE) < HALF  # the other bands are at the floor in both


def test_noise_of_a_known_level_is_that_ratio():
    signal, error = noise(1, 200_000), noise(2, 200_000)
    assert signal_to_noise_ratio(signal + 0.01 * error, signal) == pytest.approx(40, abs=0.1)


def test_equal_clips_are_at_no_distance():
    clip = noise(0)
    assert log_mel_distance(clip, clip, RATE) == 0
    assert multi_resolution_stft_distance(clip, clip) == 0
    with pytest.raises(ValueError, match="ratio is infinite"):
        signal_to_noise_ratio(clip, clip)


def test_more_noise_is_farther():
    clip = noise(0)
    levels = [1e-3, 1e-2, 1e-1]
    for distance in (lambda a, b: log_mel_distance(a, b, RATE), multi_resolution_stft_distance):
        values = [distance(clip + noise(1, level=level), clip) for level in levels]
        assert values == sorted(values)
        assert values[0] > 0


@pytest.mark.parametrize("samples", [1, 100])
def test_clips_shorter_than_a_window_have_distances_too(samples):
    clip, other = noise(0, samples), noise(1, samples)
    assert log_mel_distance(clip, other, RATE) > 0
    assert multi_resolution_stft_distance(clip, other) > 0


def test_silence_has_no_ratio_and_no_convergence():
    silence = np.zeros(RATE, np.float32)
    with pytest.raises(ValueError, match="silent"):
        multi_resolution_stft_distance(noise(0), silence)
    with pytest.raises(ValueError, match="silent"):
        signal_to_noise_ratio(noise(0), silence)


@pytest.fixture
def make(tmp_path):
    """Return the features of clips that lie on disk as 32-bit float."""

    def make(folder, waveforms, rate=RATE):
        (tmp_path / folder).mkdir()
        files = tuple(tmp_path / folder / f"clip-{row}.wav" for row in range(len(waveforms)))
        for file, waveform in zip(files, waveforms, strict=True):
            soundfile.write(file, waveform, rate, subtype="FLOAT")
        unit = np.tile(np.float32([0.6, 0.8]), (len(files), 1))
        return Features(tuple(file.stem for file in files), {"clap_audio": unit}, files)

    return make


def test_scores_are_means_over_captions_with_intervals(make, judges):
    baseline = make("baseline", [noise(row) for row in range(6)])
    generated = make("generated", [noise(row) * np.float32(1 - 0.1 * (row + 1)) for row in range(6)])
    order = [3, 1, 0, 2, 5, 4]
    scores = score(generated.take(order), None, baseline, [*WAVEFORM_METRICS, "clap_audio"], judges)
    assert list(scores) == KEYS
    for key, one in scores.items():
        RecordScore.model_validate(json.loads(json.dumps(one)))
        assert one["n"] == 6
        assert one["against"] == "baseline"
        assert one["higher_is_better"] == key.startswith(("snr", "clap"))
        assert one["backbone"] == ("dummy-clap" if key.startswith("clap") else None)
        assert one["ci95"][0] <= one["value"] <= one["ci95"][1]
    ratios = -20 * np.log10(0.1 * np.arange(1, 7))  # what is missing of clip k is 0.1 (k + 1) of it
    assert scores["snr_vs_baseline"]["value"] == pytest.approx(ratios.mean(), abs=1e-4)
    assert scores["snr_vs_baseline"]["unit"] == scores["lmd_vs_baseline"]["unit"] == "dB"
    assert scores["clap_audio_vs_baseline"]["value"] == pytest.approx(1)


def test_the_baseline_itself_is_at_no_distance_and_has_no_ratio(make, judges):
    baseline = make("baseline", [noise(row) for row in range(4)])
    scores = score(baseline, None, baseline, [*WAVEFORM_METRICS, "clap_audio"], judges)
    assert scores["lmd_vs_baseline"]["value"] == scores["mrstft_vs_baseline"]["value"] == 0
    assert scores["clap_audio_vs_baseline"]["value"] == pytest.approx(1, abs=1e-6)
    reason = "clip clip-0: equals the baseline's, so that the ratio is infinite"
    assert scores["snr_vs_baseline"] == {"value": None, "reason": reason}


def test_clips_that_cannot_be_compared_are_named(make, judges):
    baseline = make("baseline", [noise(row) for row in range(4)])
    shorter = make("shorter", [noise(9, RATE - 1) for _ in range(4)])
    slower = make("slower", [noise(9) for _ in range(4)], rate=8_000)
    for generated, found in ((shorter, "15999 samples at 16000 Hz"), (slower, "16000 samples at 8000 Hz")):
        for one in score(generated, None, baseline, WAVEFORM_METRICS, judges).values():
            reason = f"clip clip-0: {found}, the baseline's has 16000 samples at 16000 Hz"
            assert one == {"value": None, "reason": reason}


def test_without_files_there_is_nothing_to_compare(make, judges):
    baseline = make("baseline", [noise(row) for row in range(4)])
    alone = Features(baseline.ids)
    scores = score(alone, None, baseline, ["snr"], judges)
    assert scores["snr_vs_baseline"] == {"value": None, "reason": "the generated clips have no audio files"}
    scores = score(baseline, baseline, None, ["snr"], judges)
    assert scores == {"snr_vs_baseline": {"value": None, "reason": "no baseline audio"}}
