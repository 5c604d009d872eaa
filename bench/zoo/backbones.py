"""Trains the denoising networks of the embedded ADMs on the latents of the "train" split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

from admbench.bench.zoo.architectures import Blueprint, backbone, scheduler, tokenizer
from admbench.bench.zoo.autoencoders import Latents
from admbench.bench.zoo.data import Split
from admbench.bench.zoo.loop import Losses, Recipe, train
from admbench.bench.zoo.texts import Towers, hidden_states

DROP_CAPTION = 0.1
"""Share of training examples whose caption is replaced by the empty one, for classifier-free guidance."""
SNR_CAP = 5.0
"""gamma of Min-SNR loss weighting (Hang et al. 2023)."""

SEEDS = {"tiny-audioldm": 401, "tiny-tango": 402, "tiny-make-an-audio": 403}
STEPS = {"tiny-audioldm": 3000, "tiny-tango": 2600, "tiny-make-an-audio": 2600}


def backbone_recipe(name: str) -> Recipe:
    """All backbones train alike."""
    return Recipe(name, steps=STEPS[name], batch_size=16, learning_rate=8e-4, seed=SEEDS[name], ema=0.998, warmup=200)


@dataclass(frozen=True)
class Conditions:
    """What the backbone is told about each training clip, from the frozen text encoder; the last row is the empty
    caption. `states` is float16 (n + 1, width) for a class embedding, (n + 1, tokens, width) for cross attention."""

    states: Tensor
    mask: Tensor | None

    def batch(self, rows: Tensor) -> dict[str, Tensor | None]:
        """Keyword arguments of the U-Net."""
        if self.mask is None:
            return {"encoder_hidden_states": None, "class_labels": self.states[rows].float()}
        mask = self.mask[rows]
        longest = int(mask.sum(dim=1).max())
        return {
            "encoder_hidden_states": self.states[rows, :longest].float(),
            "encoder_attention_mask": mask[:, :longest].bool(),
        }


@torch.inference_mode()
def encode_captions(blueprint: Blueprint, towers: Towers, captions: list[str]) -> Conditions:
    """Runs the frozen text encoder over all captions and the empty one."""
    out = tokenizer(blueprint.text)([*captions, ""], padding=True, return_tensors="pt")
    encoder, states = towers.texts[blueprint.text].eval(), []
    for start in range(0, len(captions) + 1, 256):
        ids, mask = out.input_ids[start : start + 256], out.attention_mask[start : start + 256]
        vectors = (
            towers.text_vector("clap", ids, mask)
            if blueprint.family == "audioldm"
            else hidden_states(encoder, ids, mask)
        )
        states.append(vectors.half())
    return Conditions(torch.cat(states).clone(), None if blueprint.family == "audioldm" else out.attention_mask)


def train_backbone(
    blueprint: Blueprint, latents: Latents, conditions: Conditions, training: Split, folder: Path
) -> UNet2DConditionModel:
    """Denoising with the family's own target (epsilon or v) and betas, weighted by Min-SNR."""
    recipe = backbone_recipe(blueprint.name)
    torch.manual_seed(recipe.seed)
    network = backbone(blueprint)
    noise_schedule: Any = scheduler(blueprint)
    snr = noise_schedule.alphas_cumprod / (1 - noise_schedule.alphas_cumprod)
    predicts_v = blueprint.scheduler["prediction_type"] == "v_prediction"
    # of a loss on x0, which Min-SNR caps at gamma, epsilon's is snr times as large and v's (snr + 1)
    weights = snr.clamp(max=SNR_CAP) / (snr + 1 if predicts_v else snr)
    empty = len(training)

    def losses(step: int, rng: np.random.Generator) -> Losses:
        rows = recipe.rows(step, len(training))
        noise = torch.from_numpy(rng.standard_normal((2, len(rows), *latents.mean.shape[1:])).astype(np.float32))
        clean = torch.from_numpy(latents.mean[rows].astype(np.float32))
        clean = (clean + torch.from_numpy(latents.std[rows].astype(np.float32)) * noise[0]) * latents.scaling_factor
        if blueprint.transposed:
            clean, noise = clean.transpose(-1, -2), noise.transpose(-1, -2)
        # one timestep from each of batch_size equal strata: the loss is far less noisy than with independent draws
        strata = (rng.permutation(len(rows)) + rng.uniform(0, 1, len(rows))) / len(rows)
        timesteps = torch.from_numpy((strata * 1000).astype(np.int64)).clamp(max=999)
        told = np.where(rng.uniform(size=len(rows)) < DROP_CAPTION, empty, rows)
        noisy = noise_schedule.add_noise(clean, noise[1], timesteps)
        target = noise_schedule.get_velocity(clean, noise[1], timesteps) if predicts_v else noise[1]
        predicted = network(noisy, timesteps, **conditions.batch(torch.from_numpy(told))).sample
        errors = (predicted - target).square().mean(dim=(1, 2, 3))
        return {"loss": (weights[timesteps] * errors).mean(), "mse": errors.mean()}

    train(network, recipe, losses, folder)
    return network
