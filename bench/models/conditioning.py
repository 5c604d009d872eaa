"""From captions to a backbone's conditioning: the routes of AudioLDM, MusicLDM, TANGO and Make-An-Audio."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from admbench.bench.models.networks.workarounds import clap_text_features


class Conditioner(Protocol):
    """Captions to keyword tensors of the backbone's forward, each with leading dimension n.

    One whose tokenizer keeps so many tokens and no more has a method `cut` beside, as `TokenConditioner` has it.
    """

    encoder: nn.Module

    def __call__(self, captions: Sequence[str]) -> dict[str, Tensor]:
        """Encodes captions; the empty caption is the unconditional one."""
        ...


def _tokens(tokenizer: Any, captions: Sequence[str], device: torch.device) -> tuple[Tensor, Tensor]:
    """Ids and mask (n, model_max_length): always padded alike, so that inputs of different batches can be stacked."""
    out = tokenizer(list(captions), padding="max_length", truncation=True, return_tensors="pt")
    return out.input_ids.to(device), out.attention_mask.to(device)


def cut_by(tokenizer: Any, texts: Sequence[str], most: int | None = None) -> list[bool]:
    """Whether each text has more tokens than are kept of it: `most`, or as many as the tokenizer says."""
    kept = tokenizer.model_max_length if most is None else most
    return [len(tokens) > kept for tokens in tokenizer(list(texts), truncation=False, verbose=False).input_ids]


def limit_roberta_tokens(tokenizer: Any, config: Any) -> None:
    """Lets a tokenizer pad to no more than the positions of CLAP's RoBERTa, which count from after its padding id."""
    positions = config.max_position_embeddings - config.pad_token_id - 1
    tokenizer.model_max_length = min(tokenizer.model_max_length, positions)


def pooled(conditioning: dict[str, Tensor]) -> Tensor:
    """What a conditioner says, as one vector for each caption: float32 (n, width).

    A sequence of states becomes its mean over the tokens that its mask keeps, or over all where the backbone is given
    no mask and attends to padding. Of several sequences each is scaled to unit length, so that none outweighs the
    others, and they are put side by side.
    """
    vectors = []
    for name, states in conditioning.items():
        if not states.is_floating_point():
            continue
        states = states.float()
        if states.ndim == 3:
            mask = conditioning.get(name.replace("hidden_states", "attention_mask"))
            kept = torch.ones_like(states[..., :1]) if mask is None else mask.unsqueeze(-1).float()
            states = (states * kept).sum(dim=1) / kept.sum(dim=1).clamp(min=1)
        vectors.append(states)
    return vectors[0] if len(vectors) == 1 else torch.cat([F.normalize(vector, dim=-1) for vector in vectors], dim=-1)


class TokenConditioner:
    """What conditioners with one tokenizer and one encoder have in common."""

    def __init__(self, tokenizer: Any, encoder: nn.Module) -> None:
        self.tokenizer, self.encoder = tokenizer, encoder

    def cut(self, captions: Sequence[str]) -> list[bool]:
        """Whether the encoder reads the beginning of each caption and no more."""
        return cut_by(self.tokenizer, captions)


class ClapEmbedding(TokenConditioner):
    """AudioLDM: the L2-normalised CLAP text embedding, as a class label (Liu et al. 2023, section 3.2)."""

    @torch.inference_mode()
    def __call__(self, captions: Sequence[str]) -> dict[str, Tensor]:
        """{"class_labels": (n, projection_dim)}."""
        ids, mask = _tokens(self.tokenizer, captions, next(self.encoder.parameters()).device)
        return {"class_labels": F.normalize(self.encoder(ids, attention_mask=mask).text_embeds, dim=-1)}


class ClapTextFeatures(TokenConditioner):
    """MusicLDM: the L2-normalised text embedding of a whole CLAP model, as a class label (Chen et al. 2023, 3.1)."""

    @torch.inference_mode()
    def __call__(self, captions: Sequence[str]) -> dict[str, Tensor]:
        """{"class_labels": (n, projection_dim)}."""
        ids, mask = _tokens(self.tokenizer, captions, next(self.encoder.parameters()).device)
        return {"class_labels": clap_text_features(self.encoder, ids, mask)}


class TokenStates(TokenConditioner):
    """TANGO: all hidden states of the T5 encoder for cross attention, with their mask (Ghosal et al. 2023, 2.1)."""

    @torch.inference_mode()
    def __call__(self, captions: Sequence[str]) -> dict[str, Tensor]:
        """{"encoder_hidden_states": (n, tokens, width), "encoder_attention_mask": (n, tokens) bool}."""
        ids, mask = _tokens(self.tokenizer, captions, next(self.encoder.parameters()).device)
        out = self.encoder(ids, attention_mask=mask)
        states = out if isinstance(out, Tensor) else out.last_hidden_state
        return {"encoder_hidden_states": states, "encoder_attention_mask": mask.bool()}


class UnmaskedTokenStates(TokenConditioner):
    """Make-An-Audio: the projected states of all tokens of CLAP's BERT (Huang et al. 2023).

    Neither BERT nor the backbone is given a mask, as in the code that it was trained with: padding is attended to.
    """

    @torch.inference_mode()
    def __call__(self, captions: Sequence[str]) -> dict[str, Tensor]:
        """{"encoder_hidden_states": (n, tokens, width)}."""
        ids, _ = _tokens(self.tokenizer, captions, next(self.encoder.parameters()).device)
        return {"encoder_hidden_states": self.encoder(ids)}
