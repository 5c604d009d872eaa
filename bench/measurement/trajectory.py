"""Two models on their way from the same noise: how their latents drift apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from admbench.metrics.latents import signal_to_noise_of_latents

if TYPE_CHECKING:
    from admbench.bench.models.base import AudioDiffusionModel

CAPTIONS = 8
"""Captions of a suite whose trajectories are compared: both models denoise them once more."""


def latents_apart(
    full: AudioDiffusionModel,
    quantized: AudioDiffusionModel,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    steps: int,
    guidance: float,
) -> dict[str, Any]:
    """Denoise the same captions from the same noise with both models, in step.

    Returns:
        `timesteps` (steps,) and `decibels` (captions, steps): the ratio of each caption after each step.

    Raises:
        ValueError: a latent is not finite.
    """
    timesteps, rows = [], []
    trajectories = [one.denoise(prompts, seeds, steps=steps, guidance=guidance) for one in (full, quantized)]
    for (timestep, ours), (_, theirs) in zip(*trajectories, strict=True):
        timesteps.append(timestep)
        rows.append(signal_to_noise_of_latents(ours.cpu().numpy(), theirs.cpu().numpy()))
    return {"timesteps": timesteps, "decibels": np.stack(rows, axis=1).tolist()}
