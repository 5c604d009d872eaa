"""CLAP's text half as Make-An-Audio uses it: BERT, then CLAP's projection applied to every token, not to the first.

The projection is that of msclap (Elizalde et al. 2022): ``norm(linear1(x) + linear2(gelu(linear1(x))))``; without
dropout, since it only ever runs frozen in a diffusion model.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel, PretrainedConfig, PreTrainedModel


class ClapBertConfig(PretrainedConfig):
    """A BERT configuration, the width of the projection, and whether BERT has its pooler, which nothing here uses."""

    model_type = "clap-bert-text"

    def __init__(
        self, bert: dict[str, Any] | None = None, projection_dim: int = 1024, pooler: bool = False, **extra: Any
    ) -> None:
        self.bert = bert or {}
        self.projection_dim = projection_dim
        self.pooler = pooler
        super().__init__(**extra)


class Projection(nn.Module):
    """(..., hidden) -> (..., projection_dim)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(inputs, outputs, bias=False)
        self.linear2 = nn.Linear(outputs, outputs, bias=False)
        self.layer_norm = nn.LayerNorm(outputs)

    def forward(self, hidden: Tensor) -> Tensor:
        """See the class."""
        first = self.linear1(hidden)
        normed: Tensor = self.layer_norm(first + self.linear2(torch.nn.functional.gelu(first)))
        return normed


class ClapBertTextModel(PreTrainedModel):
    """Token ids (n, tokens) -> projected hidden states (n, tokens, projection_dim)."""

    config_class = ClapBertConfig
    base_model_prefix = "clap_bert"

    def __init__(self, config: ClapBertConfig) -> None:
        super().__init__(config)
        bert = BertConfig(**config.bert)
        self.base = BertModel(bert, add_pooling_layer=config.pooler)
        self.projection = Projection(bert.hidden_size, config.projection_dim)
        self.post_init()

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """See the class; padding is masked inside BERT where a mask is given."""
        hidden = self.base(input_ids, attention_mask=attention_mask).last_hidden_state
        projected: Tensor = self.projection(hidden)
        return projected
