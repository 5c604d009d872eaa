"""AudioLDM (Liu et al. 2023, arXiv 2301.12503) from a pipeline directory as diffusers saves AudioLDMPipeline.

The configurations of random weights are those of github.com/haoheliu/AudioLDM (audioldm/utils.py), under the names that
diffusers' conversion gives them; 8 attention heads at every level are that conversion's default.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from transformers import (
    AutoTokenizer,
    ClapTextConfig,
    ClapTextModelWithProjection,
    SpeechT5HifiGan,
    SpeechT5HifiGanConfig,
)

from admbench.bench.models.base import AudioDiffusionModel
from admbench.bench.models.checkpoints import layouts
from admbench.bench.models.checkpoints.components import load_component
from admbench.bench.models.conditioning import ClapEmbedding, limit_roberta_tokens
from admbench.bench.models.families.mel_latents import Pictures
from admbench.bench.models.families.published_model import PublishedModel
from admbench.bench.models.networks.untrained import ByteTokenizer
from admbench.weights import require_vocabulary

SECONDS = 10.0
DEFAULT_STEPS = 200  # of the authors' own command line
DEFAULT_GUIDANCE = 2.5
CAPTION_TOKENS = 128  # of random weights; trained ones bring their tokenizer with its own limit

UNET: dict[str, Any] = {
    "in_channels": 8,
    "out_channels": 8,
    "layers_per_block": 2,
    "down_block_types": ("DownBlock2D", *("CrossAttnDownBlock2D",) * 3),
    "up_block_types": (*("CrossAttnUpBlock2D",) * 3, "UpBlock2D"),
    "class_embed_type": "simple_projection",
    "class_embeddings_concat": True,
    "projection_class_embeddings_input_dim": 512,
}
CHANNEL_MULTIPLES = (1, 2, 3, 5)
VAE: dict[str, Any] = {
    "in_channels": 1,
    "out_channels": 1,
    "latent_channels": 8,
    "layers_per_block": 2,
    "block_out_channels": (128, 256, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 3,
    "up_block_types": ("UpDecoderBlock2D",) * 3,
    "scaling_factor": 0.9227914214134216,
}
VOCODER: dict[str, Any] = {
    "model_in_dim": 64,
    "sampling_rate": 16_000,
    "upsample_initial_channel": 1024,
    "upsample_rates": [5, 4, 2, 2, 2],
    "upsample_kernel_sizes": [16, 16, 8, 4, 4],
    "resblock_kernel_sizes": [3, 7, 11],
    "resblock_dilation_sizes": [[1, 3, 5]] * 3,
    "normalize_before": False,
}
SCHEDULER: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.0015,
    "beta_end": 0.0195,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}


class AudioLDM(PublishedModel):
    """Plug-in of one published size; subclasses name it."""

    channels: ClassVar[int]
    """Of the U-Net's first level."""

    @classmethod
    def untrained(cls, known: dict[str, Any]) -> AudioDiffusionModel:
        """See the base class."""
        encoder = ClapTextModelWithProjection(ClapTextConfig())
        padding: Any = encoder.config.pad_token_id
        return _assemble(
            unet_of(cls.channels),
            AutoencoderKL(**VAE),
            encoder,
            SpeechT5HifiGan(SpeechT5HifiGanConfig(**VOCODER)),
            ByteTokenizer(CAPTION_TOKENS, padding),
            DDIMScheduler(**SCHEDULER),
            known,
        )


def load_directory(folder: Path, known: dict[str, Any]) -> AudioDiffusionModel:
    """Loads a pipeline directory in float32.

    Args:
        folder: with unet/, vae/, text_encoder/, tokenizer/, vocoder/, scheduler/.
        known: the fields of the model's card that do not follow from the parts.

    Raises:
        CheckpointError: a file is missing or damaged, or its tensors are not those of its configuration.
    """
    stems = layouts.AUDIOLDM_COMPONENTS
    unet = load_component(UNet2DConditionModel, folder / "unet", stems["unet"])
    vae = load_component(AutoencoderKL, folder / "vae", stems["vae"])
    encoder = load_component(ClapTextModelWithProjection, folder / "text_encoder", stems["text_encoder"])
    vocoder = load_component(SpeechT5HifiGan, folder / "vocoder", stems["vocoder"])
    tokenizer = AutoTokenizer.from_pretrained(require_vocabulary(folder / "tokenizer"), local_files_only=True)
    limit_roberta_tokens(tokenizer, encoder.config)
    scheduler = DDIMScheduler.from_pretrained(folder / "scheduler", local_files_only=True)
    return _assemble(unet, vae, encoder, vocoder, tokenizer, scheduler, known)


def unet_of(channels: int) -> UNet2DConditionModel:
    """The U-Net of one size; its "cross" attention, given no text states, attends to the latent itself."""
    widths = tuple(channels * multiple for multiple in CHANNEL_MULTIPLES)
    return UNet2DConditionModel(block_out_channels=widths, cross_attention_dim=widths, **UNET)


def _assemble(
    unet: UNet2DConditionModel,
    vae: AutoencoderKL,
    encoder: ClapTextModelWithProjection,
    vocoder: SpeechT5HifiGan,
    tokenizer: Any,
    scheduler: DDIMScheduler,
    known: dict[str, Any],
) -> AudioDiffusionModel:
    pictures = Pictures(vae, vocoder)
    card = pictures.card(unet, SECONDS, known | {"default_steps": DEFAULT_STEPS, "default_guidance": DEFAULT_GUIDANCE})
    parts: dict[str, torch.nn.Module] = {
        "backbone": unet,
        "text_encoder": encoder,
        "vae": vae,
        "vocoder": vocoder,
    }
    return AudioDiffusionModel(card, parts, ClapEmbedding(tokenizer, encoder), scheduler, pictures.decoder())


class AudioLDMSmallV2(AudioLDM):
    """AudioLDM-S-Full-v2."""

    summary = "AudioLDM-S-Full-v2 (backbone 185 M), cvssp/audioldm-s-full-v2; weights CC-BY-NC-SA-4.0"
    requires = ()
    name = "audioldm-s-full-v2"
    channels = 128


class AudioLDMSmall(AudioLDM):
    """AudioLDM-S-Full."""

    summary = "AudioLDM-S-Full (backbone 185 M), cvssp/audioldm; weights CC-BY-NC-SA-4.0"
    requires = ()
    name = "audioldm-s-full"
    channels = 128


class AudioLDMMedium(AudioLDM):
    """AudioLDM-M-Full."""

    summary = "AudioLDM-M-Full (backbone 416 M), cvssp/audioldm-m-full; weights CC-BY-NC-SA-4.0"
    requires = ()
    name = "audioldm-m-full"
    channels = 192


class AudioLDMLarge(AudioLDM):
    """AudioLDM-L-Full."""

    summary = "AudioLDM-L-Full (backbone 739 M), cvssp/audioldm-l-full; weights CC-BY-NC-SA-4.0"
    requires = ()
    name = "audioldm-l-full"
    channels = 256
