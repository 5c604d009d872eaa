"""Weights that come with the package: float16 safetensors with a JSON configuration, identified by their hash."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from admbench.errors import CheckpointError
from admbench.files import read_json, write_json_atomic
from admbench.hashing import sha256_file

WEIGHTS = Path(__file__).parent / "weights"


def save_shipped(folder: Path, state: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
    """Writes weights.safetensors (floating point as float16) and config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    halves = {
        name: (value.half() if value.is_floating_point() else value).contiguous() for name, value in state.items()
    }
    save_file(halves, folder / "weights.safetensors")
    write_json_atomic(folder / "config.json", dict(config))


def load_shipped(name: str, folder: Path | None = None) -> tuple[dict[str, Tensor], dict[str, Any], str]:
    """Float32 tensors, configuration and the sha256 of the weight file of an embedder.

    Raises CheckpointError, naming the file, when it is missing or not a safetensors file.
    """
    folder = folder or WEIGHTS / name
    file = folder / "weights.safetensors"
    if not file.exists():
        raise CheckpointError(f"{file}: the weights of {name} are missing; `bench zoo train` makes them")
    try:
        tensors = load_file(file)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{file}: not a readable safetensors file ({error})") from error
    wide = {key: (value.float() if value.dtype is torch.float16 else value) for key, value in tensors.items()}
    return wide, read_json(folder / "config.json"), sha256_file(file)
