"""The embedded diffusion transformer: Stable Audio's network and conditioning over the latents of a mel autoencoder.

Its autoencoder makes pictures, (channels, frames, bands). The transformer is told them as Stable Audio's is told sound,
as one vector a frame: the bands of each channel side by side. Time goes as in the rectified flows of that family
(Stable Audio Open Small, Novack et al. 2025, arXiv 2505.08175): from 1, noise, to 0, and the network is told it as it
is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import diffusers
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from torch import Tensor
from transformers import T5EncoderModel

from admbench.bench.models.base import AudioDiffusionModel
from admbench.bench.models.checkpoints import shipped
from admbench.bench.models.checkpoints.components import load_component
from admbench.bench.models.checkpoints.files import WEIGHTS
from admbench.bench.models.mel import MelSpec
from admbench.bench.models.networks.low_rank import UPDATE_FILE, apply_update
from admbench.bench.models.pipelines.embedded import (
    RectifiedFlow,
    load_backbone,
    load_tokenizer,
    load_vocoder,
    shipped_card,
)
from admbench.bench.models.pipelines.mel_latents import MelDecoder
from admbench.bench.models.pipelines.stable_audio import StableAudioModel
from admbench.bench.models.pipelines.stable_audio_open_small import noise_levels
from admbench.bench.models.sampling import Sampling
from admbench.files import read_json

TIME_UNITS = 1000
"""Schedulers of flow matching count time in these; the transformer is told it from 1 to 0."""


def fold(pictures: Tensor) -> Tensor:
    """Latents of pictures (n, channels, frames, bands) to vectors a frame (n, channels * bands, frames)."""
    return pictures.transpose(2, 3).flatten(1, 2)


def unfold(folded: Tensor, channels: int) -> Tensor:
    """What `fold` makes, (n, channels * bands, frames), back to (n, channels, frames, bands)."""
    return folded.unflatten(1, (channels, -1)).transpose(2, 3)


class FoldedMelDecoder(MelDecoder):
    """Folded, scaled latents -> log-mel spectrogram -> waveform."""

    def spectrograms(self, latents: Tensor) -> Tensor:
        """Of (n, channels * bands, frames): normalised log-mel spectrograms (n, frames, bands)."""
        return super().spectrograms(unfold(latents, self.vae.config["latent_channels"]))


class StableAudioFlow(RectifiedFlow, StableAudioModel):
    """Stable Audio's conditioning and network, denoised by equal steps of Euler's method."""

    def set_seconds(self, seconds: float) -> None:
        """Raises UsageError for another length than its own: it was trained on clips of that alone."""
        AudioDiffusionModel.set_seconds(self, seconds)

    def _predict(self, sample: Tensor, timestep: Tensor, conditioning: dict[str, Tensor]) -> Tensor:
        return super()._predict(sample, timestep / TIME_UNITS, conditioning)


class StableAudioPingPong(StableAudioFlow):
    """The same, denoised as Stable Audio Open Small is: each step predicts the clip and puts new noise on it."""

    def _sampling(self, steps: int, generators: Sequence[torch.Generator]) -> Sampling:
        return Sampling(self._scheduler, steps, generators, noise_levels(steps))


def load(name: str, *, student: bool, defaults: dict[str, Any], random_weights: bool) -> AudioDiffusionModel:
    """Load the shipped pipeline directory in float32.

    Args:
        name: of the model.
        student: whether its backbone is an update of low rank to the one in the folder, of few steps.
        defaults: `default_steps` and `default_guidance` of the card.
        random_weights: draw the backbone's from a fixed seed.

    Raises:
        CheckpointError: a file is missing or not what was shipped; names it.
    """
    shipped.verify(name)
    facts = read_json(shipped.folder_of(name) / "admbench.json")
    vae = load_component(AutoencoderKL, shipped.place(name, "vae"), WEIGHTS["diffusers"])
    backbone = load_backbone(
        diffusers.StableAudioDiTModel, shipped.place(name, "transformer"), random_weights=random_weights
    )
    if student and not random_weights:
        apply_update(backbone, shipped.folder_of(name) / UPDATE_FILE)
    parts: dict[str, Any] = {
        "backbone": backbone,
        "text_encoder": load_component(T5EncoderModel, shipped.place(name, "text_encoder"), WEIGHTS["transformers"]),
        "projection_model": load_component(
            diffusers.StableAudioProjectionModel, shipped.place(name, "projection_model"), WEIGHTS["diffusers"]
        ),
        "vae": vae,
        "tokenizer": load_tokenizer(name),
        "scheduler": FlowMatchEulerDiscreteScheduler.from_pretrained(
            shipped.place(name, "scheduler"), local_files_only=True
        ),
    }
    card = shipped_card(name, facts, defaults, random_weights=random_weights)
    vocoder = load_vocoder(name, facts["decoder"])
    if vocoder is not None:
        parts["vocoder"] = vocoder
    decoder = FoldedMelDecoder(vae, vocoder, MelSpec(**facts["mel"]), facts["decoder"], transposed=False)
    return (StableAudioPingPong if student else StableAudioFlow)(parts, card, decoder)
