"""The ADMs that come with the package: small, truly trained, each with the conditioning route of its family."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from torch import Tensor, nn
from transformers import (
    ClapTextModelWithProjection,
    PreTrainedTokenizerFast,
    SpeechT5HifiGan,
    T5EncoderModel,
)

from admbench.bench.models.base import AudioDiffusionModel, ModelCard
from admbench.bench.models.checkpoints import shipped
from admbench.bench.models.checkpoints.components import load_component
from admbench.bench.models.checkpoints.layouts import AUDIOLDM_COMPONENTS
from admbench.bench.models.conditioning import ClapEmbedding, Conditioner, TokenStates
from admbench.bench.models.mel import MelSpec, griffin_lim
from admbench.bench.models.networks.clap_bert import ClapBertTextModel
from admbench.bench.models.networks.untrained import random_sha256, seeded
from admbench.bench.models.sampling import Sampling
from admbench.files import read_json


class EmbeddedModel:
    """Plug-in of one embedded model; subclasses name it."""

    name: ClassVar[str]
    text_class: ClassVar[Any]
    scheduler_class: ClassVar[Any] = DDIMScheduler
    model_class: ClassVar[type[AudioDiffusionModel]] = AudioDiffusionModel
    default_steps: ClassVar[int] = 25
    default_guidance: ClassVar[float] = 3.0

    @classmethod
    def fingerprint(cls) -> str:
        """Hash of the shipped weights."""
        return shipped.fingerprint(cls.name)

    @classmethod
    def conditioner(cls, tokenizer: Any, encoder: nn.Module) -> Conditioner:
        """The family's route from captions to the backbone."""
        return TokenStates(tokenizer, encoder)

    @classmethod
    def load(cls, *, random_weights: bool = False) -> AudioDiffusionModel:
        """Loads the shipped pipeline directory in float32.

        Raises CheckpointError, naming the file, if one is missing or not what was shipped.
        """
        shipped.verify(cls.name)
        folder = shipped.folder_of(cls.name)
        facts = read_json(folder / "admbench.json")
        mel = MelSpec(**facts["mel"])
        stems = AUDIOLDM_COMPONENTS
        backbone = load_component(UNet2DConditionModel, folder / "unet", stems["unet"])
        if random_weights:
            with seeded():
                backbone = UNet2DConditionModel.from_config(backbone.config)
        vae = load_component(AutoencoderKL, folder / "vae", stems["vae"])
        encoder = load_component(cls.text_class, folder / "text_encoder", stems["text_encoder"])
        vocoder = load_component(SpeechT5HifiGan, folder / "vocoder", stems["vocoder"])
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder / "tokenizer", local_files_only=True)
        card = ModelCard(
            name=cls.name,
            source="embedded",
            revision=facts["version"],
            weights_sha256=random_sha256(cls.name, cls.fingerprint()) if random_weights else cls.fingerprint(),
            license="Apache-2.0",
            sample_rate=mel.sample_rate,
            seconds=facts["seconds"],
            latent_shape=tuple(facts["latent_shape"]),
            random_weights=random_weights,
            default_steps=cls.default_steps,
            default_guidance=cls.default_guidance,
        )
        parts = {"backbone": backbone, "text_encoder": encoder, "vae": vae}
        if facts["decoder"] != "griffin-lim":
            parts["vocoder"] = vocoder
        decoder = PictureDecoder(vae, vocoder, mel, facts["decoder"], facts["transposed"])
        scheduler = cls.scheduler_class.from_pretrained(folder / "scheduler", local_files_only=True)
        return cls.model_class(card, parts, cls.conditioner(tokenizer, encoder), scheduler, decoder)


class PictureDecoder:
    """Scaled latents -> log-mel picture -> waveform, through the vocoder or Griffin-Lim, whichever `decoder` names."""

    def __init__(self, vae: AutoencoderKL, vocoder: nn.Module, mel: MelSpec, decoder: str, transposed: bool) -> None:
        self.vae, self.vocoder, self.mel, self.decoder, self.transposed = vae, vocoder, mel, decoder, transposed

    def pictures(self, latents: Tensor) -> Tensor:
        """Normalised log-mel pictures (n, frames, bands)."""
        upright = latents.transpose(-1, -2) if self.transposed else latents
        decoded: Tensor = self.vae.decode(upright / self.vae.config["scaling_factor"]).sample[:, 0]
        return decoded

    def __call__(self, latents: Tensor) -> Tensor:
        """Waveforms (n, samples)."""
        return self.waveforms(self.pictures(latents))

    def waveforms(self, pictures: Tensor) -> Tensor:
        """Waveforms (n, samples) of log-mel pictures."""
        if self.decoder == "griffin-lim":
            return griffin_lim(pictures, self.mel)
        made: Tensor = self.vocoder(pictures)
        return made[:, : pictures.shape[1] * self.mel.hop]


class RectifiedFlow(AudioDiffusionModel):
    """Goes from noise, at time 1, to the clip, at 0, in equal steps of Euler's method."""

    def _sampling(self, steps: int, generators: Sequence[torch.Generator]) -> Sampling:
        # left to itself the scheduler goes to time 1/1000 in one step less, and spends the last on that
        return Sampling(self._scheduler, steps, generators, [1 - step / steps for step in range(steps)])


class TinyAudioLDM(EmbeddedModel):
    """AudioLDM in small: CLAP text embedding as class embedding, epsilon prediction, 64 mel bands."""

    summary = "AudioLDM in small (5.5 M): CLAP text embedding, epsilon prediction, 64 mel bands"
    requires = ()
    name = "tiny-audioldm"
    text_class = ClapTextModelWithProjection

    @classmethod
    def conditioner(cls, tokenizer: Any, encoder: nn.Module) -> Conditioner:
        """CLAP's one vector, instead of a sequence."""
        return ClapEmbedding(tokenizer, encoder)


class TinyTango(EmbeddedModel):
    """TANGO in small: T5 encoder with its mask to cross attention, v-prediction, the betas of Stable Diffusion 2.1."""

    summary = "TANGO in small (4.4 M): T5 encoder, cross attention with mask, v-prediction"
    requires = ()
    name = "tiny-tango"
    text_class = T5EncoderModel


class TinyMakeAnAudio(EmbeddedModel):
    """Make-An-Audio in small: CLAP's projected BERT tokens to cross attention, 80 mel bands, latents mel x time."""

    summary = "Make-An-Audio in small (4.3 M): CLAP-BERT token sequence, cross attention, 80 mel bands"
    requires = ()
    name = "tiny-make-an-audio"
    text_class = ClapBertTextModel


class TinyFlow(EmbeddedModel):
    """A rectified flow for few steps (Liu et al. 2022, InstaFlow), distilled from tiny-tango, its guidance included."""

    summary = "rectified flow for 1, 2 or 4 steps (4.4 M), distilled from tiny-tango, guidance included"
    requires = ()
    name = "tiny-flow"
    text_class = T5EncoderModel
    scheduler_class = FlowMatchEulerDiscreteScheduler
    model_class = RectifiedFlow
    default_steps = 4
    default_guidance = 1.0
