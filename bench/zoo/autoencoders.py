"""Trains the autoencoders and the vocoders of the embedded ADMs on the "train" split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from numpy.typing import NDArray
from torch import Tensor
from transformers import SpeechT5HifiGan

from admbench.bench.models.mel import MelSpec, log_mel
from admbench.bench.zoo.architectures import autoencoder, vocoder
from admbench.bench.zoo.data import Split
from admbench.bench.zoo.loop import Losses, Recipe, train
from admbench.files import read_json, write_json_atomic
from admbench.progress import track

KL_WEIGHT = 2e-4
CROP = 96
"""Frames of a training crop of the autoencoder (a whole clip has 256 or 160)."""

SEGMENT_FRAMES = {160: 64, 256: 40}
"""Frames of a training segment of the vocoder, by hop: 0.64 s."""
RESOLUTIONS = ((256, 64), (512, 128), (1024, 256))
"""(n_fft, hop) of the spectral losses of the vocoder."""


def autoencoder_recipe(name: str) -> Recipe:
    """Both autoencoders train alike."""
    return Recipe(name, steps=900, batch_size=8, learning_rate=1.5e-3, seed=201, ema=0.99, warmup=50)


def vocoder_recipe(name: str) -> Recipe:
    """Both vocoders train alike."""
    return Recipe(name, steps=700, batch_size=8, learning_rate=2e-3, seed=202, ema=0.99, warmup=50, betas=(0.8, 0.99))


def train_autoencoder(name: str, latent_channels: int, pictures: NDArray[np.float16], folder: Path) -> AutoencoderKL:
    """L1 reconstruction of random crops plus a small KL term; then measures the latents' scale."""
    recipe = autoencoder_recipe(name)
    torch.manual_seed(recipe.seed)
    module = autoencoder(latent_channels)

    def losses(step: int, rng: np.random.Generator) -> Losses:
        rows = recipe.rows(step, len(pictures))
        starts = rng.integers(0, (pictures.shape[1] - CROP) // 8 + 1, len(rows)) * 8
        crop = np.stack([pictures[row, start : start + CROP] for row, start in zip(rows, starts, strict=True)])
        target = torch.from_numpy(crop.astype(np.float32))[:, None]
        posterior = module.encode(target).latent_dist
        rebuilt = module.decode(posterior.sample()).sample
        reconstruction = F.l1_loss(rebuilt, target)
        divergence = posterior.kl().mean() / posterior.mean[0].numel()
        return {"loss": reconstruction + KL_WEIGHT * divergence, "l1": reconstruction, "kl": divergence}

    train(module, recipe, losses, folder)
    return module


@torch.inference_mode()
def encode(module: AutoencoderKL, pictures: NDArray[np.float16], rows: slice) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the latents of some pictures: each (rows, channels, time / 8, mel / 8)."""
    posterior = module.encode(torch.from_numpy(pictures[rows].astype(np.float32))[:, None]).latent_dist
    return posterior.mean, posterior.std


@dataclass(frozen=True)
class Latents:
    """Posterior means and standard deviations of every training clip, and the scale that makes them unit variance."""

    mean: NDArray[np.float16]
    std: NDArray[np.float16]
    scaling_factor: float


def encode_split(vae: AutoencoderKL, pictures: NDArray[np.float16], folder: Path) -> Latents:
    """Encodes all pictures once; kept on disk in `folder`."""
    note = folder / "latents.json"
    if not note.exists():
        folder.mkdir(parents=True, exist_ok=True)
        parts = [encode(vae, pictures, slice(i, i + 32)) for i in track(range(0, len(pictures), 32), "latents")]
        for number, name in enumerate(("mean", "std")):
            np.save(folder / f"latent-{name}.npy", torch.cat([part[number] for part in parts]).half().numpy())
        scale = 1.0 / float(torch.cat([part[0] for part in parts]).std())
        write_json_atomic(note, {"scaling_factor": scale})
    return load_latents(folder)


def load_latents(folder: Path) -> Latents:
    """What :func:`encode_split` kept in `folder`."""
    mean, std = (np.load(folder / f"latent-{name}.npy") for name in ("mean", "std"))
    return Latents(mean, std, read_json(folder / "latents.json")["scaling_factor"])


def spectral_loss(made: Tensor, real: Tensor) -> Tensor:
    """Multi-resolution STFT loss (Yamamoto et al. 2020): spectral convergence plus L1 of log magnitudes."""
    total = made.new_zeros(())
    for n_fft, hop in RESOLUTIONS:
        window = torch.hann_window(n_fft)
        a, b = (torch.stft(x, n_fft, hop, window=window, return_complex=True) for x in (made, real))
        a_abs, b_abs = ((x.real.square() + x.imag.square() + 1e-9).sqrt() for x in (a, b))
        convergence = torch.linalg.norm(a_abs - b_abs, dim=(1, 2)) / torch.linalg.norm(b_abs, dim=(1, 2)).clamp(min=0.1)
        total = total + convergence.mean() + F.l1_loss(a_abs.clamp(min=1e-4).log(), b_abs.clamp(min=1e-4).log())
    return total / len(RESOLUTIONS)


def train_vocoder(name: str, mel: MelSpec, training: Split, folder: Path) -> SpeechT5HifiGan:
    """Spectral losses on random segments. No discriminator: at this size and time it costs more than it gives."""
    recipe = vocoder_recipe(name)
    torch.manual_seed(recipe.seed)
    module = vocoder(mel)
    frames = SEGMENT_FRAMES[mel.hop]

    def losses(step: int, rng: np.random.Generator) -> Losses:
        rows = recipe.rows(step, len(training))
        wave = training.waveforms(rows)
        starts = rng.integers(0, mel.frames(wave.shape[1]) - frames, len(rows))
        length = frames * mel.hop
        real = torch.stack([row[s * mel.hop : s * mel.hop + length] for row, s in zip(wave, starts, strict=True)])
        picture = log_mel(real, mel)
        made = module(picture)
        spectral = spectral_loss(made, real)
        mel_distance = F.l1_loss(log_mel(made, mel), picture)
        return {"loss": spectral + 2.0 * mel_distance, "spectral": spectral, "mel": mel_distance}

    train(module, recipe, losses, folder)
    return module
