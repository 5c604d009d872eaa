"""The signal-to-quantization-noise ratio of latents, where it is known."""

import json

import numpy as np
import pytest

from admbench.leaderboard.record import Score
from admbench.metrics.features import Features
from admbench.metrics.latents import LATENTS, latent_features, signal_to_noise_of_latents
from admbench.metrics.scoring import score

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


def score_of(decibels, timesteps, clips=6):
    """Score clips of which the first have a trajectory, as a run provides it."""
    ids = [f"clip-{row}" for row in range(clips)]
    provided = {LATENTS: lambda: latent_features(ids[: len(decibels)], np.array(decibels), timesteps)}
    made, full = (Features(tuple(ids), {"levels": np.ones((clips, 3))}) for _ in range(2))
    found = score(made, None, full, ["latent_sqnr"], {}, provided)
    assert list(found) == ["latent_sqnr_vs_baseline"]
    return found["latent_sqnr_vs_baseline"]


def test_the_score_is_that_of_the_last_step_and_has_all_steps():
    found = score_of([[40.0, 20.0], [42.0, 22.0], [44.0, 24.0], [46.0, 26.0]], [999, 499])
    Score.model_validate(json.loads(json.dumps(found)))
    assert (found["value"], found["n"], found["against"], found["unit"]) == (23, 4, "baseline", "dB")
    assert (found["backbone"], found["higher_is_better"]) == (None, True)
    assert found["steps"] == [{"timestep": 999, "db": 43}, {"timestep": 499, "db": 23}]
    half = 3.182446 * np.std([20, 22, 24, 26], ddof=1) / 2  # Student's t of 3 degrees of freedom
    assert found["ci95"] == pytest.approx([23 - half, 23 + half])


def test_few_captions_have_no_interval_and_equal_latents_no_ratio():
    few = score_of([[30.0]], [1])
    assert (few["value"], few["ci95"], few["reason"]) == (30, None, "an interval needs at least 4 clips")
    equal = score_of([[np.inf]] * 4, [1])
    assert equal == {"value": None, "reason": "some latents equal the baseline's, so that the ratio is infinite"}


def test_clips_alone_have_no_latents():
    clips = Features(("a", "b"), {"levels": np.ones((2, 3))})
    assert score(clips, None, clips, ["latent_sqnr"], {})["latent_sqnr_vs_baseline"] == {
        "value": None,
        "reason": "only a run has latents along the denoising trajectory",
    }
