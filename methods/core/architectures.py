"""The backbone classes that a checkpoint may name. A checkpoint is data from outside: it never names an import path."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import diffusers
import torch
from torch import nn

from admcore.errors import CheckpointError, nearest

ARCHITECTURES = (
    "UNet2DConditionModel",
    "AudioLDM2UNet2DConditionModel",
    "StableAudioDiTModel",
    "DiTTransformer2DModel",
    "PixArtTransformer2DModel",
)
"""Names of classes of diffusers."""


def describe_backbone(backbone: nn.Module) -> tuple[str, dict[str, Any]]:
    """Return the class name and the configuration that `build_backbone` makes the same structure from.

    Raises:
        CheckpointError: the class is none that a checkpoint may name.
    """
    name = type(backbone).__name__
    if name not in ARCHITECTURES or type(backbone) is not getattr(diffusers, name):
        raise CheckpointError(f"a {name} cannot be written to a checkpoint: expected one of {', '.join(ARCHITECTURES)}")
    config = getattr(backbone, "config")  # noqa: B009 - nn.Module's declared attributes do not include it
    return name, {key: value for key, value in dict(config).items() if not key.startswith("_")}


def build_backbone(name: str, config: dict[str, Any], *, most_layers: int) -> nn.Module:
    """Build a backbone without numbers, on the meta device.

    Args:
        name: one of `ARCHITECTURES`.
        config: arguments of its constructor.
        most_layers: no number of layers in the configuration may be larger: what would fill memory with empty layers.

    Raises:
        CheckpointError: the class is not allowed, or its constructor refuses the configuration.
    """
    if name not in ARCHITECTURES:
        raise CheckpointError(f'backbone class "{name}" is not allowed: expected one of {", ".join(ARCHITECTURES)}')
    backbone_class = getattr(diffusers, name)
    allowed = inspect.signature(backbone_class.__init__).parameters.keys() - {"self"}
    for key, value in config.items():
        if key not in allowed:
            raise CheckpointError(f'{name} has no configuration key "{key}".{nearest(key, allowed)}')
        if "layers" in key and any(number > most_layers for number in _integers(value)):
            raise CheckpointError(f"{name}: {key} = {value} asks for more layers than there are tensors")
    try:
        with torch.device("meta"):
            backbone: nn.Module = backbone_class(**config)
    except Exception as error:  # whatever a foreign configuration makes the constructor do, it is the file's fault
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise CheckpointError(f"{name} cannot be built from the configuration: {reason}") from error
    return backbone


def _integers(value: Any) -> Iterator[int]:
    if isinstance(value, list | tuple):
        for item in value:
            yield from _integers(item)
    elif isinstance(value, int):
        yield value
