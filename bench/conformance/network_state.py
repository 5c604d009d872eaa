"""What a network and a calibration set hold, to be compared; and networks with odd weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from admbench.bench.conformance.tiny_models import TinyModel
from admbench.hashing import sha256_tensors
from admbench.methods.core.calibration.calibration_set import CalibrationSet


def hashes_of(module: nn.Module) -> dict[str, str]:
    """Return a hash of every parameter and buffer."""
    return {name: sha256_tensors({name: tensor}) for name, tensor in module.state_dict().items()}


def condition_of(module: nn.Module) -> dict[str, Any]:
    """Return all of a backbone that quantizing it must leave alone."""
    modules = dict(module.named_modules())
    return {
        "weights": hashes_of(module),
        "modules": {name: type(one) for name, one in modules.items()},
        "mode": {name: one.training for name, one in modules.items()},
        "hooks": {name: len(one._forward_hooks) + len(one._forward_pre_hooks) for name, one in modules.items()},
        "gradients": {name: (one.requires_grad, one.grad is None) for name, one in module.named_parameters()},
    }


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return the keys whose values differ, or that only one of the two has."""
    return [name for name in (*before, *(after.keys() - before.keys())) if before.get(name) != after.get(name)]


def same_set(one: CalibrationSet, other: CalibrationSet) -> bool:
    """Return whether two calibration sets hold the same samples, drawn the same way."""
    return (one.prompts, one.recipe) == (other.prompts, other.recipe) and changes(_rows(one), _rows(other)) == []


def _rows(drawn: CalibrationSet) -> dict[str, str]:
    labels = {"step": drawn.step, "timestep": drawn.timestep, "prompt": drawn.prompt_index, "half": drawn.conditional}
    return {name: sha256_tensors({name: tensor}) for name, tensor in {**drawn.inputs, **labels}.items()}


def is_finite(values: Tensor) -> bool:
    """Return whether every number is finite."""
    return bool(torch.isfinite(values).all())


def changed(model: TinyModel, change: Callable[[nn.Module], None]) -> TinyModel:
    """Return the model with its backbone changed in place, and its hash after that."""
    with torch.no_grad():
        change(model.backbone)
    model.weights_sha256 = sha256_tensors(model.backbone.state_dict())
    return model


def odd_weights(backbone: nn.Module) -> None:
    """Zero a layer, so that it writes the same everywhere, and a channel of another; make one weight very large.

    And let what the last layer reads be the same number in every channel, at every position, whatever goes in.
    """
    norm: Any = backbone.get_submodule("conv_norm_out")
    norm.weight.zero_()
    norm.bias.fill_(0.7)
    for parameter in backbone.get_submodule("mid_block.resnets.0.conv1").parameters():
        parameter.zero_()
    weight: Any = backbone.get_submodule("mid_block.resnets.0.conv2").weight
    weight[0] = 0
    weight[1, 0, 0, 0] = 1e3


def not_finite(value: float, backbone: nn.Module) -> None:
    """Set one weight to a value that is not finite."""
    weight: Any = backbone.get_submodule("mid_block.resnets.0.conv1").weight
    weight[0, 0, 0, 0] = value
