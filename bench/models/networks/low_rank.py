"""A network as another one with an update of low rank: W + up down (Hu et al. 2021, arXiv 2106.09685, section 4.1)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from admbench.errors import CheckpointError
from admbench.methods.core.checkpoint.tensors import open_tensors

UP, DOWN = ".up", ".down"
"""Suffixes of the factors of a weight, (out, rank) and (rank, in); what is under a weight's own name replaces it."""
UPDATE_FILE = "update/update.safetensors"
"""In a pipeline directory."""


def updated(weights: Mapping[str, Tensor], update: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights, by name, with an update on them."""
    return {
        name: weight + update[name + UP] @ update[name + DOWN] if name + UP in update else update.get(name, weight)
        for name, weight in weights.items()
    }


@torch.no_grad()
def apply_update(network: nn.Module, file: Path) -> None:
    """Put an update on a network's weights, in place, in their own type.

    Raises:
        CheckpointError: the file is missing or damaged, or is an update of another network; names it.
    """
    with open_tensors(file) as opened:
        update = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - no mapping
    weights = dict(network.named_parameters())
    known = {*weights, *(name + end for name in weights for end in (UP, DOWN))}
    if unknown := sorted(update.keys() - known):
        raise CheckpointError(f"{file}: updates {unknown[0]}, which this network does not have")
    try:
        changed = updated(weights, {name: tensor.to(weights[_weight(name)].dtype) for name, tensor in update.items()})
        for name, weight in changed.items():
            weights[name].copy_(weight)
    except (KeyError, RuntimeError) as error:
        raise CheckpointError(f"{file}: does not fit this network ({str(error).splitlines()[0]})") from None


def _weight(name: str) -> str:
    return name.removesuffix(UP).removesuffix(DOWN)
