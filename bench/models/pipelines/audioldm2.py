"""AudioLDM 2 (arXiv 2308.05734) as its pipeline runs it: GPT-2's continuation of CLAP and T5, and T5, to the U-Net.

Departures: each caption is encoded alone, as in a call with one prompt, because padding moves GPT-2's positions. T5's
captions end at 128 tokens (512 there). What transformers 5 broke in the pipeline is done by
`networks/workarounds.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from admbench.bench.models.base import AudioDiffusionModel
from admbench.bench.models.conditioning import cut_by, limit_roberta_tokens
from admbench.bench.models.networks.workarounds import clap_text_features, continue_states
from admbench.bench.models.pipelines.mel_latents import MelLatents
from admbench.bench.models.pipelines.parts import Parts, networks
from admbench.errors import CheckpointError

CAPTION_TOKENS = 128
"""Captions are cut to so many of T5's tokens (512 in the pipeline), and padded to them, behind their mask."""


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
        rows = [self._encode(caption) for caption in captions]
        lengths = [len(row["encoder_attention_mask_1"]) for row in rows]
        empty = {length: self._encode("", length) for length in set(lengths)}
        return _stack([*(empty[length] for length in lengths), *rows])

    def cut(self, captions: Sequence[str]) -> list[bool]:
        """Whether CLAP or T5 reads the beginning of each caption and no more."""
        words, pieces = cut_by(self.tokenizer, captions), cut_by(self.tokenizer_2, captions, CAPTION_TOKENS)
        return [of_clap or of_t5 for of_clap, of_t5 in zip(words, pieces, strict=True)]

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
    latents = MelLatents(parts["vae"], parts["vocoder"])
    card = latents.card(parts["backbone"], latents.default_seconds(parts["backbone"], known["name"]), known)
    return AudioLDM2Model(card, networks(parts), AudioLDM2Conditioner(parts), parts["scheduler"], latents.decoder())
