"""Goes on with the decoders of the autoencoders, by what a CNN hears in their pictures.

L1 alone answers what it cannot know (the grain of rain, the single claps of applause) with the mean of all
possibilities, a smooth picture that sounds like none of them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from numpy.typing import NDArray
from torch import Tensor, nn

from admbench.bench.zoo.autoencoders import CROP, Latents
from admbench.bench.zoo.loop import Losses, Recipe, train
from admbench.metrics.embedders.audio_cnn import ConvBlock

PERCEPTOR = Recipe("perceptor", steps=500, batch_size=32, learning_rate=2e-3, seed=203, ema=0.99, warmup=50)
PERCEPTUAL_WEIGHT = 1.0


def decoder_recipe(name: str) -> Recipe:
    """Both decoders are tuned alike."""
    return Recipe(name, steps=1200, batch_size=8, learning_rate=1e-3, seed=204, ema=0.99, warmup=50)


class Perceptor(nn.Module):
    """A CNN that names the events of a log-mel picture (n, 1, frames, bands).

    Its layers are to decoders here what VGG's are to images in LPIPS (Zhang et al. 2018).
    """

    def __init__(self, classes: int, channels: tuple[int, ...] = (16, 32, 64, 96)) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(ConvBlock(a, b) for a, b in zip((1, *channels[:-1]), channels, strict=True))
        self.head = nn.Linear(channels[-1], classes)

    def features(self, pictures: Tensor) -> list[Tensor]:
        """The output of each block, halved in time and mel from one to the next."""
        found: list[Tensor] = []
        for block in self.blocks:
            found.append(block(F.avg_pool2d(found[-1], 2) if found else pictures))
        return found

    def forward(self, pictures: Tensor) -> Tensor:
        """Logits of independent sigmoids (n, classes)."""
        over_time = self.features(pictures)[-1].mean(dim=3)
        logits: Tensor = self.head(over_time.amax(dim=2) + over_time.mean(dim=2))
        return logits

    def distance(self, made: Tensor, real: Tensor) -> Tensor:
        """LPIPS without learned weights: squared distance of unit-length features, summed over blocks."""
        with torch.no_grad():
            wanted = [F.normalize(feature, dim=1) for feature in self.features(real)]
        pairs = zip(self.features(made), wanted, strict=True)
        return sum(((F.normalize(a, dim=1) - b).square().sum(dim=1).mean() for a, b in pairs), start=made.new_zeros(()))


def train_perceptor(pictures: NDArray[np.float16], labels: NDArray[np.float32], folder: Path) -> Perceptor:
    """Multi-label binary cross-entropy on whole pictures of the "train" split."""
    torch.manual_seed(PERCEPTOR.seed)
    module = Perceptor(labels.shape[1])

    def losses(step: int, rng: np.random.Generator) -> Losses:
        rows = PERCEPTOR.rows(step, len(pictures))
        logits = module(torch.from_numpy(pictures[rows].astype(np.float32))[:, None])
        return {"loss": F.binary_cross_entropy_with_logits(logits, torch.from_numpy(labels[rows]))}

    train(module, PERCEPTOR, losses, folder)
    return module


def tune_decoder(
    name: str,
    module: AutoencoderKL,
    perceptor: Perceptor,
    latents: Latents,
    pictures: NDArray[np.float16],
    folder: Path,
) -> AutoencoderKL:
    """L1 plus the perceptor's distance, over the decoder alone: the encoder and what backbones learn of it stay.

    Args:
        name: of the stage.
        module: the autoencoder; changed in place.
        perceptor: trained on pictures of the same kind.
        latents: of all pictures, (n, channels, frames / 8, bands / 8).
        pictures: (n, frames, bands).
        folder: of the stage.
    """
    recipe = decoder_recipe(name)
    module.encoder.requires_grad_(False)
    perceptor.eval().requires_grad_(False)

    def losses(step: int, rng: np.random.Generator) -> Losses:
        rows = recipe.rows(step, len(pictures))
        starts = rng.integers(0, (pictures.shape[1] - CROP) // 8 + 1, len(rows))
        spans = list(zip(rows, starts, strict=True))
        mean, deviation = (
            _stack([array[row, :, start : start + CROP // 8] for row, start in spans])
            for array in (latents.mean, latents.std)
        )
        target = _stack([pictures[row, 8 * start : 8 * start + CROP] for row, start in spans])[:, None]
        noise = torch.from_numpy(rng.standard_normal(mean.shape).astype(np.float32))
        rebuilt = module.decode(mean + deviation * noise).sample
        reconstruction, perceptual = F.l1_loss(rebuilt, target), perceptor.distance(rebuilt, target)
        return {
            "loss": reconstruction + PERCEPTUAL_WEIGHT * perceptual,
            "l1": reconstruction,
            "perceptual": perceptual,
        }

    train(module, recipe, losses, folder)
    return module


def _stack(parts: list[NDArray[np.float16]]) -> Tensor:
    return torch.from_numpy(np.stack(parts).astype(np.float32))
