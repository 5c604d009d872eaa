"""What is exported: a model with its quantized components, and calls of its backbone to hold exports against."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from admbench.bench.suites import calibration_prompts
from admbench.errors import CheckpointError
from admbench.methods.core.checkpoint.header import Header
from admbench.methods.core.checkpoint.third_party import ThirdPartyHeader
from admbench.methods.protocol import DenoisingModel

PROMPTS, BATCH, STEPS = 3, 2, 3
"""Of the trajectories whose calls are recorded: a batch of two captions and one of one, so that rows vary."""

Inputs = dict[str, Tensor]
"""The tensors of a call by the name of the backbone's argument; of a nested one, `argument.key`."""


class NamedBackbone(nn.Module):
    """A backbone as a function of tensors in the order of `names`; all else of a recorded call stays as it was.

    Args:
        backbone: the network.
        arguments: of the recorded call, by name.
    """

    def __init__(self, backbone: nn.Module, arguments: Mapping[str, Any]) -> None:
        super().__init__()
        self.backbone = backbone
        leaves, self._structure = pytree.tree_flatten_with_path(dict(arguments))
        self._leaves = [leaf for _, leaf in leaves]
        self._places = {_joined(path): place for place, (path, leaf) in enumerate(leaves) if isinstance(leaf, Tensor)}

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the tensors, in the order that `forward` takes."""
        return tuple(self._places)

    @property
    def example(self) -> Inputs:
        """The tensors of the recorded call."""
        return {name: self._leaves[place] for name, place in self._places.items()}

    def forward(self, *tensors: Tensor) -> Tensor:
        """Return the backbone's prediction."""
        leaves = list(self._leaves)
        for place, tensor in zip(self._places.values(), tensors, strict=True):
            leaves[place] = tensor
        predicted = self.backbone(**pytree.tree_unflatten(leaves, self._structure))
        return predicted if isinstance(predicted, Tensor) else predicted[0]

    def of(self, backbone: nn.Module) -> NamedBackbone:
        """Return the same function of another backbone of the same class."""
        return NamedBackbone(backbone, pytree.tree_unflatten(self._leaves, self._structure))


@dataclass(frozen=True)
class Subject:
    """A model whose components are those of a packed checkpoint."""

    model: DenoisingModel
    headers: Mapping[str, Header]
    """Of each component of the checkpoint."""
    function: NamedBackbone
    """The backbone as a function of tensors."""
    inputs: tuple[Inputs, ...]
    """Calls of the backbone along trajectories of its own."""

    @classmethod
    def of(cls, model: DenoisingModel, headers: Mapping[str, Header | ThirdPartyHeader]) -> Subject:
        """Record calls of a model that `load_checkpoint` returned.

        Raises:
            CheckpointError: a component is in another package's format, or none is the backbone.
        """
        ours: dict[str, Header] = {}
        for name, header in headers.items():
            if isinstance(header, ThirdPartyHeader):
                raise CheckpointError(f"{name}: quantized by {header.format}, whose own tools export it")
            ours[name] = header
        if "backbone" not in ours:
            raise CheckpointError(f"expected a checkpoint of the backbone; found one of {', '.join(ours)}")
        calls = _recorded(model)
        functions = [NamedBackbone(model.backbone, call) for call in calls]
        return cls(model, ours, functions[0], tuple(function.example for function in functions))


def _recorded(model: DenoisingModel) -> list[dict[str, Any]]:
    """Return the arguments, by name, of the calls of the backbone along a few trajectories."""
    names = list(inspect.signature(model.backbone.forward).parameters)
    calls: list[dict[str, Any]] = []
    hook = model.backbone.register_forward_pre_hook(
        lambda module, args, kwargs: calls.append({**dict(zip(names, args, strict=False)), **kwargs}), with_kwargs=True
    )
    try:
        taken = model.trajectories(
            calibration_prompts(PROMPTS),
            seeds=list(range(PROMPTS)),
            steps=STEPS,
            guidance=model.default_guidance,
            batch_size=BATCH,
        )
        for _ in taken:
            pass
    finally:
        hook.remove()
    with torch.inference_mode(False):  # what traces a network refuses tensors of inference mode
        return [pytree.tree_map_only(Tensor, torch.clone, call) for call in calls]


def _joined(path: Any) -> str:
    return ".".join(str(getattr(key, "key", getattr(key, "idx", key))) for key in path)
