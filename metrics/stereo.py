"""The stereo image: is what lies between the channels still that of the full-precision model's clip?

Networks hear the mix of the channels, so that a model whose stereo collapses to mono, or turns around, has the scores
of one that did not. Each metric here describes a clip by one number and is the mean over captions of how far the
generated clip's is from the baseline's of the same caption; lower is better, 0 is the same. With left L and right R,
mid M = (L + R) / 2 and side S = (L - R) / 2:

    side_level           10 log10( sum S^2 / sum (M^2 + S^2) ) in dB, at least -60: 0 where there is side alone
    level_difference     10 log10( sum L^2 / sum R^2 ) in dB, between -60 and 60: positive where the left is louder
    channel_correlation  sum L R / sqrt(sum L^2 sum R^2): 1 mono, 0 nothing in common, -1 turned around

A silent channel has nothing in common with the other: correlation 0. A clip that is silent has no side (-60 dB) and no
difference. Mono clips have equal channels; where both clips are mono there is no image, and no score.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from admbench.metrics.audio import Sound, read_audio
from admbench.metrics.base import given
from admbench.metrics.features import Features
from admbench.metrics.waveform_pairs import PairedSounds

LIMIT_DB = 60.0
"""Largest ratio in dB that is told from a larger one: what is 60 dB below the rest is not heard beside it."""


def side_level(sound: Sound) -> float:
    """Return the energy of the side over that of the clip in dB, -60 to 0; ValueError for more than two channels."""
    mid, side = _energies(sound.mid_and_side())
    return _decibels(side, mid + side)


def level_difference(sound: Sound) -> float:
    """Return the energy of the left over that of the right in dB, -60 to 60; ValueError for more than two channels."""
    left, right = _energies(np.stack([ear.waveform for ear in sound.ears()]))
    return _decibels(left, right) if left or right else 0.0


def channel_correlation(sound: Sound) -> float:
    """Return the correlation of the channels without removing their means; ValueError for more than two channels."""
    channels = np.stack([ear.waveform for ear in sound.ears()]).astype(np.float64)
    left, right = _energies(channels)
    if not left or not right:
        return 0.0
    return float(np.clip(channels.prod(axis=0).sum() / np.sqrt(left * right), -1.0, 1.0))


def _energies(parts: NDArray[np.floating]) -> tuple[float, float]:
    first, second = np.square(parts.astype(np.float64)).sum(axis=1)
    return float(first), float(second)


def _decibels(energy: float, other: float) -> float:
    if not energy:
        return -LIMIT_DB
    if not other:
        return LIMIT_DB
    return float(np.clip(10 * np.log10(energy / other), -LIMIT_DB, LIMIT_DB))


class _StereoImage(PairedSounds):
    """Mean over captions of how far a description of a clip is from the baseline's."""

    higher_is_better = False
    ratio_scale = True

    @staticmethod
    @abstractmethod
    def describe(sound: Sound) -> float:
        """Return the number of one clip."""

    def compare_sounds(self, generated: Sound, baseline: Sound) -> float:
        """Return how far apart the numbers of one pair are; ValueError if both are mono."""
        if generated.channels == baseline.channels == 1:
            raise ValueError("is mono, and so is the baseline's: there is no stereo image")
        return abs(self.describe(generated) - self.describe(baseline))

    def details(self, generated: Features, against: Features | None) -> dict[str, Any]:
        """Return the settings and the mean number of either set, so that one sees which way the image went."""
        sets = {"mean_generated": generated, "mean_baseline": given(against)}
        means = {
            name: float(np.mean([self.describe(read_audio(file)) for file in own.files or ()]))
            for name, own in sets.items()
        }
        return {**self.settings, **means}


class SideLevel(_StereoImage):
    """Mean change of the side's level."""

    name = "side_level"
    summary = "Change in dB of a stereo clip's share of side, to the baseline's, mean over captions; lower is better"
    range = (0.0, LIMIT_DB)
    settings = {"unit": "dB", "at_least_db": -LIMIT_DB}  # noqa: RUF012
    describe = staticmethod(side_level)


class LevelDifference(_StereoImage):
    """Mean change of the level difference between the channels."""

    name = "level_difference"
    summary = "Change in dB of left over right of a stereo clip, to the baseline's, mean over captions; lower is better"
    range = (0.0, 2 * LIMIT_DB)
    settings = {"unit": "dB", "at_most_db": LIMIT_DB}  # noqa: RUF012
    describe = staticmethod(level_difference)


class ChannelCorrelation(_StereoImage):
    """Mean change of the correlation between the channels."""

    name = "channel_correlation"
    summary = "Change of the correlation of stereo channels, to the baseline's, mean over captions; lower is better"
    range = (0.0, 2.0)
    describe = staticmethod(channel_correlation)
