"""Models whose latents are small log-mel spectrograms: what follows from their autoencoder and their vocoder."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor, nn
from transformers import SpeechT5HifiGan

from admbench.bench.models.base import ModelCard
from admbench.bench.models.mel import MelSpec, griffin_lim
from admbench.errors import CheckpointError


class MelDecoder:
    """Scaled latents -> log-mel spectrogram -> waveform, through the vocoder or Griffin-Lim, as `decoder` names.

    Griffin-Lim needs no vocoder.
    """

    def __init__(
        self, vae: AutoencoderKL, vocoder: nn.Module | None, mel: MelSpec, decoder: str, transposed: bool
    ) -> None:
        self.vae, self.vocoder, self.mel, self.decoder, self.transposed = vae, vocoder, mel, decoder, transposed

    def spectrograms(self, latents: Tensor) -> Tensor:
        """Normalised log-mel spectrograms (n, frames, bands)."""
        upright = latents.transpose(-1, -2) if self.transposed else latents
        decoded: Tensor = self.vae.decode(upright / self.vae.config["scaling_factor"]).sample[:, 0]
        return decoded

    def __call__(self, latents: Tensor) -> Tensor:
        """Waveforms (n, samples)."""
        return self.waveforms(self.spectrograms(latents))

    def waveforms(self, spectrograms: Tensor) -> Tensor:
        """Waveforms (n, samples) of log-mel spectrograms."""
        if self.decoder == "griffin-lim":
            return griffin_lim(spectrograms, self.mel)
        if self.vocoder is None:
            raise ValueError(f"decoder {self.decoder}: there is no vocoder")
        made: Tensor = self.vocoder(spectrograms)
        return made[:, : spectrograms.shape[1] * self.mel.hop]


@dataclass(frozen=True)
class MelLatents:
    """An autoencoder of log-mel spectrograms, and the vocoder that makes them heard."""

    vae: AutoencoderKL
    vocoder: SpeechT5HifiGan

    @property
    def mel(self) -> MelSpec:
        """The spectrograms' scale in time and frequency, which is the vocoder's."""
        config = self.vocoder.config
        return MelSpec(sample_rate=config.sampling_rate, hop=prod(config.upsample_rates), n_mels=config.model_in_dim)

    @property
    def shrink(self) -> int:
        """How many times smaller a latent is than its spectrogram, on either axis."""
        return int(2 ** (len(self.vae.config["block_out_channels"]) - 1))

    @property
    def latent_rate(self) -> float:
        """Latent frames a second."""
        return self.mel.sample_rate / self.mel.hop / self.shrink

    def default_seconds(self, unet: Any, name: str) -> float:
        """Length of the clip that a pipeline makes unless another is asked for.

        Raises:
            CheckpointError: the U-Net's configuration has no number of latent frames.
        """
        frames = unet.config["sample_size"]
        if not isinstance(frames, int):
            raise CheckpointError(
                f"{name}: unet/config.json: sample_size is {frames}; expected a number of latent frames"
            )
        return float(frames / self.latent_rate)

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

    def decoder(self) -> MelDecoder:
        """Latents to waveforms."""
        return MelDecoder(self.vae, self.vocoder, self.mel, "vocoder", transposed=False)
