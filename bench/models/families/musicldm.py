"""MusicLDM (Chen et al. 2023, arXiv 2308.01546): AudioLDM's networks, told a text embedding of the whole CLAP model.

The configurations of random weights are AudioLDM's small ones and those of diffusers' conversion script, which makes
CLAP's audio half, that only ranks finished clips and is not used here, larger than its default.
"""

from __future__ import annotations

from typing import Any

from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from transformers import ClapConfig, ClapModel, SpeechT5HifiGan, SpeechT5HifiGanConfig

from admbench.bench.models.base import AudioDiffusionModel
from admbench.bench.models.conditioning import ClapTextFeatures, limit_roberta_tokens
from admbench.bench.models.families import audioldm
from admbench.bench.models.families.mel_latents import Pictures
from admbench.bench.models.families.pipelines import Parts, PipelineFamily, PublishedPipeline
from admbench.bench.models.networks.untrained import ByteTokenizer
from admbench.errors import CheckpointError

CHANNELS = 128
LATENT_FRAMES = 256
"""Of the default clip: 10.24 s."""
CLAP_AUDIO: dict[str, Any] = {"patch_embeds_hidden_size": 128, "hidden_size": 1024, "depths": [2, 2, 12, 2]}


def assemble(parts: Parts, known: dict[str, Any]) -> AudioDiffusionModel:
    """The model of the pipeline's parts."""
    clap = parts["text_encoder"]
    limit_roberta_tokens(parts["tokenizer"], clap.config.text_config)
    pictures = Pictures(parts["vae"], parts["vocoder"])
    card = pictures.card(parts["unet"], default_seconds(parts["unet"], pictures, known["name"]), known)
    conditioner = ClapTextFeatures(parts["tokenizer"], clap)
    return AudioDiffusionModel(card, FAMILY.modules(parts), conditioner, parts["scheduler"], pictures.decoder())


def default_seconds(unet: Any, pictures: Pictures, name: str) -> float:
    """Length of the clip that the pipeline makes unless told otherwise. Raises CheckpointError if it has none."""
    frames = unet.config["sample_size"]
    if not isinstance(frames, int):
        raise CheckpointError(f"{name}: unet/config.json: sample_size is {frames}; expected a number of latent frames")
    return float(frames / pictures.latent_rate)


def untrained_clap() -> ClapModel:
    """CLAP as the conversion scripts of AudioLDM 2 and of MusicLDM configure it."""
    return ClapModel(ClapConfig(audio_config=CLAP_AUDIO))


FAMILY = PipelineFamily(
    classes={
        "unet": UNet2DConditionModel,
        "text_encoder": ClapModel,
        "vae": AutoencoderKL,
        "vocoder": SpeechT5HifiGan,
    },
    default_steps=200,
    default_guidance=2.0,
    assemble=assemble,
)


class MusicLDM(PublishedPipeline):
    """MusicLDM."""

    summary = "MusicLDM (backbone 185 M), ucsd-reach/musicldm, music; weights CC-BY-NC-SA-4.0"
    requires = ()
    name = "musicldm"
    layout = "musicldm"

    @classmethod
    def parts(cls) -> Parts:
        """AudioLDM's small U-Net under CLAP's text embedding."""
        unet = audioldm.unet_of(CHANNELS)
        unet.register_to_config(sample_size=LATENT_FRAMES)
        return {
            "unet": unet,
            "text_encoder": untrained_clap(),
            "tokenizer": ByteTokenizer(audioldm.CAPTION_TOKENS, pad=1),
            "vae": AutoencoderKL(**audioldm.VAE),
            "vocoder": SpeechT5HifiGan(SpeechT5HifiGanConfig(**audioldm.VOCODER)),
            "scheduler": DDIMScheduler(**audioldm.SCHEDULER),
        }
