"""How far the latents of a quantized model are from full precision's, step by step along the denoising trajectory.

Task: where on the way from noise to sound does quantization do its damage? Both models start from the same noise and
see the same caption; their latents drift apart as errors of each step are carried on.

Conventions: signal-to-quantization-noise ratio per caption and step in dB, latents after the step, over all numbers of
a latent; higher is better; the score is the mean over captions at the last step. It needs the models themselves, so
that only a run has it, for the first captions of its suite.

    SQNR_t = 10 log10( sum x_t^2 / sum (x'_t - x_t)^2 )      x: full precision, x': quantized
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from admbench.metrics.base import Metric
from admbench.metrics.features import Features
from admbench.metrics.intervals import Mean, Statistic

LATENTS = "latents"
"""The extractor of what the score reads."""


def signal_to_noise_of_latents(full: NDArray[np.floating], quantized: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the ratio of each caption in dB, (n,); infinite where latents are equal.

    Args:
        full: latents of the full-precision model, (n, ...).
        quantized: those of the quantized one, the same shape.

    Raises:
        ValueError: different shapes, or a latent that is not finite.
    """
    if full.shape != quantized.shape:
        raise ValueError(f"latents of shapes {full.shape} and {quantized.shape}")
    signal = full.reshape(len(full), -1).astype(np.float64)
    error = quantized.reshape(len(full), -1).astype(np.float64) - signal
    if not (np.isfinite(signal).all() and np.isfinite(error).all()):
        raise ValueError("not every latent is finite")
    with np.errstate(divide="ignore"):
        ratio: NDArray[np.float64] = 10 * np.log10(np.square(signal).sum(axis=1) / np.square(error).sum(axis=1))
    return ratio


def latent_features(ids: Sequence[str], decibels: NDArray[np.float64], timesteps: Sequence[int]) -> Features:
    """Return what the score reads of the captions whose trajectories were compared.

    Args:
        ids: of the captions.
        decibels: (captions, steps), of `signal_to_noise_of_latents` after each step.
        timesteps: of each step, in the training schedule's units.

    Raises:
        ValueError: a ratio is infinite.
    """
    if not np.isfinite(decibels).all():
        raise ValueError("some latents equal the baseline's, so that the ratio is infinite")
    return Features(tuple(ids), {LATENTS: decibels, "timesteps": np.tile(np.asarray(timesteps), (len(ids), 1))})


class LatentSQNR(Metric):
    """Mean signal-to-quantization-noise ratio of latents after the last step."""

    name = "latent_sqnr"
    summary = "SQNR of the latents along the denoising trajectory in dB, in runs only; higher is better"
    higher_is_better = True
    needs = frozenset({"latents"})
    against = ("baseline",)

    def compute(self, generated: Features, against: Features | None) -> float:
        """Return the mean over captions."""
        return self.statistic(generated, against).value

    def statistic(self, generated: Features, against: Features | None) -> Statistic:
        """Return the mean over captions; the baseline's latents are what they are compared with already."""
        return Mean(generated[LATENTS][:, -1])

    def details(self, generated: Features, against: Features | None) -> dict[str, Any]:
        """Return the mean of every step, from noise to sound."""
        steps = zip(generated["timesteps"][0].tolist(), generated[LATENTS].mean(axis=0), strict=True)
        return {"unit": "dB", "steps": [{"timestep": step, "db": float(mean)} for step, mean in steps]}
