"""Loudness: the recommendation's own numbers, and what a clip's length and channels do to it."""

import numpy as np
import pytest

from admbench.leaderboard.loudness import k_weighting, loudness

# ITU-R BS.1770-5, annex 1, tables 1 and 2: the coefficients at 48 kHz.
SHELF = [1.53512485958697, -2.69169618940638, 1.19839281085285], [1.0, -1.69065929318241, 0.73248077421585]
HIGH_PASS = [1.0, -2.0, 1.0], [1.0, -1.99004745483398, 0.99007225036621]


def tone(rate: int, seconds: float = 2.0, decibels: float = 0.0, channels: int = 1, frequency: float = 997):
    wave = 10 ** (decibels / 20) * np.sin(2 * np.pi * frequency * np.arange(round(rate * seconds)) / rate)
    return np.repeat(wave[:, None], channels, axis=1)


def test_the_filters_are_those_of_the_recommendation():
    for found, stated in zip(k_weighting(48_000), (SHELF, HIGH_PASS), strict=True):
        for own, given in zip(found, stated, strict=True):
            np.testing.assert_allclose(own, given, atol=2e-8)


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_a_tone_of_full_scale_is_as_loud_as_the_recommendation_says(rate):
    assert loudness(tone(rate), rate) == pytest.approx(-3.01, abs=0.05)
    assert loudness(tone(rate, decibels=-20), rate) == pytest.approx(-23.01, abs=0.05)
    assert loudness(tone(rate, channels=2), rate) == pytest.approx(0.0, abs=0.05)


def test_silence_has_no_loudness_and_does_not_count():
    rate = 16_000
    assert loudness(np.zeros((rate, 1)), rate) is None
    with_silence = np.concatenate([tone(rate), np.zeros((3 * rate, 1))])
    gated = 10 * np.log10(
        (17 + 0.75 + 0.5 + 0.25) / 20
    )  # 17 whole blocks, three at the edge; the rest is below the gate
    assert loudness(with_silence, rate) == pytest.approx(loudness(tone(rate), rate) + gated, abs=0.01)


def test_a_clip_shorter_than_a_block_is_one_block():
    assert loudness(tone(16_000, seconds=0.2), 16_000) == pytest.approx(-3.01, abs=0.2)
    assert loudness(tone(16_000, seconds=1 / 16_000), 16_000) is None
