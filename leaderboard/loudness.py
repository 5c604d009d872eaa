"""Loudness of a clip by ITU-R BS.1770-5: K-weighted mean square of the channels, gated, in LUFS.

The two filters of the recommendation are given for 48 kHz. For other rates they are designed from the same analogue
prototypes, a high shelf and a high-pass by the bilinear transform; their constants are those with which the design
gives the recommendation's own coefficients at 48 kHz (De Man 2014, "Evaluation of implementations of the EBU R128
loudness measurement", AES 137).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

BLOCK_SECONDS, OVERLAP = 0.4, 0.75
ABSOLUTE_GATE = -70.0
"""LUFS; blocks below it are silence."""
RELATIVE_GATE = -10.0
"""LU under the loudness of what passed the first gate."""
_OFFSET = -0.691
"""dB: a sine of 997 Hz at full scale in one channel has a loudness of -3.01 LUFS."""

Biquad = tuple[list[float], list[float]]


def loudness(samples: NDArray[np.float64], rate: int) -> float | None:
    """Return the integrated loudness, LUFS; None for a clip with nothing above the gate, as silence.

    A clip shorter than one block of 0.4 s is one block. All channels weigh 1: left, right, or one alone.

    Args:
        samples: (frames, channels) in [-1, 1].
        rate: Hz.

    >>> tone = np.sin(2 * np.pi * 997 * np.arange(48000) / 48000)[:, None]
    >>> round(loudness(tone, 48000), 2)
    -3.01
    """
    from scipy.signal import lfilter

    weighted = samples
    for numerator, denominator in k_weighting(rate):
        weighted = lfilter(numerator, denominator, weighted, axis=0)
    energy = np.concatenate([[0.0], np.cumsum(np.sum(weighted**2, axis=1))])
    length = min(round(BLOCK_SECONDS * rate), len(samples))
    starts = np.arange(0, len(samples) - length + 1, max(1, round(BLOCK_SECONDS * (1 - OVERLAP) * rate)))
    power = np.maximum(energy[starts + length] - energy[starts], 0) / length
    passed = power[power > _power(ABSOLUTE_GATE)]
    if not len(passed):
        return None
    passed = passed[passed > _power(_level(float(passed.mean())) + RELATIVE_GATE)]
    return _level(float(passed.mean()))


def k_weighting(rate: int) -> Sequence[Biquad]:
    """Return the two filters of BS.1770 at a rate, each as (numerator, denominator)."""
    shelf = math.tan(math.pi * 1681.974450955533 / rate)
    q, high = 0.7071752369554196, 10 ** (3.999843853973347 / 20)
    band = high**0.4996667741545416
    norm = 1 + shelf / q + shelf**2
    first = (
        [
            (high + band * shelf / q + shelf**2) / norm,
            2 * (shelf**2 - high) / norm,
            (high - band * shelf / q + shelf**2) / norm,
        ],
        [1.0, 2 * (shelf**2 - 1) / norm, (1 - shelf / q + shelf**2) / norm],
    )
    low = math.tan(math.pi * 38.13547087602444 / rate)
    q = 0.5003270373238773
    norm = 1 + low / q + low**2
    return first, ([1.0, -2.0, 1.0], [1.0, 2 * (low**2 - 1) / norm, (1 - low / q + low**2) / norm])


def _level(power: float) -> float:
    return _OFFSET + 10 * math.log10(power)


def _power(level: float) -> float:
    return float(10 ** ((level - _OFFSET) / 10))
