"""MusicLDM (Chen et al. 2023, arXiv 2308.01546): AudioLDM's networks under a text embedding of the whole CLAP model.

The configurations of random weights are AudioLDM's small ones and those of diffusers' conversion script.
"""

from __future__ import annotations

from typing import Any

from admbench.bench.models.components import ComponentCall
from admbench.bench.models.families.base import PublishedModel
from admbench.bench.models.families.pipeline import Parts, PipelineFamily
from admbench.bench.models.networks import published_sizes as sizes
from admbench.bench.models.samplers import SAMPLERS

CHANNELS = 128
LATENT_FRAMES = 256
"""Of the default clip: 10.24 s."""


def random_parts() -> Parts:
    """Make the published parts with random weights: AudioLDM's small U-Net under CLAP's text embedding."""
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from transformers import ClapConfig, ClapModel, SpeechT5HifiGan, SpeechT5HifiGanConfig

    from admbench.bench.models.networks.untrained import ByteTokenizer

    unet: Any = UNet2DConditionModel(**sizes.audioldm_unet(CHANNELS))
    unet.register_to_config(sample_size=LATENT_FRAMES)
    return {
        "backbone": unet,
        "text_encoder": ClapModel(ClapConfig(audio_config=sizes.CLAP_AUDIO)),
        "tokenizer": ByteTokenizer(sizes.CLAP_TOKENS, pad=1),
        "vae": AutoencoderKL(**sizes.AUDIOLDM_VAE),
        "vocoder": SpeechT5HifiGan(SpeechT5HifiGanConfig(**sizes.HIFIGAN)),
        "scheduler": DDIMScheduler(**sizes.AUDIOLDM_SCHEDULER),
    }


MUSICLDM = PipelineFamily(
    pipeline="MusicLDMPipeline",
    saw="a MusicLDM pipeline directory",
    backbone="unet",
    networks={
        "backbone": "diffusers:UNet2DConditionModel",
        "text_encoder": "transformers:ClapModel",
        "vae": "diffusers:AutoencoderKL",
        "vocoder": "transformers:SpeechT5HifiGan",
    },
    calls={"text_encoder": ComponentCall("get_text_features")},
    default_steps=200,
    default_guidance=2.0,
    samplers=SAMPLERS,
    assemble="admbench.bench.models.pipelines.musicldm:assemble",
    random_parts=random_parts,
)

PUBLISHED = PublishedModel(
    name="musicldm",
    family=MUSICLDM,
    repository="ucsd-reach/musicldm",
    license="CC-BY-NC-SA-4.0",
    summary="MusicLDM (backbone 185 M), ucsd-reach/musicldm, music; weights CC-BY-NC-SA-4.0",
)
