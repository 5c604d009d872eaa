"""Configurations of networks that the published models of several families share; no torch.

AudioLDM's are those of github.com/haoheliu/AudioLDM (audioldm/utils.py), under the names that diffusers' conversion
gives them.
"""

from __future__ import annotations

from typing import Any

AUDIOLDM_UNET: dict[str, Any] = {
    "in_channels": 8,
    "out_channels": 8,
    "layers_per_block": 2,
    "down_block_types": ("DownBlock2D", *("CrossAttnDownBlock2D",) * 3),
    "up_block_types": (*("CrossAttnUpBlock2D",) * 3, "UpBlock2D"),
    "class_embed_type": "simple_projection",
    "class_embeddings_concat": True,
    "projection_class_embeddings_input_dim": 512,
}
"""AudioLDM's, without its widths; 8 attention heads at every level are the default of diffusers' conversion."""
CHANNEL_MULTIPLES = (1, 2, 3, 5)
"""Widths of AudioLDM's levels, in channels of its first."""
HEAD_CHANNELS = {128: 32, 192: 32, 256: 64}
"""Channels of an attention head in its authors' code, by the channels of the first level: S, M, L."""
AUDIOLDM_VAE: dict[str, Any] = {
    "in_channels": 1,
    "out_channels": 1,
    "latent_channels": 8,
    "layers_per_block": 2,
    "block_out_channels": (128, 256, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 3,
    "up_block_types": ("UpDecoderBlock2D",) * 3,
    "scaling_factor": 0.9227914214134216,
}
HIFIGAN: dict[str, Any] = {
    "model_in_dim": 64,
    "sampling_rate": 16_000,
    "upsample_initial_channel": 1024,
    "upsample_rates": [5, 4, 2, 2, 2],
    "upsample_kernel_sizes": [16, 16, 8, 4, 4],
    "resblock_kernel_sizes": [3, 7, 11],
    "resblock_dilation_sizes": [[1, 3, 5]] * 3,
    "normalize_before": False,
}
"""AudioLDM's vocoder."""
AUDIOLDM_SCHEDULER: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.0015,
    "beta_end": 0.0195,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}
CLAP_TOKENS = 128
"""Of a caption for CLAP with random weights; trained ones bring their tokenizer with its own limit."""
CLAP_AUDIO: dict[str, Any] = {"patch_embeds_hidden_size": 128, "hidden_size": 1024, "depths": [2, 2, 12, 2]}
"""CLAP's audio half, as diffusers' conversion scripts configure it: larger than the default, and not used here."""
FLAN_T5_LARGE: dict[str, Any] = {
    "vocab_size": 32_128,
    "d_model": 1024,
    "d_kv": 64,
    "d_ff": 2816,
    "num_layers": 24,
    "num_heads": 16,
    "feed_forward_proj": "gated-gelu",
}


def audioldm_unet(channels: int) -> dict[str, Any]:
    """Return the arguments of AudioLDM's U-Net of one size, given the channels of its first level.

    Its "cross" attention, given no text states, attends to the latent itself.
    """
    widths = tuple(channels * multiple for multiple in CHANNEL_MULTIPLES)
    return {"block_out_channels": widths, "cross_attention_dim": widths, **AUDIOLDM_UNET}


def attention_heads(widths: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return the attention heads of each level of AudioLDM's U-Net in its authors' code; None for no published size.

    The first level has no attention.

    >>> attention_heads((128, 256, 384, 640))
    (4, 8, 12, 20)
    """
    channels = HEAD_CHANNELS.get(widths[0]) if widths else None
    if channels is None or widths != tuple(widths[0] * multiple for multiple in CHANNEL_MULTIPLES):
        return None
    return tuple(width // channels for width in widths)
