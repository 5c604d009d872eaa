"""LongCat-AudioDiT: flow matching over latents of 24 kHz sound, UMT5 in; trained for speech.

Its pipeline in diffusers takes a caption like any other. It guesses the length of a clip from the number of letters, as
of a text that is read aloud; here a clip has the length that it is asked for.

The configurations of random weights are the defaults of diffusers' classes and UMT5's base size, to whose width they
belong; the strides of the autoencoder are those that make up its 2048 samples a frame.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.autoencoders.autoencoder_longcat_audio_dit import LongCatAudioDiTVae
from diffusers.models.transformers.transformer_longcat_audio_dit import LongCatAudioDiTTransformer
from torch import Tensor, nn
from transformers import UMT5Config, UMT5EncoderModel

from admbench.bench.models.base import AudioDiffusionModel, ModelCard
from admbench.bench.models.families.pipelines import Parts, PipelineFamily, PublishedPipeline, scheduler_class
from admbench.bench.models.families.waveform_flow import SoundFlowModel, latent_shape
from admbench.bench.models.networks.untrained import ByteTokenizer

CAPTION_TOKENS = 128
"""Captions are cut to so many tokens (512 in the pipeline), and padded to them, behind their mask."""
SECONDS, LONGEST = 10.0, 30.0
QUOTES = re.compile('["\u201c\u201d\u2018\u2019]')

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


class NormalizedStates:
    """First and last hidden states of UMT5, each normalised, added."""

    def __init__(self, tokenizer: Any, encoder: nn.Module) -> None:
        self.tokenizer, self.encoder = tokenizer, encoder

    @torch.inference_mode()
    def __call__(self, captions: Sequence[str]) -> dict[str, Tensor]:
        """{"encoder_hidden_states": (n, 128, width), "encoder_attention_mask": (n, 128) bool}."""
        plain = [" ".join(QUOTES.sub(" ", caption.lower()).split()) for caption in captions]
        device = next(self.encoder.parameters()).device
        told = self.tokenizer(
            plain, padding="max_length", max_length=CAPTION_TOKENS, truncation=True, return_tensors="pt"
        ).to(device)
        out = self.encoder(told.input_ids, attention_mask=told.attention_mask, output_hidden_states=True)
        first, last = (F.layer_norm(states, states.shape[-1:], eps=1e-6) for states in (out.hidden_states[0], out[0]))
        return {"encoder_hidden_states": first + last, "encoder_attention_mask": told.attention_mask.bool()}


class LongCatAudioDiTModel(SoundFlowModel):
    """LongCat-AudioDiT: its unconditional half is told zeros in place of the caption's states."""

    frames_first = True

    def sigmas(self, steps: int) -> list[float]:
        """Even in time."""
        return torch.linspace(1.0, 1.0 / steps, steps).tolist()

    def encode_text(self, prompts: Sequence[str], *, guided: bool) -> dict[str, Tensor]:
        """`encoder_hidden_states` (n, tokens, width) and their mask."""
        told = super().encode_text(prompts, guided=False)
        if not guided:
            return told
        states, mask = told["encoder_hidden_states"], told["encoder_attention_mask"]
        return {
            "encoder_hidden_states": torch.cat([torch.zeros_like(states), states]),
            "encoder_attention_mask": torch.cat([mask, mask]),
        }

    def _predict(self, sample: Tensor, timestep: Tensor, told: dict[str, Tensor]) -> Tensor:
        convolutions: Any = getattr(self.backbone, "text_conv_layer", ())
        with without_padding(convolutions, told["encoder_attention_mask"]):
            predicted: Tensor = self.backbone(
                sample,
                **told,
                timestep=timestep / self._scheduler.config["num_train_timesteps"],
                latent_cond=torch.zeros_like(sample),
                return_dict=False,
            )[0]
        return predicted


@contextmanager
def without_padding(convolutions: Iterable[Any], mask: Tensor) -> Iterator[None]:
    """Keeps padding out of the convolutions over a caption's tokens inside of the block.

    They take no mask: padding, which a call of the pipeline with one prompt does not have, would reach the tokens next
    to it, and all of them through the norm over the sequence. As zeros it is what is outside of a sequence anyway.

    Args:
        convolutions: the blocks, each with its norm as `grn`, over states (n, tokens, width).
        mask: (n, tokens), true where there is a token.
    """
    padding = mask.logical_not()[..., None]

    def clear(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (args[0].masked_fill(padding, 0.0),)

    hooks = [module.register_forward_pre_hook(clear) for block in convolutions for module in (block, block.grn)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def assemble(parts: Parts, known: dict[str, Any]) -> AudioDiffusionModel:
    """The model of the pipeline's parts; without a scheduler among them, with the pipeline's own."""
    vae = parts["vae"].config
    rate = vae["sample_rate"] / vae["downsampling_ratio"]
    card = ModelCard(
        sample_rate=vae["sample_rate"],
        seconds=SECONDS,
        latent_shape=latent_shape(parts["transformer"].config["latent_dim"], SECONDS, rate, frames_first=True),
        latent_rate=rate,
        **known,
    )
    conditioner = NormalizedStates(parts["tokenizer"], parts["text_encoder"])
    return LongCatAudioDiTModel({"scheduler": scheduler()} | dict(parts), FAMILY, card, conditioner, LONGEST)


def scheduler() -> Any:
    """The one that the pipeline makes where it is given none: time runs from noise at 0 to sound at 1."""
    return scheduler_class("FlowMatchEulerDiscreteScheduler")(shift=1.0, invert_sigmas=True)


FAMILY = PipelineFamily(
    classes={
        "transformer": LongCatAudioDiTTransformer,
        "text_encoder": UMT5EncoderModel,
        "vae": LongCatAudioDiTVae,
    },
    default_steps=16,
    default_guidance=4.0,
    assemble=assemble,
)


class LongCatAudioDiT(PublishedPipeline):
    """LongCat-AudioDiT, the smaller size."""

    summary = (
        "LongCat-AudioDiT 1B (backbone 982 M), ruixiangma/LongCat-AudioDiT-1B-Diffusers, speech, flow matching in 16"
        " steps, 24 kHz; weights MIT"
    )
    requires = ()
    name = "longcat-audiodit-1b"
    layout = "longcat-audiodit"

    @classmethod
    def parts(cls) -> Parts:
        """The size of the defaults of diffusers' classes: transformer, UMT5-base's encoder, autoencoder."""
        return {
            "transformer": LongCatAudioDiTTransformer(),
            "text_encoder": UMT5EncoderModel(UMT5Config(**UMT5_BASE)),
            "tokenizer": ByteTokenizer(CAPTION_TOKENS, pad=0),
            "vae": LongCatAudioDiTVae(strides=STRIDES),
            "scheduler": scheduler(),
        }
