"""AudioLDM 2 (Liu et al. 2023, arXiv 2308.05734): CLAP and FLAN-T5 in, GPT-2 states and T5 states to cross attention.

The configurations of random weights are those of github.com/haoheliu/AudioLDM2 (audioldm2/utils.py), under the names
that diffusers' conversion gives them; 8 attention heads at every level are that conversion's default.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from admbench.bench.models.components import ComponentCall
from admbench.bench.models.families.base import PublishedModel
from admbench.bench.models.families.musicldm import LATENT_FRAMES
from admbench.bench.models.families.pipeline import Parts, PipelineFamily
from admbench.bench.models.networks import published_sizes as sizes
from admbench.bench.models.samplers import SAMPLERS

UNET: dict[str, Any] = {
    "sample_size": LATENT_FRAMES,
    "in_channels": 8,
    "out_channels": 8,
    "layers_per_block": 2,
    "block_out_channels": (128, 256, 384, 640),
    "down_block_types": ("DownBlock2D", *("CrossAttnDownBlock2D",) * 3),
    "up_block_types": (*("CrossAttnUpBlock2D",) * 3, "UpBlock2D"),
}
BASE: dict[str, Any] = {"cross_attention_dim": [[None, 768, 1024]] * 4, "transformer_layers_per_block": 1}
LARGE: dict[str, Any] = {"cross_attention_dim": [[None, 768, 1024, None]] * 4, "transformer_layers_per_block": 2}
"""Attention at each level: of the latent to itself (None), to GPT-2's states, to T5's; large: to itself once more."""
SCALING_FACTOR = 0.41109
GPT2: dict[str, Any] = {"max_new_tokens": 8}


def random_parts(*, attention: Mapping[str, Any]) -> Parts:
    """Make the published parts with random weights: U-Net, CLAP, FLAN-T5-large's encoder, GPT-2, autoencoder, HiFi-GAN.

    Args:
        attention: `BASE` or `LARGE`.
    """
    import diffusers
    import transformers

    from admbench.bench.models.networks.untrained import ByteTokenizer
    from admbench.bench.models.pipelines.audioldm2 import CAPTION_TOKENS

    return {
        "backbone": diffusers.AudioLDM2UNet2DConditionModel(**UNET, **attention),
        "text_encoder": transformers.ClapModel(transformers.ClapConfig(audio_config=sizes.CLAP_AUDIO)),
        "text_encoder_2": transformers.T5EncoderModel(transformers.T5Config(**sizes.FLAN_T5_LARGE)),
        "projection_model": diffusers.AudioLDM2ProjectionModel(512, 1024, 768),
        "language_model": transformers.GPT2Model(transformers.GPT2Config(**GPT2)),
        "tokenizer": ByteTokenizer(sizes.CLAP_TOKENS, pad=1),
        "tokenizer_2": ByteTokenizer(CAPTION_TOKENS, pad=0),
        "vae": diffusers.AutoencoderKL(**sizes.AUDIOLDM_VAE | {"scaling_factor": SCALING_FACTOR}),
        "vocoder": transformers.SpeechT5HifiGan(transformers.SpeechT5HifiGanConfig(**sizes.HIFIGAN)),
        "scheduler": diffusers.DDIMScheduler(**sizes.AUDIOLDM_SCHEDULER),
    }


AUDIOLDM2 = PipelineFamily(
    pipeline="AudioLDM2Pipeline",
    saw="an AudioLDM 2 pipeline directory",
    backbone="unet",
    networks={
        "backbone": "diffusers:AudioLDM2UNet2DConditionModel",
        "text_encoder": "transformers:ClapModel",
        "text_encoder_2": "transformers:T5EncoderModel",
        "projection_model": "diffusers:AudioLDM2ProjectionModel",
        "language_model": "transformers:GPT2Model",
        "vae": "diffusers:AutoencoderKL",
        "vocoder": "transformers:SpeechT5HifiGan",
    },
    tokenizers=("tokenizer", "tokenizer_2"),
    calls={"text_encoder": ComponentCall("get_text_features")},
    default_steps=200,
    default_guidance=3.5,
    samplers=SAMPLERS,
    assemble="admbench.bench.models.pipelines.audioldm2:assemble",
    random_parts=random_parts,
)

SOUNDS = PublishedModel(
    name="audioldm2",
    family=AUDIOLDM2,
    repository="cvssp/audioldm2",
    license="CC-BY-NC-SA-4.0",
    summary="AudioLDM 2 (backbone 347 M), cvssp/audioldm2, sounds; weights CC-BY-NC-SA-4.0",
    variant={"attention": BASE},
)
SOUNDS_LARGE = PublishedModel(
    name="audioldm2-large",
    family=AUDIOLDM2,
    repository="cvssp/audioldm2-large",
    license="CC-BY-NC-SA-4.0",
    summary="AudioLDM 2 large (backbone 718 M), cvssp/audioldm2-large, sounds; weights CC-BY-NC-SA-4.0",
    variant={"attention": LARGE},
)
MUSIC = PublishedModel(
    name="audioldm2-music",
    family=AUDIOLDM2,
    repository="cvssp/audioldm2-music",
    license="CC-BY-NC-SA-4.0",
    summary="AudioLDM 2 music (backbone 347 M), cvssp/audioldm2-music, music; weights CC-BY-NC-SA-4.0",
    variant={"attention": BASE},
)
