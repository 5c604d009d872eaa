"""The signal-to-quantization-noise ratio of latents, where it is known."""

import json

import numpy as np
import pytest

from admbench.leaderboard.record import Score
from admbench.metrics import registry
from admbench.metrics.latents import latent_score, signal_to_noise_of_latents

RNG = np.random.default_rng(0)


def test_an_error_of_a_tenth_of_the_amplitude_is_twenty_decibels():
    full = RNG.normal(size=(3, 2, 4, 5)).astype(np.float32)
    assert signal_to_noise_of_latents(full, 1.1 * full) == pytest.approx([20] * 3, abs=1e-4)
    assert signal_to_noise_of_latents(full, np.zeros_like(full)) == pytest.approx([0] * 3)


def test_each_caption_has_its_own():
    full = np.ones((2, 10))
    quantized = full + np.array([[0.1], [0.01]])
    assert signal_to_noise_of_latents(full, quantized) == pytest.approx([20, 40])


@pytest.mark.parametrize(
    ("quantized", "message"), [(np.ones((2, 3)), "shapes"), (np.full((2, 10), np.nan), "not every latent is finite")]
)
def test_latents_that_cannot_be_compared_are_refused(quantized, message):
    with pytest.raises(ValueError, match=message):
        signal_to_noise_of_latents(np.ones((2, 10)), quantized)


def test_the_score_is_that_of_the_last_step_and_has_all_steps():
    decibels = np.array([[40.0, 20.0], [42.0, 22.0], [44.0, 24.0], [46.0, 26.0]])
    score = latent_score(decibels, [999, 499])
    Score.model_validate(json.loads(json.dumps(score)))
    assert (score["value"], score["n"], score["against"]) == (23, 4, "baseline")
    assert score["steps"] == [{"timestep": 999, "db": 43}, {"timestep": 499, "db": 23}]
    half = 3.182446 * np.std([20, 22, 24, 26], ddof=1) / 2  # Student's t of 3 degrees of freedom
    assert score["ci95"] == pytest.approx([23 - half, 23 + half])


def test_few_captions_have_no_interval_and_equal_latents_no_ratio():
    assert latent_score(np.array([[30.0]]), [1])["reason"] == "an interval needs at least 4 clips"
    assert latent_score(np.array([[np.inf]] * 4), [1])["value"] is None


def test_clips_alone_have_no_latents():
    with pytest.raises(ValueError, match="only a run"):
        registry.get("latent_sqnr")().compute(None, None)
