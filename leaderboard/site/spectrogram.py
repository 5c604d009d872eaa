"""Small spectrograms: mel-spaced frequency over time, in decibels, on a colour scale given from outside."""

from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image
from scipy.signal import spectrogram

from admbench.leaderboard.clips import Sound

COLUMNS, ROWS = 256, 96
RANGE_DB = 70.0
_WINDOW_SECONDS = 0.032


def mel_decibels(sound: Sound) -> np.ndarray:
    """Power in dB, float32 (ROWS, about COLUMNS): from row 0 at 0 Hz to half the sample rate, evenly spaced in mel.

    The spectrum is interpolated at the mel-spaced frequencies: to look at, not a feature.
    """
    hop = max(1, round(len(sound.samples) / COLUMNS))
    length = max(16, round(_WINDOW_SECONDS * sound.rate), 2 * hop)
    samples = np.pad(sound.samples, length // 2, mode="symmetric")
    frequencies, _, power = spectrogram(
        samples, sound.rate, "hann", length, length - hop, nfft=2 * length, detrend=False, scaling="spectrum"
    )
    at = mel_frequencies(sound.rate) / frequencies[1]
    below = np.minimum(at.astype(int), len(power) - 2)
    share = (at - below)[:, None]
    return (10 * np.log10((1 - share) * power[below] + share * power[below + 1] + 1e-12)).astype(np.float32)


def mel_frequencies(rate: int) -> np.ndarray:
    """Frequencies of the rows, Hz (ROWS,), by the mel scale 2595 log10(1 + f / 700)."""
    top = 2595 * np.log10(1 + rate / 2 / 700)
    return np.minimum(700 * (10 ** (np.linspace(0, top, ROWS) / 2595) - 1), rate / 2)


def mel_height(frequency: float, rate: int) -> float:
    """Height of a frequency in the image, from 0 (bottom) to 1 (half the sample rate)."""
    return float(np.log(1 + frequency / 700) / np.log(1 + rate / 2 / 700))


def write_spectrogram(path: Path, decibels: np.ndarray, loudest: float) -> None:
    """Write a palette PNG: `loudest` - RANGE_DB .. `loudest` from dark to bright, low frequencies at the bottom."""
    shade = np.clip((decibels - loudest) / RANGE_DB + 1, 0, 1)
    image = Image.fromarray(np.round(shade[::-1] * 255).astype(np.uint8), mode="L")
    palette = matplotlib.colormaps["magma"](np.arange(256), bytes=True)[:, :3]
    image.putpalette(palette.tobytes())
    image.save(path)
