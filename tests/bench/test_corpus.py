"""What the foley corpus promises: sounds with the physics of their names, and clips that depend only on seeds."""

import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy import signal

from admbench.bench.suites.corpus import corpus
from admbench.bench.suites.corpus.corpus import (
    CLIP_SAMPLES,
    EVENTS,
    FAMILIES,
    SAMPLE_RATE,
    SPLITS,
    ClipSpec,
    EventSpec,
    draw_clip,
)
from admbench.bench.suites.corpus.events import REFERENCE_RMS, Attributes, gain, synthesize

ORDINARY = Attributes()


def sound(event, seed=0, samples=CLIP_SAMPLES, **attributes):
    return synthesize(event, replace(ORDINARY, **attributes), samples, np.random.default_rng(seed))


def rms(audio):
    return float(np.sqrt(np.mean(np.asarray(audio, dtype=np.float64) ** 2)))


def decibels(ratio):
    return 20 * np.log10(ratio)


def spectrum(audio):
    return np.fft.rfftfreq(len(audio), 1 / SAMPLE_RATE), np.abs(np.fft.rfft(audio)) ** 2


def centroid(audio):
    frequencies, power = spectrum(audio)
    return float(frequencies @ power / power.sum())


def share_between(audio, low, high):
    frequencies, power = spectrum(audio)
    return float(power[(frequencies >= low) & (frequencies < high)].sum() / power.sum())


def pitch_track(audio):
    """Strongest frequency in each 64 ms frame that is not near silence, in Hz."""
    frequencies, _, power = signal.spectrogram(audio, SAMPLE_RATE, nperseg=1024, noverlap=768, nfft=4096)
    loud = power.sum(0) > 0.1 * power.sum(0).max()
    return frequencies[power.argmax(0)][loud]


def envelope_frequency(audio, low, high):
    """Strongest modulation of the loudness between `low` and `high`, in Hz."""
    level = np.sqrt(np.add.reduceat(audio**2, np.arange(0, len(audio), 80)))
    power = np.abs(np.fft.rfft(level - level.mean(), 16 * len(level))) ** 2
    rates = np.fft.rfftfreq(16 * len(level), 80 / SAMPLE_RATE)
    inside = (rates >= low) & (rates <= high)
    return float(rates[inside][power[inside].argmax()])


def log_mel_statistics(audio):
    """Level, variation and roughness in each of 64 mel bands."""
    _, _, power = signal.spectrogram(audio, SAMPLE_RATE, nperseg=1024, noverlap=1024 - 160)
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 65) / 2595) - 1)
    bins = np.minimum((edges / 8000 * 512).astype(int), 511)
    bands = np.log(np.stack([power[a : max(b, a + 1)].mean(0) for a, b in pairwise(bins)]) + 1e-10)
    return np.concatenate([bands.mean(1), bands.std(1), np.abs(np.diff(bands)).mean(1)])


# --- every event ---


def test_there_are_at_least_24_events_in_eight_families():
    assert len(EVENTS) == len(set(EVENTS)) >= 24
    assert set(FAMILIES) == set(EVENTS)
    families = {"animals", "nature", "vehicles", "alarms", "tools", "domestic", "music", "human"}
    assert set(FAMILIES.values()) == families
    assert min(Counter(FAMILIES.values()).values()) >= 3


@pytest.mark.parametrize("event", EVENTS)
def test_an_event_has_the_reference_level(event):
    levels = [rms(sound(event, seed)) for seed in range(3)]
    assert np.allclose(decibels(np.array(levels) / REFERENCE_RMS), 0, atol=1.3)


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("rate", [0.0, 1.0])
@pytest.mark.parametrize("samples", [CLIP_SAMPLES, CLIP_SAMPLES // 2])
def test_an_event_is_heard_soon_and_never_pauses_for_long(event, rate, samples):
    audio = sound(event, rate=rate, samples=samples)
    assert rms(audio[: int(0.4 * SAMPLE_RATE)]) > 0.25 * rms(audio)
    window = int(0.75 * SAMPLE_RATE)
    quietest = min(rms(audio[start : start + window]) for start in range(0, samples - window, 800))
    assert quietest > 0.15 * rms(audio)


@pytest.mark.parametrize("event", EVENTS)
def test_loudness_is_level_and_nothing_else(event):
    soft, loud = sound(event, loudness=0.1), sound(event, loudness=0.9)
    assert decibels(rms(loud) / rms(soft)) == pytest.approx(0.8 * 14, abs=0.01)
    assert np.allclose(loud / rms(loud), soft / rms(soft), atol=1e-9)


@pytest.mark.parametrize("event", EVENTS)
def test_what_is_distant_is_softer_and_duller(event):
    near, far = sound(event, distance=0.0), sound(event, distance=1.0)
    assert decibels(rms(far) / rms(near)) == pytest.approx(-9, abs=0.01)
    near, far = (
        np.mean([share_between(sound(event, seed, distance=distance), 1000, 8000) for seed in range(4)])
        for distance in (0.0, 1.0)
    )
    assert far < near or event in ("bird_chirp", "crickets")  # all of these two is above 1 kHz


@pytest.mark.parametrize(
    "event", [e for e in EVENTS if e not in ("helicopter", "rain", "ocean_waves", "drill", "speech", "drum_beat")]
)
def test_pitch_moves_the_spectrum_up(event):
    low, high = (np.mean([centroid(sound(event, seed, pitch=pitch)) for seed in range(6)]) for pitch in (0.0, 1.0))
    assert high > 1.04 * low


@pytest.mark.parametrize(("event", "shortest", "longest"), [("drill", 18, 60), ("speech", 60, 180)])
def test_pitch_narrows_the_period_where_the_band_stays(event, shortest, longest):
    def period(pitch):
        audio = sound(event, pitch=pitch)
        frames = np.lib.stride_tricks.sliding_window_view(audio, 2048)[::1600] * np.hanning(2048)
        correlation = np.fft.irfft(np.abs(np.fft.rfft(frames, 4096)) ** 2).sum(0)
        return shortest + correlation[shortest:longest].argmax()

    assert period(1.0) < 0.8 * period(0.0)


def test_a_high_drum_has_a_higher_kick():
    low, high = (share_between(sound("drum_beat", pitch=pitch), 20, 75) for pitch in (0.0, 1.0))
    assert high < 0.6 * low


@pytest.mark.parametrize(
    "event", [e for e in EVENTS if e not in ("crickets", "alarm_beep", "bird_chirp", "clock_tick")]
)
def test_brightness_adds_highs(event):
    dull, bright = (np.mean([centroid(sound(event, n, brightness=value)) for n in range(6)]) for value in (0.0, 1.0))
    assert bright > dull


def test_natural_variation_comes_from_the_generator():
    for event in EVENTS:
        assert not np.allclose(sound(event, 1), sound(event, 2))
        assert np.array_equal(sound(event, 1), sound(event, 1))


def test_a_linear_classifier_tells_every_event_from_every_other():
    """Gaussian discriminants with one shrunk covariance, over all attributes, tried on clips of another split."""

    def draw(split, count):
        return np.array(
            [
                [
                    log_mel_statistics(corpus.render(draw_clip(split, n, structure="single", event=event)))
                    for n in range(count)
                ]
                for event in EVENTS
            ]
        )

    known, unseen = draw("metrics", 10), draw("metrics-validation", 3)
    means, scale = known.mean(1, keepdims=True), known.std((0, 1))
    residuals = ((known - means) / scale).reshape(-1, known.shape[-1])
    precision = np.linalg.inv(residuals.T @ residuals / len(residuals) + 0.3 * np.eye(known.shape[-1]))
    offsets = (unseen[:, :, None] - means[None, None, :, 0]) / scale
    guessed = np.einsum("enki,ij,enkj->enk", offsets, precision, offsets, optimize=True).argmin(2)
    assert np.mean(guessed == np.arange(len(EVENTS))[:, None]) >= 0.97


# --- what single events are ---


def test_a_siren_sweeps_without_a_pause():
    track = pitch_track(sound("siren", brightness=0.0))
    assert np.percentile(track, 95) / np.percentile(track, 5) > 1.8


def test_an_alarm_beeps_on_one_flat_tone():
    track = pitch_track(sound("alarm_beep", brightness=0.0))
    assert np.ptp(track) < 0.03 * np.median(track)
    assert 1500 < np.median(track) < 2600


def test_a_whistle_slides_and_is_nearly_pure():
    audio = sound("whistling")
    track = pitch_track(audio)
    assert np.percentile(track, 95) / np.percentile(track, 5) > 1.3
    assert share_between(audio, 750, 2600) > 0.97


@pytest.mark.parametrize("pitch", [0.0, 1.0])
def test_crickets_and_birds_live_high_and_knocks_live_low(pitch):
    assert share_between(sound("crickets", pitch=pitch), 3000, 8000) > 0.97
    assert share_between(sound("bird_chirp", pitch=pitch), 2200, 8000) > 0.97
    assert share_between(sound("rain", pitch=pitch), 1500, 8000) > 0.9
    assert share_between(sound("door_knock", pitch=pitch), 0, 1300) > 0.9
    assert share_between(sound("helicopter", pitch=pitch, brightness=0.0), 0, 1200) > 0.9


def test_a_motorcycle_revs():
    """The spacing of its harmonics more than doubles and falls back."""
    audio = sound("motorcycle", rate=0.0)
    frames = np.lib.stride_tricks.sliding_window_view(audio, 2048)[::800] * np.hanning(2048)
    correlation = np.fft.irfft(np.abs(np.fft.rfft(frames, 4096)) ** 2)[:, 50:320]
    pitch = SAMPLE_RATE / (50 + correlation.argmax(1))
    assert np.percentile(pitch, 90) / np.percentile(pitch, 10) > 1.7


def test_rotor_blades_chop_at_their_rate():
    slow, fast = (envelope_frequency(sound("helicopter", rate=rate), 6, 25) for rate in (0.0, 1.0))
    assert slow == pytest.approx(9.5, rel=0.05)
    assert fast == pytest.approx(15, rel=0.05)


@pytest.mark.parametrize(
    ("event", "slow", "fast"),
    [
        ("clock_tick", 1 / 0.40, 1 / 0.18),
        ("hammer", 1 / 0.56, 1 / 0.28),
        ("dog_bark", 1 / 0.62, 1 / 0.32),
        ("alarm_beep", 1 / 0.44, 1 / 0.25),
        ("cat_meow", 1 / 0.98, 1 / 0.64),
        ("train_horn", 1 / 1.15, 1 / 0.66),
    ],
)
def test_the_rate_is_that_of_the_repetition(event, slow, fast):
    for rate, expected in ((0.0, slow), (1.0, fast)):
        measured = envelope_frequency(sound(event, rate=rate), 0.7 * expected, 1.5 * expected)
        assert measured == pytest.approx(expected, rel=0.08)


def test_music_and_hum_are_tonal_and_weather_is_not():
    def flatness(audio):
        _, _, power = signal.spectrogram(audio, SAMPLE_RATE, nperseg=2048)
        band = power[32:512].mean(1) + 1e-15
        return float(np.exp(np.mean(np.log(band))) / np.mean(band))

    tonal = max(flatness(sound(event)) for event in ("flute", "piano", "train_horn", "fire_bell", "whistling"))
    noisy = min(flatness(sound(event)) for event in ("rain", "ocean_waves"))
    assert tonal < 0.3 < noisy


# --- clips ---


def test_render_gives_float32_below_the_peak_and_keeps_loudness_apart():
    specs = [draw_clip("train", index) for index in range(80)]
    clips = corpus.render_many(specs, workers=1)
    assert clips.shape == (80, CLIP_SAMPLES)
    assert clips.dtype == np.float32
    assert np.abs(clips).max() <= corpus.PEAK
    levels = decibels(np.array([rms(clip) for clip in clips]))
    assert np.ptp(levels) > 10
    alone = [
        (gain(s.events[0].attributes), level) for s, level in zip(specs, levels, strict=True) if len(s.events) == 1
    ]
    expected, heard = np.array(alone).T
    assert np.allclose(heard, decibels(expected * REFERENCE_RMS), atol=1.6)


def test_even_the_loudest_mixture_stays_below_the_peak():
    loudest = tuple(EventSpec(name, 0.5, 0.5, 1.0, 1.0, 0.0) for name in ("hammer", "clock_tick", "rain", "drum_beat"))
    audio = corpus.render(ClipSpec("x", "train", "simultaneous", loudest, 1, ""))
    assert 0.8 < np.abs(audio).max() <= corpus.PEAK


def test_sequential_events_take_one_half_each_and_simultaneous_ones_share_the_clip():
    high = EventSpec("crickets", 0.5, 0.5, 0.5, 0.6, 0.0)
    low = EventSpec("door_knock", 0.5, 0.5, 0.5, 0.6, 0.0)
    half = CLIP_SAMPLES // 2
    after = corpus.render(ClipSpec("x", "train", "sequential", (high, low), 1, ""))
    assert share_between(after[:half], 3000, 8000) > 0.95
    assert share_between(after[half:], 0, 1500) > 0.95
    together = corpus.render(ClipSpec("x", "train", "simultaneous", (high, low), 1, ""))
    for part in (together[:half], together[half:]):
        assert share_between(part, 3000, 8000) > 0.2
        assert share_between(part, 0, 1500) > 0.2


def test_a_background_is_softer_than_what_is_in_front_of_it():
    for index in range(200):
        front, back = draw_clip("train", index, structure="simultaneous").events
        if back.name in corpus.BEDS and front.name not in corpus.BEDS:
            assert back.loudness <= front.loudness
        assert front.name not in corpus.BEDS or back.name in corpus.BEDS


def test_labels_name_the_events():
    spec = draw_clip("train", 3, structure="simultaneous", event="piano")
    vector = corpus.labels(spec)
    assert vector.dtype == np.float32
    assert vector.shape == (len(EVENTS),)
    assert {EVENTS[n] for n in np.flatnonzero(vector)} == {event.name for event in spec.events}
    assert "piano" in {event.name for event in spec.events}


def test_a_split_is_a_balanced_mix():
    count = 20 * len(EVENTS)
    specs = [draw_clip("train", index) for index in range(count)]
    assert Counter(s.structure for s in specs) == {"single": 312, "simultaneous": 130, "sequential": 78}
    singles = Counter(spec.events[0].name for spec in specs if spec.structure == "single")
    assert set(singles) == set(EVENTS)
    heard = Counter(event.name for spec in specs for event in spec.events)
    assert max(heard.values()) < 1.7 * min(heard.values())


def test_splits_share_no_seed_no_id_and_no_audio():
    seeds = {split: {draw_clip(split, index).seed for index in range(400)} for split in SPLITS}
    everything = [seed for split in SPLITS for seed in seeds[split]]
    assert len(everything) == len(set(everything)) == 400 * len(SPLITS)
    assert len({draw_clip(split, 7).id for split in SPLITS}) == len(SPLITS)
    first = {corpus.render(draw_clip(split, 0, structure="single", event="rain")).tobytes() for split in SPLITS}
    assert len(first) == len(SPLITS)


def test_forcing_structure_or_event_is_obeyed_and_opens_another_stream():
    free, forced = draw_clip("test", 5), draw_clip("test", 5, structure="sequential", event="flute")
    assert forced.structure == "sequential"
    assert forced.events[0].name == "flute"
    assert free.seed != forced.seed
    assert free.id != forced.id


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "tset", "index": 0}, "unknown split 'tset'"),
        ({"split": "test", "index": 0, "structure": "both"}, "unknown structure 'both'"),
        ({"split": "test", "index": 0, "event": "dog"}, "unknown event 'dog'"),
        ({"split": "test", "index": -1}, "must not be negative"),
    ],
)
def test_what_does_not_exist_cannot_be_drawn(arguments, message):
    with pytest.raises(ValueError, match=message):
        draw_clip(**arguments)


def test_a_specification_survives_json_and_renders_the_same():
    spec = draw_clip("calibration", 11, structure="simultaneous")
    again = ClipSpec.from_json(json.loads(json.dumps(spec.to_json())))
    assert again == spec
    assert np.array_equal(corpus.render(again), corpus.render(spec))


def test_rendering_is_the_same_in_another_process_with_another_hash_seed_and_more_threads():
    code = (
        "import hashlib; from admbench.bench.suites.corpus.corpus import *; "
        "print(hashlib.sha256(b''.join(render(draw_clip('train', n)).tobytes() for n in range(40))).hexdigest())"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONPATH": ":".join(sys.path), "PYTHONHASHSEED": number, "OMP_NUM_THREADS": number},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for number in ("1", "2")
    }
    assert len(outputs) == 1


def test_the_number_of_workers_does_not_matter():
    specs = [draw_clip("train", index) for index in range(64)]
    assert np.array_equal(corpus.render_many(specs, workers=1), corpus.render_many(specs, workers=2))


def test_the_shipped_fingerprint_is_this_corpus():
    check = corpus.check_corpus()
    assert check.worst_relative_deviation < 1e-3
    specs = corpus.fingerprint_specs()
    assert len(specs) == 2 * len(EVENTS) + 12
    assert {event.name for spec in specs for event in spec.events} == set(EVENTS)


def test_the_fingerprint_notices_a_changed_sound(monkeypatch):
    original = corpus.render
    monkeypatch.setattr(corpus, "render", lambda spec: 1.02 * original(spec))
    check = corpus.check_corpus()
    assert not check.bit_identical
    assert check.worst_relative_deviation == pytest.approx(0.02, rel=0.05)
