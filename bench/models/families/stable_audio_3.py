"""Stable Audio 3 (arXiv 2605.17991): rectified flow over latents of 44.1 kHz stereo, T5Gemma and the length in.

The configurations of random weights: of the medium size the defaults of diffusers' classes, of which the autoencoder's
documentation says how its SAME-L departs from them; of the small ones what github.com/Stability-AI/stable-audio-3 (read
at 636f906, optimized/mlx/models/defs/dit_mlx.py) has for their transformer, and SAME-S, the autoencoder's defaults; and
T5Gemma's base size.
"""

from __future__ import annotations

from typing import Any

from admbench.bench.models.families.base import PublishedModel, converted
from admbench.bench.models.families.pipeline import Parts, PipelineFamily

SMALL: dict[str, Any] = {"embed_dim": 1024, "depth": 20, "num_heads": 16, "use_differential_attention": False}
"""The small transformer's departures from the medium one, whose attention is differential."""
SAME_L: dict[str, Any] = {
    "encoder_channels": 256,
    "encoder_transformer_depths": (12,),
    "decoder_sinusoidal_blocks": (8,),
}
T5GEMMA_BASE: dict[str, Any] = {
    "vocab_size": 256_000,
    "hidden_size": 768,
    "intermediate_size": 2048,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "num_key_value_heads": 12,
    "head_dim": 64,
}


def random_parts(*, distilled: bool, small: bool = False) -> Parts:
    """Make the parts of one size: transformer, T5Gemma's encoder, embedding of the length, SAME-L or SAME-S.

    Args:
        distilled: to 8 steps, with new noise at each.
        small: that of 20 layers, and not the medium one.
    """
    import diffusers
    from transformers import T5GemmaConfig, T5GemmaEncoderModel

    from admbench.bench.models.networks.untrained import ByteTokenizer
    from admbench.bench.models.pipelines.stable_audio_3 import CAPTION_TOKENS

    text = T5GemmaConfig(encoder=T5GEMMA_BASE, decoder=T5GEMMA_BASE, is_encoder_decoder=False)
    return {
        "backbone": diffusers.StableAudio3DiTModel(**SMALL if small else {}),
        "text_encoder": T5GemmaEncoderModel(text),
        "duration_embedder": diffusers.StableAudio3DurationEmbedder(),
        "tokenizer": ByteTokenizer(CAPTION_TOKENS, pad=0),
        "vae": diffusers.AutoencoderSAME(**{} if small else SAME_L),
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(num_train_timesteps=1, stochastic_sampling=distilled),
    }


STABLE_AUDIO_3 = PipelineFamily(
    pipeline="StableAudio3Pipeline",
    saw="a Stable Audio 3 pipeline directory",
    backbone="transformer",
    networks={
        "backbone": "diffusers:StableAudio3DiTModel",
        "text_encoder": "transformers:T5GemmaEncoderModel",
        "duration_embedder": "diffusers:StableAudio3DurationEmbedder",
        "vae": "diffusers:AutoencoderSAME",
    },
    default_steps=8,  # of a distilled checkpoint; its scheduler says whether it is one
    default_guidance=1.0,
    assemble="admbench.bench.models.pipelines.stable_audio_3:assemble",
    random_parts=random_parts,
)

MEDIUM = PublishedModel(
    name="stable-audio-3-medium",
    family=STABLE_AUDIO_3,
    repository="stabilityai/stable-audio-3-medium",
    license="Stability AI Community License",
    summary=(
        "Stable Audio 3 medium (backbone 1,453 M), flow matching in 8 steps, 44.1 kHz, stereo; converted from"
        " stabilityai/stable-audio-3-medium; weights Stability AI Community License"
    ),
    elsewhere=converted("stabilityai/stable-audio-3-medium"),
    variant={"distilled": True},
)
MEDIUM_BASE = PublishedModel(
    name="stable-audio-3-medium-base",
    family=STABLE_AUDIO_3,
    repository="stabilityai/stable-audio-3-medium-base",
    license="Stability AI Community License",
    summary=(
        "Stable Audio 3 medium base (backbone 1,453 M), flow matching in 100 steps, 44.1 kHz, stereo; converted"
        " from stabilityai/stable-audio-3-medium-base; weights Stability AI Community License"
    ),
    elsewhere=converted("stabilityai/stable-audio-3-medium-base"),
    variant={"distilled": False},
)
SMALL_MUSIC = PublishedModel(
    name="stable-audio-3-small-music",
    family=STABLE_AUDIO_3,
    repository="stabilityai/stable-audio-3-small-music",
    license="Stability AI Community License",
    summary=(
        "Stable Audio 3 small music (backbone 459 M), music, flow matching in 8 steps; converted"
        " from stabilityai/stable-audio-3-small-music; weights Stability AI Community License"
    ),
    elsewhere=converted("stabilityai/stable-audio-3-small-music"),
    variant={"distilled": True, "small": True},
)
SMALL_SFX = PublishedModel(
    name="stable-audio-3-small-sfx",
    family=STABLE_AUDIO_3,
    repository="stabilityai/stable-audio-3-small-sfx",
    license="Stability AI Community License",
    summary=(
        "Stable Audio 3 small sfx (backbone 459 M), sound effects, flow matching in 8 steps; converted"
        " from stabilityai/stable-audio-3-small-sfx; weights Stability AI Community License"
    ),
    elsewhere=converted("stabilityai/stable-audio-3-small-sfx"),
    variant={"distilled": True, "small": True},
)
SMALL_MUSIC_BASE = PublishedModel(
    name="stable-audio-3-small-music-base",
    family=STABLE_AUDIO_3,
    repository="stabilityai/stable-audio-3-small-music-base",
    license="Stability AI Community License",
    summary=(
        "Stable Audio 3 small music base (backbone 459 M), music, flow matching in 100 steps; converted"
        " from stabilityai/stable-audio-3-small-music-base; weights Stability AI Community License"
    ),
    elsewhere=converted("stabilityai/stable-audio-3-small-music-base"),
    variant={"distilled": False, "small": True},
)
SMALL_SFX_BASE = PublishedModel(
    name="stable-audio-3-small-sfx-base",
    family=STABLE_AUDIO_3,
    repository="stabilityai/stable-audio-3-small-sfx-base",
    license="Stability AI Community License",
    summary=(
        "Stable Audio 3 small sfx base (backbone 459 M), sound effects, flow matching in 100 steps; converted"
        " from stabilityai/stable-audio-3-small-sfx-base; weights Stability AI Community License"
    ),
    elsewhere=converted("stabilityai/stable-audio-3-small-sfx-base"),
    variant={"distilled": False, "small": True},
)
