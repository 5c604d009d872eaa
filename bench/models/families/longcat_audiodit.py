"""LongCat-AudioDiT: flow matching over latents of 24 kHz sound, UMT5 in; trained for speech.

The configurations of random weights are the defaults of diffusers' classes and UMT5's base size, to whose width they
belong; the strides of the autoencoder are those that make up its 2048 samples a frame.
"""

from __future__ import annotations

from typing import Any

from admbench.bench.models.families.base import PublishedModel
from admbench.bench.models.families.pipeline import Parts, PipelineFamily

UMT5_BASE: dict[str, Any] = {
    "vocab_size": 256_384,
    "d_model": 768,
    "d_kv": 64,
    "d_ff": 2048,
    "num_layers": 12,
    "num_heads": 12,
    "feed_forward_proj": "gated-gelu",
}
STRIDES = [2, 4, 4, 8, 8]


def random_parts() -> Parts:
    """Make the size of the defaults of diffusers' classes: transformer, UMT5-base's encoder, autoencoder."""
    import diffusers
    from transformers import UMT5Config, UMT5EncoderModel

    from admbench.bench.models.networks.untrained import ByteTokenizer
    from admbench.bench.models.pipelines.longcat_audiodit import CAPTION_TOKENS, scheduler

    return {
        "backbone": diffusers.LongCatAudioDiTTransformer(),
        "text_encoder": UMT5EncoderModel(UMT5Config(**UMT5_BASE)),
        "tokenizer": ByteTokenizer(CAPTION_TOKENS, pad=0),
        "vae": diffusers.LongCatAudioDiTVae(strides=STRIDES),
        "scheduler": scheduler(),
    }


LONGCAT_AUDIODIT = PipelineFamily(
    pipeline="LongCatAudioDiTPipeline",
    saw="a LongCat-AudioDiT pipeline directory",
    backbone="transformer",
    networks={
        "backbone": "diffusers:LongCatAudioDiTTransformer",
        "text_encoder": "transformers:UMT5EncoderModel",
        "vae": "diffusers:LongCatAudioDiTVae",
    },
    own_scheduler=False,
    default_steps=16,
    default_guidance=4.0,
    assemble="admbench.bench.models.pipelines.longcat_audiodit:assemble",
    random_parts=random_parts,
)

ONE_B = PublishedModel(
    name="longcat-audiodit-1b",
    family=LONGCAT_AUDIODIT,
    repository="ruixiangma/LongCat-AudioDiT-1B-Diffusers",
    license="MIT",
    summary=(
        "LongCat-AudioDiT 1B (backbone 982 M), ruixiangma/LongCat-AudioDiT-1B-Diffusers, speech, flow matching in 16"
        " steps, 24 kHz; weights MIT"
    ),
)
