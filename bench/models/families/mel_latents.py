"""Models whose latents are small log-mel pictures: what follows from their autoencoder and their vocoder."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import nn
from transformers import SpeechT5HifiGan

from admbench.bench.models.base import ModelCard
from admbench.bench.models.families.embedded import PictureDecoder
from admbench.bench.models.mel import MelSpec


@dataclass(frozen=True)
class Pictures:
    """An autoencoder of log-mel pictures, and the vocoder that makes them heard."""

    vae: AutoencoderKL
    vocoder: SpeechT5HifiGan

    @property
    def mel(self) -> MelSpec:
        """The pictures' scale in time and frequency, which is the vocoder's."""
        config = self.vocoder.config
        return MelSpec(sample_rate=config.sampling_rate, hop=prod(config.upsample_rates), n_mels=config.model_in_dim)

    @property
    def shrink(self) -> int:
        """How many times smaller a latent is than its picture, on either axis."""
        return int(2 ** (len(self.vae.config["block_out_channels"]) - 1))

    @property
    def latent_rate(self) -> float:
        """Latent frames a second."""
        return self.mel.sample_rate / self.mel.hop / self.shrink

    def card(self, unet: nn.Module, seconds: float, known: dict[str, Any]) -> ModelCard:
        """The card of a model that makes clips of so many seconds, and of any other whole number of latent frames.

        Args:
            unet: the backbone.
            seconds: length of a clip unless another is asked for.
            known: the fields that do not follow from the parts.
        """
        config: Any = unet.config
        return ModelCard(
            sample_rate=self.mel.sample_rate,
            seconds=seconds,
            latent_shape=(config["in_channels"], round(seconds * self.latent_rate), self.mel.n_mels // self.shrink),
            latent_rate=self.latent_rate,
            **known,
        )

    def decoder(self) -> PictureDecoder:
        """Latents to waveforms."""
        return PictureDecoder(self.vae, self.vocoder, self.mel, "vocoder", transposed=False)
