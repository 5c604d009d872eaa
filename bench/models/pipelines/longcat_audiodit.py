"""LongCat-AudioDiT as its pipeline runs it: UMT5's first and last states to a transformer that predicts velocities.

Its pipeline in diffusers takes a caption like any other. It guesses the length of a clip from the number of letters, as
of a text that is read aloud; here a clip has the length that it is asked for. Time runs from 0 to 1 in
even steps.

Departures: captions end at 128 tokens (512 there); clips are cut from the frames that cover them (the pipeline rounds
down). The guess of the length from letters, and voice cloning, are missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from admbench.bench.models.base import AudioDiffusionModel, ModelCard
from admbench.bench.models.conditioning import TokenConditioner, cut_by
from admbench.bench.models.pipelines.parts import Parts, scheduler_class
from admbench.bench.models.pipelines.waveform_flow import SoundFlowModel, latent_shape

CAPTION_TOKENS = 128
"""Captions are cut to so many tokens (512 in the pipeline), and padded to them, behind their mask."""
SECONDS, LONGEST = 10.0, 30.0
QUOTES = re.compile('["\u201c\u201d\u2018\u2019]')


class NormalizedStates(TokenConditioner):
    """First and last hidden states of UMT5, each normalised, added."""

    @torch.inference_mode()
    def __call__(self, captions: Sequence[str]) -> dict[str, Tensor]:
        """{"encoder_hidden_states": (n, 128, width), "encoder_attention_mask": (n, 128) bool}."""
        device = next(self.encoder.parameters()).device
        tokens = self.tokenizer(
            _plain(captions), padding="max_length", max_length=CAPTION_TOKENS, truncation=True, return_tensors="pt"
        ).to(device)
        out = self.encoder(tokens.input_ids, attention_mask=tokens.attention_mask, output_hidden_states=True)
        first, last = (F.layer_norm(states, states.shape[-1:], eps=1e-6) for states in (out.hidden_states[0], out[0]))
        return {"encoder_hidden_states": first + last, "encoder_attention_mask": tokens.attention_mask.bool()}

    def cut(self, captions: Sequence[str]) -> list[bool]:
        """See the base class."""
        return cut_by(self.tokenizer, _plain(captions), CAPTION_TOKENS)


def _plain(captions: Sequence[str]) -> list[str]:
    """Captions as the text encoder was trained on them."""
    return [" ".join(QUOTES.sub(" ", caption.lower()).split()) for caption in captions]


class LongCatAudioDiTModel(SoundFlowModel):
    """LongCat-AudioDiT: its unconditional half has zeros in place of the caption's states."""

    frames_first = True

    def sigmas(self, steps: int) -> list[float]:
        """Even in time."""
        return torch.linspace(1.0, 1.0 / steps, steps).tolist()

    def encode_text(self, prompts: Sequence[str], *, guided: bool) -> dict[str, Tensor]:
        """`encoder_hidden_states` (n, tokens, width) and their mask."""
        conditioning = super().encode_text(prompts, guided=False)
        if not guided:
            return conditioning
        states, mask = conditioning["encoder_hidden_states"], conditioning["encoder_attention_mask"]
        return {
            "encoder_hidden_states": torch.cat([torch.zeros_like(states), states]),
            "encoder_attention_mask": torch.cat([mask, mask]),
        }

    def _predict(self, sample: Tensor, timestep: Tensor, conditioning: dict[str, Tensor]) -> Tensor:
        convolutions: Any = getattr(self.backbone, "text_conv_layer", ())
        with without_padding(convolutions, conditioning["encoder_attention_mask"]):
            predicted: Tensor = self.backbone(
                sample,
                **conditioning,
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
        latent_shape=latent_shape(parts["backbone"].config["latent_dim"], SECONDS, rate, frames_first=True),
        latent_rate=rate,
        **known,
    )
    conditioner = NormalizedStates(parts["tokenizer"], parts["text_encoder"])
    return LongCatAudioDiTModel({"scheduler": scheduler()} | dict(parts), card, conditioner, LONGEST)


def scheduler() -> Any:
    """The one that the pipeline makes where it is given none: time runs from noise at 0 to sound at 1."""
    return scheduler_class("FlowMatchEulerDiscreteScheduler")(shift=1.0, invert_sigmas=True)
