"""Stable Audio 3 (arXiv 2605.17991): rectified flow over latents of 44.1 kHz stereo, T5Gemma and the length in.

The distilled checkpoint denoises in 8 steps with new noise at each (its scheduler says `stochastic_sampling`) and needs
no guidance; the base one in 100 deterministic steps. Noise levels are even in log-SNR.

The configurations of random weights are the defaults of diffusers' classes, of which the autoencoder's documentation
says how SAME-L, that of the medium size, departs from them, and T5Gemma's base size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from diffusers.models.autoencoders.autoencoder_same import AutoencoderSAME
from diffusers.models.transformers.transformer_stable_audio3 import StableAudio3DiTModel
from diffusers.pipelines.stable_audio_3.modeling_stable_audio_3 import StableAudio3DurationEmbedder
from torch import Tensor
from transformers import T5GemmaConfig, T5GemmaEncoderModel

from admbench.bench.models.base import AudioDiffusionModel, ModelCard
from admbench.bench.models.conditioning import TokenStates
from admbench.bench.models.families.pipelines import Parts, PipelineFamily, PublishedPipeline, scheduler_class
from admbench.bench.models.families.waveform_flow import SoundFlowModel, latent_shape
from admbench.bench.models.networks.untrained import ByteTokenizer

CAPTION_TOKENS = 256
"""Every caption is padded to so many tokens; the transformer puts an embedding of its own in place of the padding."""
SECONDS = 10.0
DISTILLED_STEPS, BASE_STEPS = 8, 100
NOISIEST, CLEANEST = -6.2, 2.0
"""Log-SNR of the first noise level, which is then set to noise alone, and of what would be the last."""

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


class StableAudio3Model(SoundFlowModel):
    """Stable Audio 3: told the caption, and the clip's length both among the caption's tokens and on the whole."""

    _conditioner: TokenStates

    def sigmas(self, steps: int) -> list[float]:
        """Even in log-SNR; the first is noise alone."""
        times = torch.linspace(1.0, 0.0, steps + 1)
        levels = torch.sigmoid(times * (CLEANEST - NOISIEST) - CLEANEST)
        return [1.0, *levels[1:-1].tolist()]

    def finish(self, waveforms: Tensor) -> Tensor:
        """Clipped at full scale, as in the pipeline."""
        return waveforms.clamp(-1.0, 1.0)

    @torch.inference_mode()
    def encode_text(self, prompts: Sequence[str], *, guided: bool) -> dict[str, Tensor]:
        """`encoder_hidden_states` (n, tokens + 1, width), their mask, and `global_hidden_states` (n, width)."""
        told = super().encode_text(prompts, guided=guided)
        states, mask = told["encoder_hidden_states"], told["encoder_attention_mask"]
        seconds = torch.full((len(states),), float(self.seconds), device=self.device)
        length: Tensor = self.components["duration_embedder"](seconds)
        return {
            "encoder_hidden_states": torch.cat([states, length[:, None]], dim=1),
            "encoder_attention_mask": torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1),
            "global_hidden_states": length,
        }

    def _predict(self, sample: Tensor, timestep: Tensor, told: dict[str, Tensor]) -> Tensor:
        predicted: Tensor = self.backbone(sample, timestep, **told, return_dict=False)[0]
        return predicted


def assemble(parts: Parts, known: dict[str, Any]) -> AudioDiffusionModel:
    """The model of the pipeline's parts."""
    vae, tokenizer = parts["vae"], parts["tokenizer"]
    tokenizer.model_max_length = min(tokenizer.model_max_length, CAPTION_TOKENS)
    distilled = parts["scheduler"].config["stochastic_sampling"]
    rate = vae.config["sampling_rate"] / vae.downsampling_ratio
    card = ModelCard(
        sample_rate=vae.config["sampling_rate"],
        seconds=SECONDS,
        latent_shape=latent_shape(vae.config["latent_dim"], SECONDS, rate, frames_first=False),
        latent_rate=rate,
        **known | {"default_steps": DISTILLED_STEPS if distilled else BASE_STEPS},
    )
    conditioner = TokenStates(tokenizer, parts["text_encoder"])
    longest = float(parts["duration_embedder"].config["max_val"])
    return StableAudio3Model(parts, FAMILY, card, conditioner, longest)


FAMILY = PipelineFamily(
    classes={
        "transformer": StableAudio3DiTModel,
        "text_encoder": T5GemmaEncoderModel,
        "duration_embedder": StableAudio3DurationEmbedder,
        "vae": AutoencoderSAME,
    },
    default_steps=DISTILLED_STEPS,
    default_guidance=1.0,
    assemble=assemble,
)


class StableAudio3(PublishedPipeline):
    """Stable Audio 3, distilled to 8 steps."""

    summary = (
        "Stable Audio 3 medium (backbone 1,453 M), flow matching in 8 steps, 44.1 kHz, mean of stereo; converted from"
        " stabilityai/stable-audio-3-medium; weights Stability AI Community License"
    )
    requires = ()
    name = "stable-audio-3-medium"
    layout = "stable-audio-3"
    distilled: ClassVar[bool] = True

    @classmethod
    def parts(cls) -> Parts:
        """The medium size: transformer, T5Gemma's encoder, embedding of the length, SAME-L."""
        text = T5GemmaConfig(encoder=T5GEMMA_BASE, decoder=T5GEMMA_BASE, is_encoder_decoder=False)
        return {
            "transformer": StableAudio3DiTModel(),
            "text_encoder": T5GemmaEncoderModel(text),
            "duration_embedder": StableAudio3DurationEmbedder(),
            "tokenizer": ByteTokenizer(CAPTION_TOKENS, pad=0),
            "vae": AutoencoderSAME(**SAME_L),
            "scheduler": scheduler_class("FlowMatchEulerDiscreteScheduler")(
                num_train_timesteps=1, stochastic_sampling=cls.distilled
            ),
        }


class StableAudio3Base(StableAudio3):
    """Stable Audio 3 before distillation."""

    summary = (
        "Stable Audio 3 medium base (backbone 1,453 M), flow matching in 100 steps, 44.1 kHz, mean of stereo; converted"
        " from stabilityai/stable-audio-3-medium-base; weights Stability AI Community License"
    )
    requires = ()
    name = "stable-audio-3-medium-base"
    distilled = False
