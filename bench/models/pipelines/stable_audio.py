"""Stable Audio Open (arXiv 2407.14358) as its pipeline runs it, on the caption and the clip's beginning and end.

Whatever its length, a clip is the beginning of the one latent length that the model knows; it is conditioned on when it
ends. Waveforms keep both channels; the networks that judge them hear their mean.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_oobleck import AutoencoderOobleck
from diffusers.models.embeddings import get_1d_rotary_pos_embed
from numpy.typing import NDArray
from torch import Tensor

from admbench.bench.models.base import AudioDiffusionModel, ModelCard, without_single_channel
from admbench.bench.models.conditioning import TokenStates
from admbench.bench.models.pipelines.parts import Parts, networks
from admbench.errors import UsageError

CAPTION_TOKENS = 128


class StableAudioModel(AudioDiffusionModel):
    """Stable Audio: conditioned on the caption and the clip's beginning and end; its unconditional half has zeros.

    Args:
        parts: the pipeline's.
        card: facts; `seconds` is the longest clip.
        decode: latents (n, channels, frames) to waveforms; None: by the autoencoder over waveforms, `vae`.
    """

    _conditioner: TokenStates

    def __init__(self, parts: Parts, card: ModelCard, decode: Callable[[Tensor], Tensor] | None = None) -> None:
        tokenizer = parts["tokenizer"]
        tokenizer.model_max_length = min(tokenizer.model_max_length, CAPTION_TOKENS)
        conditioner = TokenStates(tokenizer, parts["text_encoder"])
        decode = decode or OobleckDecoder(parts["vae"])
        super().__init__(card, networks(parts), conditioner, parts["scheduler"], decode)
        self._longest = card.seconds
        self._rotary_width = parts["backbone"].config["attention_head_dim"] // 2

    def set_seconds(self, seconds: float) -> None:
        """Makes clips of that length from now on. Raises UsageError for one longer than the latents are."""
        if not 0 < seconds <= self._longest:
            raise UsageError(
                f"{self.name}: generation.seconds = {seconds:g}; expected more than 0 and at most {self._longest:g}"
            )
        self.card = replace(self.card, seconds=seconds)

    def decode(self, latents: Tensor) -> NDArray[np.float32]:
        """Latents (n, channels, frames) to waveforms, float32 (n, 2, samples), cut to length."""
        # truncated, not rounded, as in the pipeline
        return super().decode(latents)[..., : int(self.seconds * self.sample_rate)]

    @torch.inference_mode()
    def encode_text(self, prompts: Sequence[str], *, guided: bool) -> dict[str, Tensor]:
        """`encoder_hidden_states` (n, tokens + 2, width) and `global_hidden_states` (n, 1, 2 width)."""
        text = self._conditioner(prompts)
        project, count = self.components["projection_model"], len(prompts)
        words = project(text_hidden_states=text["encoder_hidden_states"]).text_hidden_states
        words = words * text["encoder_attention_mask"].unsqueeze(-1)
        times = project(
            start_seconds=torch.zeros(count, device=self.device),
            end_seconds=torch.full((count,), float(self.seconds), device=self.device),
        )
        begins, ends = times.seconds_start_hidden_states, times.seconds_end_hidden_states
        states, clip = torch.cat([words, begins, ends], dim=1), torch.cat([begins, ends], dim=2)
        if guided:
            states, clip = torch.cat([torch.zeros_like(states), states]), torch.cat([clip, clip])
        return {"encoder_hidden_states": states, "global_hidden_states": clip}

    def _predict(self, sample: Tensor, timestep: Tensor, conditioning: dict[str, Tensor]) -> Tensor:
        # positions of the frames and, before them, of the one token that tells time and length
        cos, sin = get_1d_rotary_pos_embed(
            self._rotary_width, sample.shape[-1] + 1, use_real=True, repeat_interleave_real=False
        )
        rotary = (cos.to(self.device), sin.to(self.device))
        predicted: Tensor = self.backbone(sample, timestep, **conditioning, rotary_embedding=rotary, return_dict=False)[
            0
        ]
        return predicted


class OobleckDecoder:
    """Latents to waveforms, one clip at a time: at its last layers a clip of 47 s takes gigabytes."""

    def __init__(self, vae: AutoencoderOobleck) -> None:
        self.vae = vae

    def __call__(self, latents: Tensor) -> Tensor:
        """(n, channels, frames) to (n, 2, samples); of a mono autoencoder (n, samples)."""
        return without_single_channel(torch.cat([self.vae.decode(latent[None]).sample for latent in latents]))


def assemble(parts: Parts, known: dict[str, Any]) -> AudioDiffusionModel:
    """The model of the pipeline's parts."""
    transformer, vae = parts["backbone"], parts["vae"]
    frames, rate = int(transformer.config["sample_size"]), vae.config["sampling_rate"]
    card = ModelCard(
        sample_rate=rate,
        seconds=frames * vae.hop_length / rate,
        latent_shape=(transformer.config["in_channels"], frames),
        **known,
    )
    return StableAudioModel(parts, card)
