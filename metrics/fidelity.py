"""Paired fidelity: how much of the full-precision model's own clip is left, caption by caption.

Task: quantization should not change what a model makes from a caption and a seed. Each generated clip is compared with
the baseline's clip of the same caption and seed, and the mean over captions is the score. The first three read no
network's output, so they depend on none. A clip that is as good and merely shifted by a few samples scores badly.

Conventions: waveforms with full scale 1, as they lie on disk, at their own rate, compared sample by sample; both of one
rate and length. Of stereo clips mid (half the sum of the channels) and side (half their difference) are held together:
the frames of both are one spectrogram of twice the frames, and sums over samples go over both. So a model whose stereo
collapses to mono is seen, though its mix is what it was. A spectrum's level is that of a sine: 0 dB at full scale.
What lies below -100 dB counts as -100 dB.

    lmd         mean over frames of sqrt(mean over bands (L - L0)^2), L: log-mel levels in dB; lower is better
    mrstft      mean over resolutions of |S0 - S|_F / |S0|_F + mean |ln S0 - ln S|, S: magnitudes; lower is better
    snr         10 log10(sum x0^2 / sum (x - x0)^2) in dB; higher is better
    clap_audio  cosine of the two clips' CLAP embeddings; higher is better

Gray and Markel 1976, "Distance measures for speech processing" (root mean square of log spectra, here of mel bands);
Yamamoto et al. 2020, "Parallel WaveGAN" (multi-resolution STFT, with its resolutions); Wu et al. 2023 (CLAP).
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

from admbench.metrics.base import Metric, given
from admbench.metrics.clap import cosine_similarity
from admbench.metrics.features import Features
from admbench.metrics.intervals import Mean, Statistic
from admbench.metrics.waveform_pairs import PairedWaveforms, Waveform

FLOOR_DB = -100.0
MEL_BANDS = 64
MEL_WINDOW_SECONDS = 0.064
MEL_HOP_SECONDS = 0.016
RESOLUTIONS = ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240))
"""(FFT size, hop, window) in samples."""


def log_mel_distance(generated: Waveform, baseline: Waveform, sample_rate: int) -> float:
    """Return the log-mel distance of two clips in dB.

    Args:
        generated: (samples,) or (parts, samples), full scale 1.
        baseline: of the same shape.
        sample_rate: Hz; 64 bands on the HTK mel scale reach from 0 to half of it.
    """
    difference = _log_mel(generated, sample_rate) - _log_mel(baseline, sample_rate)
    return float(np.sqrt(np.square(difference).mean(axis=1)).mean())


def multi_resolution_stft_distance(generated: Waveform, baseline: Waveform) -> float:
    """Return spectral convergence plus log-magnitude distance (natural logarithm), mean over three resolutions.

    Args:
        generated: (samples,) or (parts, samples), full scale 1.
        baseline: of the same shape.

    Raises:
        ValueError: the baseline is silent, and then the convergence is not defined.
    """
    if not baseline.any():
        raise ValueError("the baseline's is silent, so that the spectral convergence is not defined")
    return float(np.mean([_stft_distance(generated, baseline, *resolution) for resolution in RESOLUTIONS]))


def signal_to_noise_ratio(generated: Waveform, baseline: Waveform) -> float:
    """Return the energy of the baseline's clip over that of the difference, in dB.

    Args:
        generated: (samples,) or (parts, samples).
        baseline: of the same shape.

    Raises:
        ValueError: the clips are equal, or the baseline is silent: the ratio is not finite.
    """
    signal = baseline.astype(np.float64)
    energy, noise = np.square(signal).sum(), np.square(generated - signal).sum()
    if not noise:
        raise ValueError("equals the baseline's, so that the ratio is infinite")
    if not energy:
        raise ValueError("the baseline's is silent, so that the ratio is not finite")
    return float(10 * np.log10(energy / noise))


def _stft_distance(generated: Waveform, baseline: Waveform, size: int, hop: int, window: int) -> float:
    ours, theirs = (_magnitudes(one, size, hop, window) for one in (generated, baseline))
    floor = 10 ** (FLOOR_DB / 20)
    convergence = np.linalg.norm(theirs - ours) / np.linalg.norm(theirs)
    logarithms = np.abs(np.log(np.maximum(theirs, floor)) - np.log(np.maximum(ours, floor))).mean()
    return float(convergence + logarithms)


def _log_mel(waveform: Waveform, sample_rate: int) -> NDArray[np.float64]:
    """Return levels in dB, (frames, bands)."""
    window, hop = round(MEL_WINDOW_SECONDS * sample_rate), round(MEL_HOP_SECONDS * sample_rate)
    power = np.square(_magnitudes(waveform, window, hop, window)) @ _mel_filters(window, sample_rate)
    levels: NDArray[np.float64] = 10 * np.log10(np.maximum(power, 10 ** (FLOOR_DB / 10)))
    return levels


def _magnitudes(waveform: Waveform, size: int, hop: int, window: int) -> NDArray[np.float64]:
    """Return the magnitudes (frames, bins) of an STFT with a Hann window and zeros around; 1 is a full-scale sine.

    Of several parts, the frames of one after those of the other.
    """
    if waveform.ndim == 2:
        return np.concatenate([_magnitudes(part, size, hop, window) for part in waveform])
    taper = np.hanning(window + 1)[:-1]
    padded = np.pad(waveform.astype(np.float64), window // 2 + 1)
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop]
    magnitudes: NDArray[np.float64] = np.abs(np.fft.rfft(frames * taper, size, axis=1)) * (2 / taper.sum())
    return magnitudes


@cache
def _mel_filters(size: int, sample_rate: int) -> NDArray[np.float64]:
    """Return triangles of height 1 on the HTK mel scale, (bins, bands)."""
    frequencies = np.fft.rfftfreq(size, 1 / sample_rate)[:, None]
    mels = np.linspace(0, 2595 * np.log10(1 + sample_rate / 2 / 700), MEL_BANDS + 2)
    edges = 700 * (10 ** (mels / 2595) - 1)
    rising = (frequencies - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - frequencies) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rising, falling))


class LogMelDistance(PairedWaveforms):
    """Mean log-mel distance to the baseline's clips."""

    name = "lmd"
    summary = "Log-mel distance to the baseline's clips in dB, mean over captions; lower is better"
    version = "2"
    higher_is_better = False
    ratio_scale = True
    range = (0.0, math.inf)
    settings = {  # noqa: RUF012
        "unit": "dB",
        "bands": MEL_BANDS,
        "window_seconds": MEL_WINDOW_SECONDS,
        "hop_seconds": MEL_HOP_SECONDS,
        "floor_db": FLOOR_DB,
    }

    def compare(self, generated: Waveform, baseline: Waveform, sample_rate: int) -> float:
        """Return the distance of one pair."""
        return log_mel_distance(generated, baseline, sample_rate)


class MultiResolutionSTFT(PairedWaveforms):
    """Mean multi-resolution STFT distance to the baseline's clips."""

    name = "mrstft"
    summary = "Multi-resolution STFT distance to the baseline's clips, mean over captions; lower is better"
    version = "2"
    higher_is_better = False
    ratio_scale = True
    range = (0.0, math.inf)
    settings = {"resolutions": [list(one) for one in RESOLUTIONS], "floor_db": FLOOR_DB}  # noqa: RUF012

    def compare(self, generated: Waveform, baseline: Waveform, sample_rate: int) -> float:
        """Return the distance of one pair."""
        return multi_resolution_stft_distance(generated, baseline)


class SignalToNoise(PairedWaveforms):
    """Mean signal-to-noise ratio, the baseline's clips being the signal."""

    name = "snr"
    summary = "Waveform SNR to the baseline's clips in dB, mean over captions; higher is better"
    version = "2"
    higher_is_better = True
    settings = {"unit": "dB"}  # noqa: RUF012

    def compare(self, generated: Waveform, baseline: Waveform, sample_rate: int) -> float:
        """Return the ratio of one pair."""
        return signal_to_noise_ratio(generated, baseline)


class ClapAudioSimilarity(Metric):
    """Mean cosine between the CLAP embeddings of a clip and of the baseline's."""

    name = "clap_audio"
    summary = "Cosine of CLAP audio embeddings to the baseline's clips, mean over captions; higher is better"
    higher_is_better = True
    range = (-1.0, 1.0)
    needs = frozenset({"clap_audio"})
    against = ("baseline",)

    def compute(self, generated: Features, against: Features | None) -> float:
        """Return the mean over pairs."""
        return self.statistic(generated, against).value

    def statistic(self, generated: Features, against: Features | None) -> Statistic:
        """Return the mean over pairs."""
        return Mean(cosine_similarity(generated["clap_audio"], given(against)["clap_audio"]))
