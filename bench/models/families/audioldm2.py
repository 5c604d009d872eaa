"""AudioLDM 2 (Liu et al. 2023, arXiv 2308.05734): CLAP and FLAN-T5 in, GPT-2 states and T5 states to cross attention.

The configurations of random weights are those of github.com/haoheliu/AudioLDM2 (audioldm2/utils.py), under the names
that diffusers' conversion gives them; 8 attention heads at every level are that conversion's default.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.pipelines.audioldm2.modeling_audioldm2 import AudioLDM2ProjectionModel, AudioLDM2UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from torch import Tensor
from transformers import (
    ClapModel,
    GPT2Config,
    GPT2Model,
    SpeechT5HifiGan,
    SpeechT5HifiGanConfig,
    T5Config,
    T5EncoderModel,
)

from admbench.bench.models.base import AudioDiffusionModel
from admbench.bench.models.conditioning import limit_roberta_tokens
from admbench.bench.models.families import audioldm, musicldm, tango
from admbench.bench.models.families.mel_latents import Pictures
from admbench.bench.models.families.pipelines import Parts, PipelineFamily, PublishedPipeline
from admbench.bench.models.networks.untrained import ByteTokenizer
from admbench.bench.models.networks.workarounds import clap_text_features, continue_states
from admbench.errors import CheckpointError

CAPTION_TOKENS = 128
"""Captions are cut to so many of T5's tokens (512 in the pipeline), and padded to them, behind their mask."""

UNET: dict[str, Any] = {
    "sample_size": musicldm.LATENT_FRAMES,
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


class AudioLDM2Conditioner:
    """CLAP's embedding and T5's states, projected, go to GPT-2; what it predicts, and T5's states, go to the U-Net."""

    def __init__(self, parts: Parts) -> None:
        self.tokenizer, self.clap = parts["tokenizer"], parts["text_encoder"]
        self.tokenizer_2, self.encoder = parts["tokenizer_2"], parts["text_encoder_2"]
        self.projection, self.language_model = parts["projection_model"], parts["language_model"]

    def __call__(self, captions: Sequence[str]) -> dict[str, Tensor]:
        """GPT-2's states (n, 8, width) as `encoder_hidden_states`; T5's (n, 128, width) as `encoder_hidden_states_1`.

        The latter with `encoder_attention_mask_1`, (n, 128) int64. Every caption is encoded by itself, as in a call of
        the pipeline with one prompt: padding moves GPT-2's positions, and so the other captions of a batch would
        change what it says.
        """
        return _stack([self._encode(caption) for caption in captions])

    def guided(self, captions: Sequence[str]) -> dict[str, Tensor]:
        """The same, after the unconditional half: the empty caption, padded to each caption's own length."""
        told = [self._encode(caption) for caption in captions]
        lengths = [len(row["encoder_attention_mask_1"]) for row in told]
        empty = {length: self._encode("", length) for length in set(lengths)}
        return _stack([*(empty[length] for length in lengths), *told])

    @torch.inference_mode()
    def _encode(self, caption: str, length: int | None = None) -> dict[str, Tensor]:
        """One row of each input; padded to `length` tokens of T5, None for as many as the caption has.

        T5 and GPT-2 are called on one length, behind masks, so that calls can be stacked to calibrate them.
        """
        device = next(self.encoder.parameters()).device
        words = self.tokenizer([caption], padding="max_length", truncation=True, return_tensors="pt").to(device)
        pieces = self.tokenizer_2(
            [caption],
            padding="max_length",
            max_length=CAPTION_TOKENS,
            truncation=True,
            return_tensors="pt",
        ).to(device)
        states = self.encoder(pieces.input_ids, attention_mask=pieces.attention_mask).last_hidden_state
        length = length or int(pieces.attention_mask.sum())
        states, mask = states[:, :length], pieces.attention_mask[:, :length]
        projected = self.projection(
            hidden_states=clap_text_features(self.clap, words.input_ids, words.attention_mask)[:, None],
            hidden_states_1=states,
            attention_mask=pieces.attention_mask.new_ones(1, 1),
            attention_mask_1=mask,
        )
        count = self.language_model.config.max_new_tokens
        room = CAPTION_TOKENS - length
        predicted = continue_states(self.language_model, projected.hidden_states, projected.attention_mask, count, room)
        return {
            "encoder_hidden_states": predicted[0],
            "encoder_hidden_states_1": states[0],
            "encoder_attention_mask_1": mask[0],
        }


def _stack(rows: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Rows to a batch; T5's padded alike, so that inputs of different batches can be stacked."""

    def padded(states: Tensor) -> Tensor:
        return F.pad(states, (0, 0) * (states.ndim - 1) + (0, CAPTION_TOKENS - len(states)))

    return {
        "encoder_hidden_states": torch.stack([row["encoder_hidden_states"] for row in rows]),
        **{
            name: torch.stack([padded(row[name]) for row in rows])
            for name in ("encoder_hidden_states_1", "encoder_attention_mask_1")
        },
    }


class AudioLDM2Model(AudioDiffusionModel):
    """AudioLDM 2, whose unconditional half depends on the length of the caption."""

    _conditioner: AudioLDM2Conditioner

    def encode_text(self, prompts: Sequence[str], *, guided: bool) -> dict[str, Tensor]:
        """States of GPT-2, and of T5 with their mask; see the base class."""
        return self._conditioner.guided(prompts) if guided else self._conditioner(prompts)


def assemble(parts: Parts, known: dict[str, Any]) -> AudioDiffusionModel:
    """The model of the pipeline's parts."""
    if not isinstance(getattr(parts["language_model"].config, "max_new_tokens", None), int):
        raise CheckpointError(f"{known['name']}: language_model/config.json: expected max_new_tokens, such as 8")
    limit_roberta_tokens(parts["tokenizer"], parts["text_encoder"].config.text_config)
    pictures = Pictures(parts["vae"], parts["vocoder"])
    card = pictures.card(parts["unet"], musicldm.default_seconds(parts["unet"], pictures, known["name"]), known)
    conditioner = AudioLDM2Conditioner(parts)
    return AudioLDM2Model(card, FAMILY.modules(parts), conditioner, parts["scheduler"], pictures.decoder())


FAMILY = PipelineFamily(
    classes={
        "unet": AudioLDM2UNet2DConditionModel,
        "text_encoder": ClapModel,
        "text_encoder_2": T5EncoderModel,
        "projection_model": AudioLDM2ProjectionModel,
        "language_model": GPT2Model,
        "vae": AutoencoderKL,
        "vocoder": SpeechT5HifiGan,
    },
    default_steps=200,
    default_guidance=3.5,
    assemble=assemble,
)


class AudioLDM2(PublishedPipeline):
    """AudioLDM 2, sounds."""

    summary = "AudioLDM 2 (backbone 347 M), cvssp/audioldm2, sounds; weights CC-BY-NC-SA-4.0"
    requires = ()
    name = "audioldm2"
    layout = "audioldm2"
    attention: ClassVar[dict[str, Any]] = BASE

    @classmethod
    def parts(cls) -> Parts:
        """The published sizes: U-Net, CLAP, FLAN-T5-large's encoder, GPT-2, autoencoder, HiFi-GAN."""
        return {
            "unet": AudioLDM2UNet2DConditionModel(**UNET, **cls.attention),
            "text_encoder": musicldm.untrained_clap(),
            "text_encoder_2": T5EncoderModel(T5Config(**tango.FLAN_T5_LARGE)),
            "projection_model": AudioLDM2ProjectionModel(512, 1024, 768),
            "language_model": GPT2Model(GPT2Config(**GPT2)),
            "tokenizer": ByteTokenizer(audioldm.CAPTION_TOKENS, pad=1),
            "tokenizer_2": ByteTokenizer(CAPTION_TOKENS, pad=0),
            "vae": AutoencoderKL(**audioldm.VAE | {"scaling_factor": SCALING_FACTOR}),
            "vocoder": SpeechT5HifiGan(SpeechT5HifiGanConfig(**audioldm.VOCODER)),
            "scheduler": DDIMScheduler(**audioldm.SCHEDULER),
        }


class AudioLDM2Large(AudioLDM2):
    """AudioLDM 2 with a deeper U-Net."""

    summary = "AudioLDM 2 large (backbone 718 M), cvssp/audioldm2-large, sounds; weights CC-BY-NC-SA-4.0"
    requires = ()
    name = "audioldm2-large"
    attention = LARGE


class AudioLDM2Music(AudioLDM2):
    """AudioLDM 2, music."""

    summary = "AudioLDM 2 music (backbone 347 M), cvssp/audioldm2-music, music; weights CC-BY-NC-SA-4.0"
    requires = ()
    name = "audioldm2-music"
