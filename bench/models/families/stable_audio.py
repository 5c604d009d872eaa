"""Stable Audio Open (Evans et al. 2024, arXiv 2407.14358): a diffusion transformer over latents of 44.1 kHz stereo.

The configurations of random weights are the defaults of diffusers' classes, which are this model's; T5-base's and the
sampler's constants are those of the paper's repository as diffusers' conversion script names them.
"""

from __future__ import annotations

from typing import Any

from admbench.bench.models.families.base import PublishedModel
from admbench.bench.models.families.pipeline import Parts, PipelineFamily

T5_BASE: dict[str, Any] = {
    "vocab_size": 32_128,
    "d_model": 768,
    "d_kv": 64,
    "d_ff": 3072,
    "num_layers": 12,
    "num_heads": 12,
}
LONGEST_TOLD = 512
"""Seconds: the largest number that the conditioning on time tells apart."""


def random_parts() -> Parts:
    """Make the published parts with random weights: transformer, T5-base's encoder, projections, autoencoder."""
    import diffusers
    from transformers import T5Config, T5EncoderModel

    from admbench.bench.models.networks.untrained import ByteTokenizer
    from admbench.bench.models.pipelines.parts import scheduler_class
    from admbench.bench.models.pipelines.stable_audio import CAPTION_TOKENS

    return {
        "backbone": diffusers.StableAudioDiTModel(),
        "text_encoder": T5EncoderModel(T5Config(**T5_BASE)),
        "projection_model": diffusers.StableAudioProjectionModel(768, 768, 0, LONGEST_TOLD),
        "tokenizer": ByteTokenizer(CAPTION_TOKENS, pad=0),
        "vae": diffusers.AutoencoderOobleck(),
        "scheduler": scheduler_class("CosineDPMSolverMultistepScheduler")(),
    }


STABLE_AUDIO = PipelineFamily(
    pipeline="StableAudioPipeline",
    saw="a Stable Audio pipeline directory",
    backbone="transformer",
    networks={
        "backbone": "diffusers:StableAudioDiTModel",
        "text_encoder": "transformers:T5EncoderModel",
        "projection_model": "diffusers:StableAudioProjectionModel",
        "vae": "diffusers:AutoencoderOobleck",
    },
    default_steps=100,
    default_guidance=7.0,
    assemble="admbench.bench.models.pipelines.stable_audio:assemble",
    random_parts=random_parts,
)

OPEN = PublishedModel(
    name="stable-audio-open-1.0",
    family=STABLE_AUDIO,
    repository="stabilityai/stable-audio-open-1.0",
    license="Stability AI Community License",
    summary=(
        "Stable Audio Open 1.0 (backbone 1,057 M), stabilityai/stable-audio-open-1.0 (gated), 44.1 kHz, stereo;"
        " weights Stability AI Community License"
    ),
    requires=("torchsde",),
    # beside the pipeline the repository holds all weights once more in the authors' own format
    files=STABLE_AUDIO.holds,
)
