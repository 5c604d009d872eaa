"""ACE-Step 1.5 (arXiv 2602.00744): flow matching over latents of 48 kHz stereo, made for music; Qwen3 in.

The configurations of random weights are the defaults of diffusers' classes, which are those of the model that is not
called XL, and Qwen3-Embedding-0.6B's.
"""

from __future__ import annotations

from typing import Any

from admbench.bench.models.components import ComponentCall
from admbench.bench.models.families.base import PublishedModel, converted
from admbench.bench.models.families.pipeline import Parts, PipelineFamily

QWEN3_EMBEDDING: dict[str, Any] = {
    "vocab_size": 151_669,
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
}
OOBLECK: dict[str, Any] = {"downsampling_ratios": [2, 4, 4, 6, 10], "sampling_rate": 48_000}


def random_parts(*, turbo: bool) -> Parts:
    """Make the parts of the size that is not called XL: transformer, Qwen3-Embedding-0.6B, conditions, autoencoder.

    Args:
        turbo: whether guidance is in the weights.
    """
    import diffusers
    from transformers import Qwen3Config, Qwen3Model

    from admbench.bench.models.networks.untrained import ByteTokenizer
    from admbench.bench.models.pipelines.ace_step import CAPTION_TOKENS

    return {
        "backbone": diffusers.AceStepTransformer1DModel(is_turbo=turbo),
        "text_encoder": Qwen3Model(Qwen3Config(**QWEN3_EMBEDDING)),
        "condition_encoder": diffusers.AceStepConditionEncoder(),
        "tokenizer": ByteTokenizer(CAPTION_TOKENS, pad=0),
        "vae": diffusers.AutoencoderOobleck(**OOBLECK),
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(num_train_timesteps=1, shift=1.0),
    }


ACE_STEP = PipelineFamily(
    pipeline="AceStepPipeline",
    saw="an ACE-Step 1.5 pipeline directory",
    backbone="transformer",
    networks={
        "backbone": "diffusers:AceStepTransformer1DModel",
        "text_encoder": "transformers:Qwen3Model",
        "condition_encoder": "diffusers:AceStepConditionEncoder",
        "vae": "diffusers:AutoencoderOobleck",
    },
    calls={"condition_encoder": ComponentCall(row_numbers="refer_audio_order_mask")},
    default_steps=8,
    default_guidance=7.0,
    assemble="admbench.bench.models.pipelines.ace_step:assemble",
    random_parts=random_parts,
)

BASE = PublishedModel(
    name="ace-step-1.5-base",
    family=ACE_STEP,
    repository="ACE-Step/acestep-v15-base",
    license="MIT",
    summary=(
        "ACE-Step 1.5 base (backbone 1,575 M), music, flow matching with adaptive projected guidance, 48 kHz"
        " stereo; converted from ACE-Step/acestep-v15-base; weights MIT"
    ),
    elsewhere=converted("ACE-Step/acestep-v15-base"),
    variant={"turbo": False},
)
TURBO = PublishedModel(
    name="ace-step-1.5-turbo",
    family=ACE_STEP,
    repository="ACE-Step/Ace-Step1.5",
    license="MIT",
    summary=(
        "ACE-Step 1.5 turbo (backbone 1,575 M), music, flow matching in 8 steps without guidance, 48 kHz"
        " stereo; converted from ACE-Step/Ace-Step1.5; weights MIT"
    ),
    elsewhere=converted("ACE-Step/Ace-Step1.5"),
    variant={"turbo": True},
)
