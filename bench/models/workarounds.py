"""What diffusers 0.42 and transformers 5 do not do together any more, done here instead; each with its reason.

The pipelines' own `__call__` is run in the tests alone, with the same parts. MusicLDMPipeline is deprecated (last
supported with diffusers 0.33): nothing here imports it, its parts are classes that stay.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def quiet_weight_norm() -> Iterator[None]:
    """Keeps torch from warning of the weight norm that diffusers' Oobleck autoencoder is still made with."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r".*weight_norm. is deprecated", FutureWarning)
        yield


def clap_text_features(clap: Any, ids: Tensor, mask: Tensor) -> Tensor:
    """CLAP's L2-normalised text embedding (n, projection_dim) of ids and mask (n, tokens).

    transformers 5 returns an output object whose `pooler_output` is what transformers 4 returned.
    MusicLDMPipeline calls `.to` on it, which it does not have.
    """
    out = clap.get_text_features(ids, attention_mask=mask)
    features: Tensor = out if isinstance(out, Tensor) else out.pooler_output
    return features


def continue_states(language_model: nn.Module, states: Tensor, mask: Tensor, count: int) -> Tensor:
    """The `count` hidden states that a GPT-2 predicts after `states`, each fed back as the next input.

    AudioLDM2Pipeline.generate_language_model does this through `_update_model_kwargs_for_generation`, which GPT2Model,
    the class that the published model_index.json names, has lost in transformers 5. Without its cache of keys and
    values the same states are computed, from the start for each of the (eight) new ones.

    Args:
        language_model: GPT2Model.
        states: input embeddings (n, length, width).
        mask: 1 where they count (n, length).
        count: how many to predict.

    Returns:
        (n, count, width).
    """
    for _ in range(count):
        predicted = language_model(inputs_embeds=states, attention_mask=mask).last_hidden_state[:, -1:]
        states = torch.cat([states, predicted], dim=1)
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
    return states[:, -count:]
