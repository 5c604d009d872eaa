"""Stable Audio's transformer with its queries and keys normalised, as Stable Audio Open Small has it.

In each head queries and keys pass a layer norm before the rotary positions, in self-attention and cross attention
alike (`qk_norm: "ln"` of github.com/Stability-AI/stable-audio-tools, models/transformer.py). diffusers' attention runs
such norms where a layer has them; its `StableAudioDiTModel` makes none, and this does.
"""

from __future__ import annotations

from typing import Any

from diffusers.configuration_utils import register_to_config
from diffusers.models.transformers.stable_audio_transformer import StableAudioDiTModel
from torch import nn

NORM_EPSILON = 1e-6


class NormedStableAudioDiTModel(StableAudioDiTModel):
    """diffusers' class with `norm_q` and `norm_k` over the channels of a head; arguments are that class's."""

    @register_to_config  # type: ignore[untyped-decorator, unused-ignore]
    def __init__(
        self,
        sample_size: int = 256,
        in_channels: int = 64,
        num_layers: int = 16,
        attention_head_dim: int = 128,
        num_attention_heads: int = 8,
        num_key_value_attention_heads: int = 8,
        out_channels: int = 64,
        cross_attention_dim: int = 1024,
        time_proj_dim: int = 256,
        global_states_input_dim: int = 768,
        cross_attention_input_dim: int = 768,
    ) -> None:
        super().__init__(
            sample_size=sample_size,
            in_channels=in_channels,
            num_layers=num_layers,
            attention_head_dim=attention_head_dim,
            num_attention_heads=num_attention_heads,
            num_key_value_attention_heads=num_key_value_attention_heads,
            out_channels=out_channels,
            cross_attention_dim=cross_attention_dim,
            time_proj_dim=time_proj_dim,
            global_states_input_dim=global_states_input_dim,
            cross_attention_input_dim=cross_attention_input_dim,
        )
        blocks: Any = self.transformer_blocks
        for block in blocks:
            for attention in (block.attn1, block.attn2):
                attention.norm_q = nn.LayerNorm(attention_head_dim, eps=NORM_EPSILON)
                attention.norm_k = nn.LayerNorm(attention_head_dim, eps=NORM_EPSILON)
