"""What diffusers 0.42 and transformers 5 do not do together any more, done here instead; each with its reason.

The pipelines' own `__call__` is run in the tests alone, with the same parts. MusicLDMPipeline is deprecated (last
supported with diffusers 0.33): nothing here imports it, its parts are classes that stay.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def clap_text_features(clap: Any, ids: Tensor, mask: Tensor) -> Tensor:
    """CLAP's L2-normalised text embedding (n, projection_dim) of ids and mask (n, tokens).

    transformers 5 returns an output object whose `pooler_output` is what transformers 4 returned.
    MusicLDMPipeline calls `.to` on it, which it does not have.
    """
    out = clap.get_text_features(ids, attention_mask=mask)
    features: Tensor = out if isinstance(out, Tensor) else out.pooler_output
    return features


def continue_states(language_model: nn.Module, states: Tensor, mask: Tensor, count: int, room: int = 0) -> Tensor:
    """The `count` hidden states that a GPT-2 predicts after `states`, each fed back as the next input.

    AudioLDM2Pipeline.generate_language_model does this through `_update_model_kwargs_for_generation`, which GPT2Model,
    the class that the published model_index.json names, has lost in transformers 5. Without its cache of keys and
    values the same states are computed, from the start for each of the (eight) new ones.

    Args:
        language_model: GPT2Model.
        states: input embeddings (n, length, width).
        mask: 1 where they count (n, length).
        count: how many to predict.
        room: places behind them that are always empty, which no state sees: every call is length + count + room long.

    Returns:
        (n, count, width).
    """
    begin = states.shape[1]
    states, mask = F.pad(states, (0, 0, 0, count + room)), F.pad(mask, (0, count + room))
    for place in range(begin, begin + count):
        predicted = language_model(inputs_embeds=states, attention_mask=mask).last_hidden_state[:, place - 1 : place]
        states = torch.cat([states[:, :place], predicted, states[:, place + 1 :]], dim=1)
        mask = torch.cat([mask[:, :place], mask.new_ones(len(mask), 1), mask[:, place + 1 :]], dim=1)
    return states[:, begin : begin + count]
