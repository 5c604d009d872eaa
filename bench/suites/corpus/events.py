"""The sound events of the embedded corpus: one parametric synthesizer per event.

A synthesizer is a function ``(rng, samples, attributes) -> float64 (samples,)`` registered by name in
:data:`SYNTHESIZERS`. It draws the *pattern* of its event - a pitch contour, a rhythm, a band - at an arbitrary level;
:func:`synthesize` then brings every event to the same reference level, puts it at its distance (low-pass, synthetic
reverberation, attenuation) and applies its loudness. Patterns are macroscopic on purpose: they are meant to stay
recognisable in a log-mel picture of 64 bands and a hop of 10 ms, over the whole range of every attribute and under a
second event.

Conventions: 16 kHz; amplitudes are dimensionless with full scale 1; frequencies in Hz, durations in seconds; the
attributes pitch, rate, brightness, loudness and distance lie in [0, 1] with 0.5 as the ordinary value. Everything is
float64 and a function of the generator alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft, signal

SAMPLE_RATE = 16_000
REFERENCE_RMS = 0.06
"""RMS of every event at loudness 0.6 and distance 0 (the gains below are 0 dB there)."""

Signal = NDArray[np.float64]


@dataclass(frozen=True)
class Attributes:
    """How an event sounds; each value in [0, 1]."""

    pitch: float = 0.5
    rate: float = 0.5
    brightness: float = 0.5
    loudness: float = 0.6
    distance: float = 0.0


Synthesizer = Callable[[np.random.Generator, int, Attributes], Signal]

SYNTHESIZERS: dict[str, Synthesizer] = {}
FAMILIES: dict[str, str] = {}


def _event(name: str, family: str) -> Callable[[Synthesizer], Synthesizer]:
    def add(function: Synthesizer) -> Synthesizer:
        SYNTHESIZERS[name] = function
        FAMILIES[name] = family
        return function

    return add


# ---------------------------------------------------------------------------------------------------------------------
# Building blocks


def span(position: float, low: float, high: float) -> float:
    """Geometric interpolation: `low` at position 0, `high` at 1 (equal steps sound equally large)."""
    return float(low * (high / low) ** position)


def seconds(duration: float) -> int:
    """The number of samples of a duration in seconds."""
    return round(duration * SAMPLE_RATE)


def onsets(rng: np.random.Generator, samples: int, period: float, jitter: float = 0.06) -> Iterator[int]:
    """Sample positions of a repeated sound: the first within 0.15 s, then every `period` seconds give or take."""
    at = rng.uniform(0.02, min(0.15, 0.6 * period))
    while seconds(at) < samples:
        yield seconds(at)
        at += period * (1 + jitter * rng.uniform(-1, 1))


def add_at(canvas: Signal, position: int, sound: Signal, gain: float = 1.0) -> None:
    """Adds `sound` to `canvas` from `position` on, cut off at the end of the canvas."""
    length = min(len(sound), len(canvas) - position)
    if length > 0:
        canvas[position : position + length] += gain * sound[:length]


def tone(frequency: Signal, harmonics: Signal) -> Signal:
    """A periodic tone following a frequency contour.

    `frequency` is in Hz per sample, `harmonics` the amplitudes of harmonics 1, 2, ...; those that would pass 7.8 kHz at
    the top of the contour are left out, so that nothing aliases. One period is tabulated and read by phase.
    """
    audible = max(1, min(len(harmonics), int(7800 / frequency.max())))
    size = 8192
    spectrum = np.zeros(size // 2 + 1, dtype=np.complex128)
    spectrum[1 : audible + 1] = -0.5j * size * harmonics[:audible]
    table = fft.irfft(spectrum, size)
    phase = np.cumsum(frequency) * (size / SAMPLE_RATE)
    return np.asarray(table[phase.astype(np.int64) & (size - 1)], dtype=np.float64)


def rolloff(count: int, exponent: float) -> Signal:
    """Harmonic amplitudes k**-exponent for k = 1..count."""
    return np.arange(1, count + 1, dtype=np.float64) ** -exponent


def noise(rng: np.random.Generator, samples: int) -> Signal:
    """White Gaussian noise of unit variance."""
    return rng.standard_normal(samples)


def band(sound: Signal, low: float, high: float, order: int = 2) -> Signal:
    """Butterworth band-pass between `low` and `high` Hz."""
    return np.asarray(signal.sosfilt(_band_sections(round(low), round(high), order), sound), dtype=np.float64)


@cache
def _band_sections(low: int, high: int, order: int) -> Signal:
    sections = signal.butter(order, (max(low, 20), min(high, 7900)), "bandpass", fs=SAMPLE_RATE, output="sos")
    return np.asarray(sections, dtype=np.float64)


def moving_band(rng: np.random.Generator, centre: Signal, width: float) -> Signal:
    """Noise of about `width` Hz around a moving centre frequency: low-passed complex noise, heterodyned."""
    pole = np.exp(-np.pi * width / SAMPLE_RATE)
    slow = signal.lfilter([(1 - pole) ** 2], [1, -2 * pole, pole**2], rng.standard_normal((2, len(centre))))
    phase = 2 * np.pi * np.cumsum(centre) / SAMPLE_RATE
    return unit(slow[0] * np.cos(phase) - slow[1] * np.sin(phase))


def modes(samples: int, frequencies: Signal, decays: Signal, gains: Signal) -> Signal:
    """A struck object: exponentially decaying sinusoids (decays are time constants in seconds)."""
    time = np.arange(samples) / SAMPLE_RATE
    parts = np.sin(2 * np.pi * frequencies[:, None] * time) * np.exp(-time / decays[:, None])
    return np.asarray(gains @ parts, dtype=np.float64)


def burst(length: int, attack: float, release: float) -> Signal:
    """An envelope with raised-cosine edges of `attack` and `release` seconds."""
    envelope = np.ones(length)
    rise, fall = min(seconds(attack), length // 2), min(seconds(release), length // 2)
    envelope[:rise] = 0.5 - 0.5 * np.cos(np.pi * np.arange(rise) / max(rise, 1))
    envelope[length - fall :] = 0.5 + 0.5 * np.cos(np.pi * np.arange(fall) / max(fall, 1))
    return envelope


def decay(length: int, constant: float, attack: float = 0.002) -> Signal:
    """An exponential decay with a time constant in seconds after a short linear attack."""
    time = np.arange(length) / SAMPLE_RATE
    return np.minimum(time / attack, 1.0) * np.exp(-time / constant)


def unit(sound: Signal) -> Signal:
    """The same sound at RMS 1."""
    return sound / np.sqrt(np.mean(sound**2) + 1e-20)


def _arch(length: int) -> Signal:
    return np.sin(np.pi * np.arange(length) / length)


def _sweep(length: int, start: float, end: float) -> Signal:
    return start * (end / start) ** (np.arange(length) / length)


# ---------------------------------------------------------------------------------------------------------------------
# Animals


@_event("dog_bark", "animals")
def dog_bark(rng: np.random.Generator, samples: int, a: Attributes) -> Signal:
    """Short harmonic bursts with a rising and falling pitch and a rough, noisy attack."""
    out = np.zeros(samples)
    top = span(a.pitch, 380, 720) * rng.uniform(0.95, 1.05)
    length = seconds(span(a.pitch, 0.20, 0.13))
    for at in onsets(rng, samples, span(a.rate, 0.62, 0.32)):
        contour = top * (0.62 + 0.38 * _arch(length)) * rng.uniform(0.96, 1.04)
        voice = unit(tone(contour, rolloff(14, span(a.brightness, 1.5, 0.5)))) + 0.35 * noise(rng, length)
        add_at(out, at, voice * burst(length, 0.012, 0.07), rng.uniform(0.85, 1.1))
    return band(out, 0.9 * top, span(a.brightness, 2200, 4200), 1)


@_event("bird_chirp", "animals")
def bird_chirp(rng: np.random.Generator, samples: int, a: Attributes) -> Signal:
    """Steep whistled chirps that sweep up and down by turns, above 2.6 kHz."""
    out = np.zeros(samples)
    centre = span(a.pitch, 3200, 4800) * rng.uniform(0.96, 1.04)
    for number, at in enumerate(onsets(rng, samples, span(a.rate, 0.26, 0.14))):
        length = seconds(span(a.rate, 0.13, 0.085))
        edges = (0.78, 1.42) if number % 2 == 0 else (1.42, 0.78)
        contour = centre * _sweep(length, *edges) * rng.uniform(0.96, 1.04)
        overtone = 0.02 + 0.25 * a.brightness
        add_at(out, at, tone(contour, np.array([1.0, overtone])) * _arch(length), rng.uniform(0.8, 1.1))
    return out


@_event("frog_croak", "animals")
def frog_croak(rng: np.random.Generator, samples: int, a: Attributes) -> Signal:
    """Pulsed croaks: a train of about 40 pulses a second whose resonance glides up."""
    out = np.zeros(samples)
    low = span(a.pitch, 420, 680) * rng.uniform(0.96, 1.04)
    for at in onsets(rng, samples, span(a.rate, 0.70, 0.42)):
        length = seconds(span(a.rate, 0.40, 0.25))
        contour = _sweep(length, low, 1.9 * low)
        time = np.arange(length) / SAMPLE_RATE
        pulses = np.exp(-((time * rng.uniform(36, 44)) % 1.0) * 4)
        overtones = np.array([1.0, span(a.brightness, 0.12, 0.7), span(a.brightness, 0.03, 0.4)])
        add_at(out, at, tone(contour, overtones) * pulses * burst(length, 0.03, 0.05), rng.uniform(0.9, 1.1))
    return out


@_event("crickets", "animals")
def crickets(rng: np.random.Generator, samples: int, a: Attributes) -> Signal:
    """A trill of short pulses in one narrow band between 4 and 6 kHz, never pausing."""
    carrier = span(a.pitch, 4200, 5700) * rng.uniform(0.98, 1.02)
    time = np.arange(samples) / SAMPLE_RATE
    out = np.zeros(samples)
    for detune, level in ((1.0, 1.0), (1.09, span(a.brightness, 0.05, 0.6))):
        pulse = np.maximum(np.sin(2 * np.pi * (span(a.rate, 11, 20) * detune * time + rng.uniform())), 0.0)
        swell = 1 + 0.25 * np.sin(2 * np.pi * (0.9 * time + rng.uniform()))
        out += level * pulse * swell * np.sin(2 * np.pi * (carrier * detune * time + rng.uniform()))
    return out


@_event("cat_meow", "animals")
def cat_meow(rng: np.random.Generator, samples: int, a: Attributes) -> Signal:
    """Long voiced meows: the pitch arches, the mouth opens and closes."""
    out = np.zeros(samples)
    top = span(a.pitch, 560, 880) * rng.uniform(0.97, 1.03)
    for at in onsets(rng, samples, span(a.rate, 0.98, 0.64)):
        length = seconds(span(a.rate, 0.80, 0.50))
        arch = _arch(length) ** 0.8
        voice = tone(top * (0.66 + 0.34 * arch), rolloff(12, span(a.brightness, 1.1, 0.25)))
        closed, opened = band(voice, 350, 1300, 1), band(voice, 1000, 3600, 1)
        add_at(out, at, (closed * (1 - 0.7 * arch) + 1.3 * opened * arch) * burst(length, 0.07, 0.16))
    return out


# ---------------------------------------------------------------------------------------------------------------------
# Nature


@_event("rain", "nature")
def rain(rng: np.random.Generator, samples: int, a: Attributes) -> Signal:
    """A steady hiss above 2 kHz with single drops in it."""
    low = span(a.pitch, 1900, 2700)
    hiss = unit(band(noise(rng, samples), low, span(a.brightness, 5200, 7800), 3))
    drops = np.zeros(samples)
    count = int(samples / SAMPLE_RATE * span(a.rate, 15, 60))
    drops[rng.integers(0, samples, count)] = rng.uniform(0.5, 1.0, count)
    return hiss + 0.5 * unit(band(drops, low, 7500, 1)) * span(a.rate, 0.6, 1.1)


@_event("wind", "nature")
def wind(rng: np.random.Generator, samples: int, a: Attributes) -> Signal:
    """Howling: a narrow band of noise wandering below 1.2 kHz over a low rumble."""
    time = np.arange(samples) / SAMPLE_RATE
    swing = np.sin(2 * np.pi * (span(a.rate, 0.45, 0.95) * time + rng.uniform()))
    centre = span(a.pitch, 420, 720) * rng.uniform(0.95, 1.05) * 1.45**swing
    howl = moving_band(rng, centre, 70) + span(a.brightness, 0.08, 0.5) * moving_band(rng, 2 * centre, 120)
    return howl * (1 + 0.35 * swing) + 0.6 * unit(band(noise(rng, samples), 40, 240, 1))


@_event("ocean_waves", "nature")
def ocean_waves(rng: np.random.Generator, samples: int, a: Attributes) -> Signal:
    """Broadband noise swelling slowly and breaking: the highs come late and go first."""
    time = np.arange(samples) / SAMPLE_RATE
    position = (time / span(a.rate, 1.35, 0.85) + rng.uniform(0.1, 0.5)) % 1.0
    swell = np.where(position < 0.65, position / 0.65, (1 - position) / 0.35)
    source = noise(rng, samples)
    body = unit(band(source, span(a.pitch, 180, 320), 1500, 1)) * (0.12 + swell**1.5)
    foam = unit(band(source, 1500, span(a.brightness, 5000, 7800), 1)) * (0.02 + swell**3)
    return body + foam * span(a.brightness, 0.7, 1.4)


# ---------------------------------------------------------------------------------------------------------------------
# Vehicles


@_event("motorcycle", "vehicles")
def motorcycle(rng: np.random.Generator, samples: int, a: Attributes) -> Signal:
    """Revving: a low, rough comb of harmonics whose pitch runs up and falls back."""
    time = np.arange(samples) / SAMPLE_RATE
    position = (time / span(a.rate, 1.15, 0.65) + rng.uniform(0, 0.3)) % 1.0
    revs = np.where(position < 0.6, position / 0.6, (1 - position) / 0.4)
    revs = 0.5 - 0.5 * np.cos(np.pi * revs)
    base = span(a.pitch, 75, 115) * rng.uniform(0.97, 1.03) * 2.3**revs
    comb = tone(base, rolloff(36, span(a.brightness, 1.0, 0.45)))
    return band(unit(comb) * (0.55 + 0.6 * revs), 90, span(a.brightness, 1400, 2600), 1)


@_event("train_horn", "vehicles")
def train_horn(rng: np.random.Generator, samples: int, a: Attributes) -> Signal:
    """Long blasts of a steady three-note chord."""
    out = np.zeros(samples)
    root = span(a.pitch, 250, 390) * rng.uniform(0.98, 1.02)
    period = span(a.rate, 1.15, 0.66)
    length = seconds(0.8 * period)
    sag = 1 - 0.05 * np.linspace(0, 1, length) ** 8
    chord = np.zeros(length)
    for ratio in (1.0, 1.25, 1.68):
        chord += tone(root * ratio * sag, rolloff(10, span(a.brightness, 1.3, 0.5)))
    for at in onsets(rng, samples, period, 0.03):
        add_at(out, at, chord * burst(length, 0.04, 0.06))
    return out


@_event("helicopter", "vehicles")
def helicopter(rng: np.random.Generator, samples: int, a: Attributes) -> Signal:
    """Chopped low noise: ten to sixteen blade slaps a second."""
    time = np.arange(samples) / SAMPLE_RATE
    position = (span(a.rate, 9.5, 15) * time + rng.uniform()) % 1.0
    slap = np.exp(-position * 5) * np.minimum(position * 20, 1.0)
    source = noise(rng, samples)
    low = unit(band(source, span(a.pitch, 60, 110), span(a.pitch, 420, 700), 2))
    return slap * (low + span(a.brightness, 0.15, 0.7) * unit(band(source, 600, 2200, 1)))


# ---------------------------------------------------------------------------------------------------------------------
# Alarms


@_event("siren", "alarms")
def siren(rng: np.random.Generator, samples: int, a: Attributes) -> Signal:
    """A wail: one bright tone sweeping more than an octave up and down without a pause."""
    time = np.arange(samples) / SAMPLE_RATE
    swing = np.sin(2 * np.pi * (time / span(a.rate, 1.9, 0.85) + rng.uniform()))
    contour = span(a.pitch, 680, 1050) * rng.uniform(0.98, 1.02) * 1.55**swing
    return tone(contour, rolloff(6, span(a.brightness, 1.7, 0.6)))


@_event("alarm_beep", "alarms")
def alarm_beep(rng: np.random.Generator, samples: int, a: Attributes) -> Signal:
    """Electronic beeps: one flat tone near 2 kHz and its overtones, switched on and off."""
    out = np.zeros(samples)
    frequency = span(a.pitch, 1650, 2450) * rng.uniform(0.98, 1.02)
    period = span(a.rate, 0.44, 0.25)
    length = seconds(0.55 * period)
    overtones = np.array([1.0, span(a.brightness, 0.08, 0.5), span(a.brightness, 0.04, 0.4)])
    beep = tone(np.full(length, frequency), overtones) * burst(length, 0.004, 0.004)
    for at in onsets(rng, samples, period, 0.0):
        add_at(out, at, beep)
    return out


@_event("fire_bell", "alarms")
def fire_bell(rng: np.random.Generator, samples: int, a: Attributes) -> Signal:
    """A ringing bell: inharmonic partials that stand still while the clapper strikes a dozen times a second."""
    time = np.arange(samples) / SAMPLE_RATE
    base = span(a.pitch, 880, 1350) * rng.uniform(0.97, 1.03)
    ratios = np.array([1.0, 1.52, 2.34, 3.05, 3.98, 5.1])
    gains = ratios ** -span(a.brightness, 1.0, 0.15)
    keep = base * ratios < 7600
    phases = rng.uniform(0, 2 * np.pi, len(ratios))
    partials = np.zeros(samples)
    for ratio, gain, phase in zip(ratios[keep], gains[keep], phases[keep], strict=True):
        partials += gain * np.sin(2 * np.pi * base * ratio * time + phase)
    position = (span(a.rate, 9, 15) * time + rng.uniform()) % 1.0
    return partials * (0.35 + np.exp(-3.5 * position)) + 0.25 * noise(rng, samples) * np.exp(-40 * position)


# ---------------------------------------------------------------------------------------------------------------------
# Tools


@_event("hammer", "tools")
def hammer(rng: np.random.Generator, samples: int, a: Attributes) -> Signal:
    """Blows on metal: a broadband crack and a few ringing modes above 1.5 kHz."""
    out = np.zeros(samples)
    length = seconds(0.32)
    base = span(a.pitch, 1500, 2200) * rng.uniform(0.97, 1.03)
    ring = modes(
        length,
        base * np.array([1.0, 1.58, 2.41, 3.2]),
        np.array([0.11, 0.08, 0.06, 0.04]),
        np.array([1.0, 0.8, 0.7, 0.4]) * np.array([1.0, 1.0, *([span(a.brightness, 0.4, 1.4)] * 2)]),
    )
    for at in onsets(rng, samples, span(a.rate, 0.56, 0.28), 0.04):
        crack = band(noise(rng, length), 300, 7000, 1) * decay(length, 0.018, 0.001)
        add_at(out, at, ring + 1.1 * crack, rng.uniform(0.85, 1.1))
    return out


@_event("drill", "tools")
def drill(rng: np.random.Generator, samples: int, a: Attributes) -> Signal:
    """An electric drill: a shrill comb of harmonics that spins up, holds and drops, again and again."""
    out = np.zeros(samples)
    top = span(a.pitch, 520, 800) * rng.uniform(0.97, 1.03)
    period = span(a.rate, 1.1, 0.62)
    length = seconds(0.86 * period)
    progress = np.linspace(0, 1, length)
    spin = np.minimum(progress / 0.3, 1.0) * np.minimum((1 - progress) / 0.12, 1.0)
    whine = unit(tone(top * (0.45 + 0.55 * spin), rolloff(16, span(a.brightness, 0.6, 0.1))))
    for at in onsets(rng, samples, period, 0.03):
        grind = unit(band(noise(rng, length), 3000, 7600, 1))
        add_at(out, at, (whine + 0.45 * grind) * burst(length, 0.03, 0.04))
    return band(out, 900, span(a.brightness, 6000, 7900), 1)


@_event("hand_saw", "tools")
def hand_saw(rng: np.random.Generator, samples: int, a: Attributes) -> Signal:
    """Strokes of a saw: a band of noise that zigzags between 1.3 and 5 kHz, up on the push, down on the pull."""
    time = np.arange(samples) / SAMPLE_RATE
    position = (time / span(a.rate, 0.66, 0.36) + rng.uniform()) % 1.0
    triangle = 1 - np.abs(2 * position - 1)
    centre = span(a.pitch, 1350, 1900) * rng.uniform(0.97, 1.03) * 2.4**triangle
    strokes = 0.15 + np.abs(np.sin(2 * np.pi * position)) ** 0.7
    scrape = moving_band(rng, centre, 420)
    return strokes * (scrape + span(a.brightness, 0.02, 0.3) * unit(band(noise(rng, samples), 4500, 7800, 1)))


# ---------------------------------------------------------------------------------------------------------------------
# Domestic


@_event("clock_tick", "domestic")
def clock_tick(rng: np.random.Generator, samples: int, a: Attributes) -> Signal:
    """Tick and tock: short clicks by turns near 6 and 3.5 kHz; a bright clock has more hiss in them."""
    out = np.zeros(samples)
    length = seconds(0.09)
    shift = span(a.pitch, 0.84, 1.14) * rng.uniform(0.98, 1.02)
    constant = span(a.brightness, 0.014, 0.020)
    for number, at in enumerate(onsets(rng, samples, span(a.rate, 0.40, 0.18), 0.0)):
        centre = shift * (6000 if number % 2 == 0 else 3500)
        click = np.sin(2 * np.pi * centre * np.arange(length) / SAMPLE_RATE + rng.uniform(0, 6.28))
        hiss = unit(band(noise(rng, length), 0.8 * centre, 1.2 * centre, 1))
        add_at(out, at, (click + span(a.brightness, 0.4, 1.0) * hiss) * decay(length, constant, 0.001))
    return out


@_event("door_knock", "domestic")
def door_knock(rng: np.random.Generator, samples: int, a: Attributes) -> Signal:
    """Knuckles on wood: groups of three thuds below 1 kHz and a pause."""
    out = np.zeros(samples)
    length = seconds(0.16)
    base = span(a.pitch, 150, 230) * rng.uniform(0.96, 1.04)
    gap = span(a.rate, 0.21, 0.13)
    for start in onsets(rng, samples, 5.2 * gap, 0.04):
        for knock in range(3):
            ratios = np.array([1.0, 1.9, 3.1, 4.6]) * rng.uniform(0.98, 1.02, 4)
            gains = np.array([1.0, 0.8, span(a.brightness, 0.25, 0.8), span(a.brightness, 0.12, 0.6)])
            thud = modes(length, base * ratios, np.array([0.035, 0.03, 0.022, 0.016]), gains)
            tap = 0.5 * band(noise(rng, length), 200, 1800, 1) * decay(length, 0.006, 0.001)
            add_at(out, start + seconds(knock * gap), thud + tap, rng.uniform(0.9, 1.1))
    return out


@_event("vacuum_cleaner", "domestic")
def vacuum_cleaner(rng: np.random.Generator, samples: int, a: Attributes) -> Signal:
    """A motor that does not change: standing harmonic lines in a bed of low and middle noise."""
    time = np.arange(samples) / SAMPLE_RATE
    wobble = 1 + 0.006 * np.sin(2 * np.pi * (span(a.rate, 0.6, 2.0) * time + rng.uniform()))
    lines = tone(span(a.pitch, 420, 640) * rng.uniform(0.98, 1.02) * wobble, rolloff(9, span(a.brightness, 1.0, 0.3)))
    bed = band(noise(rng, samples), 150, span(a.brightness, 1800, 3600), 1)
    return unit(lines) + 0.8 * unit(bed)


# ---------------------------------------------------------------------------------------------------------------------
# Music

_SCALE = 2.0 ** (np.array([0, 2, 4, 7, 9, 12]) / 12)  # major pentatonic


@_event("piano", "music")
def piano(rng: np.random.Generator, samples: int, a: Attributes) -> Signal:
    """Struck notes of a pentatonic melody: many harmonics, sharp attacks, long decays."""
    out = np.zeros(samples)
    base = span(a.pitch, 230, 370)
    length = seconds(0.9)
    degree = int(rng.integers(0, 6))
    for at in onsets(rng, samples, span(a.rate, 0.46, 0.22), 0.03):
        degree = (degree + int(rng.choice([-2, -1, 1, 2]))) % 6
        note = tone(np.full(length, base * _SCALE[degree]), rolloff(10, span(a.brightness, 1.5, 0.6)))
        add_at(out, at, note * decay(length, span(a.rate, 0.26, 0.16), 0.003), rng.uniform(0.8, 1.1))
    return out


@_event("flute", "music")
def flute(rng: np.random.Generator, samples: int, a: Attributes) -> Signal:
    """Held notes with vibrato and a soft breath, one step after the other."""
    length_of_note = span(a.rate, 0.60, 0.32)
    contour, envelope = np.empty(0), np.empty(0)
    degree = int(rng.integers(0, 6))
    while len(contour) < samples:
        degree = (degree + int(rng.choice([-2, -1, 1, 2]))) % 6
        length = seconds(length_of_note * rng.uniform(0.92, 1.08))
        contour = np.append(contour, np.full(length, _SCALE[degree]))
        envelope = np.append(envelope, burst(length, 0.05, 0.05))
    contour, envelope = contour[:samples], envelope[:samples]
    time = np.arange(samples) / SAMPLE_RATE
    vibrato = 1 + 0.018 * np.sin(2 * np.pi * (5.5 * time + rng.uniform()))
    base = span(a.pitch, 480, 720)
    overtones = np.array([1.0, span(a.brightness, 0.15, 0.6), span(a.brightness, 0.05, 0.35)])
    breath = unit(band(noise(rng, samples), 700, 3000, 1))
    return (tone(base * contour * vibrato, overtones) + 0.03 * breath) * envelope


@_event("drum_beat", "music")
def drum_beat(rng: np.random.Generator, samples: int, a: Attributes) -> Signal:
    """A rock beat: a kick on one, a snare on two, a hi-hat between and on both."""
    out = np.zeros(samples)
    beat = span(a.rate, 0.52, 0.30)
    length = seconds(0.2)
    kick_pitch = span(a.pitch, 60, 90) * (1 + 1.2 * np.exp(-np.arange(length) / seconds(0.02)))
    kick = tone(kick_pitch, np.array([1.0, 0.3])) * decay(length, 0.07)
    snare_tone = span(a.pitch, 170, 260)
    for number, at in enumerate(onsets(rng, samples, beat / 2, 0.0)):
        hat = unit(band(noise(rng, length), 6000, 7900)) * decay(length, 0.022, 0.001)
        add_at(out, at, hat, span(a.brightness, 0.35, 0.9))
        if number % 4 == 0:
            add_at(out, at, kick, 1.6)
        elif number % 4 == 2:
            snare = unit(band(noise(rng, length), 400, 5500, 1)) * decay(length, 0.06, 0.001)
            add_at(out, at, snare + 0.6 * tone(np.full(length, snare_tone), np.ones(1)) * decay(length, 0.05), 1.0)
    return out


# ---------------------------------------------------------------------------------------------------------------------
# Human

_VOWELS = ((730, 1090), (270, 2290), (570, 840), (530, 1840), (300, 870), (660, 1720))  # F1, F2: Peterson & Barney 1952


@_event("speech", "human")
def speech(rng: np.random.Generator, samples: int, a: Attributes) -> Signal:
    """Speech-like babble: a voice moving from vowel to vowel, with hissed consonants between."""
    out = np.zeros(samples)
    pitch = span(a.pitch, 105, 205) * rng.uniform(0.97, 1.03)
    previous = -1
    for at in onsets(rng, samples, span(a.rate, 0.30, 0.18), 0.15):
        vowel = int(rng.integers(0, len(_VOWELS)))
        vowel = (vowel + 1) % len(_VOWELS) if vowel == previous else vowel
        previous = vowel
        length = seconds(span(a.rate, 0.25, 0.15))
        source = tone(_sweep(length, pitch * rng.uniform(1.0, 1.25), pitch * rng.uniform(0.8, 1.0)), rolloff(40, 0.8))
        syllable = np.zeros(length)
        for formant, level in zip((*_VOWELS[vowel], 2900), (1.0, 0.8, span(a.brightness, 0.15, 0.6)), strict=True):
            syllable += level * band(source, 0.85 * formant, 1.15 * formant, 1)
        add_at(out, at, unit(syllable) * burst(length, 0.03, 0.06), rng.uniform(0.8, 1.1))
        if rng.uniform() < 0.5:
            hiss_length = seconds(0.06)
            hiss = unit(band(noise(rng, hiss_length), 3800, 7000, 1)) * burst(hiss_length, 0.015, 0.02)
            add_at(out, max(at - hiss_length, 0), hiss, span(a.brightness, 0.25, 0.7))
    return out


@_event("applause", "human")
def applause(rng: np.random.Generator, samples: int, a: Attributes) -> Signal:
    """A small audience clapping, everybody in his own time, between 0.7 and 3 kHz."""
    strokes = np.zeros(samples)
    low = span(a.pitch, 650, 950)
    for _ in range(9):
        period = 1 / (span(a.rate, 2.6, 4.6) * rng.uniform(0.85, 1.15))
        for at in onsets(rng, samples, period, 0.12):
            strokes[at] += rng.uniform(0.4, 1.0)
    envelope = signal.lfilter([1.0], [1.0, -np.exp(-1 / (0.011 * SAMPLE_RATE))], strokes)
    return (envelope + 0.06) * unit(band(noise(rng, samples), low, span(a.brightness, 1900, 3200), 2))


@_event("whistling", "human")
def whistling(rng: np.random.Generator, samples: int, a: Attributes) -> Signal:
    """A person whistling: one pure tone sliding between notes in long bows, with short breaths."""
    out = np.zeros(samples)
    centre = span(a.pitch, 1150, 1750) * rng.uniform(0.97, 1.03)
    phrase = span(a.rate, 0.80, 0.46)
    upward = bool(rng.integers(0, 2))
    for at in onsets(rng, samples, phrase, 0.05):
        length = seconds(0.86 * phrase)
        glide = 0.5 - 0.5 * np.cos(np.pi * np.linspace(0, 1, length))
        contour = centre * rng.uniform(0.95, 1.05) * 1.4 ** ((2 * glide - 1) * (1 if upward else -1))
        voice = tone(contour, np.array([1.0, span(a.brightness, 0.01, 0.08)]))
        add_at(out, at, (voice + 0.02 * noise(rng, length)) * burst(length, 0.05, 0.06))
        upward = not upward
    return out


# ---------------------------------------------------------------------------------------------------------------------
# Level and room

_ROOMS = 8
_ROOM_SECONDS = 0.35


@cache
def _room(number: int, size: int) -> NDArray[np.complex128]:
    """Spectrum (of an FFT of `size`) of one of eight rooms: 0.35 s of exponentially decaying, mellow noise."""
    length = seconds(_ROOM_SECONDS)
    time = np.arange(length) / SAMPLE_RATE
    tail = np.random.default_rng([0x726F6F6D, number]).standard_normal(length) * np.exp(-time / 0.07)
    tail = np.asarray(signal.lfilter([0.5], [1.0, -0.5], tail))
    tail[: seconds(0.006)] = 0.0
    return np.asarray(fft.rfft(tail / np.sqrt(np.sum(tail**2)), size), dtype=np.complex128)


def _place(rng: np.random.Generator, sound: Signal, distance: float) -> Signal:
    """The sound as heard from a distance: the air takes the highs, the room adds its tail."""
    pole = np.exp(-2 * np.pi * span(distance, 14_000, 2_600) / SAMPLE_RATE)
    far = np.asarray(signal.lfilter([1 - pole], [1, -pole], sound))
    size = fft.next_fast_len(len(sound) + seconds(_ROOM_SECONDS), real=True)
    tail = fft.irfft(fft.rfft(far, size) * _room(int(rng.integers(_ROOMS)), size), size)[: len(sound)]
    return far + (0.06 + 0.36 * distance) * np.asarray(tail)


def gain(attributes: Attributes) -> float:
    """The level of an event relative to the reference: -8.4 to +5.6 dB by loudness, 0 to -9 dB by distance."""
    return float(10 ** ((14 * (attributes.loudness - 0.6) - 9 * attributes.distance) / 20))


def synthesize(name: str, attributes: Attributes, samples: int, rng: np.random.Generator) -> Signal:
    """Renders one event.

    Shape: returns float64 (samples,). Its RMS is ``REFERENCE_RMS * gain(attributes)`` within 1 dB of natural
    variation. Raises KeyError for a name that is not in :data:`SYNTHESIZERS`.
    """
    placed = _place(rng, unit(SYNTHESIZERS[name](rng, samples, attributes)), attributes.distance)
    level = REFERENCE_RMS * gain(attributes) * 10 ** (rng.uniform(-1, 1) / 20)
    return level * unit(placed) * burst(samples, 0.004, 0.01)
