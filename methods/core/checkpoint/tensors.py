"""The tensors of a network and of a checkpoint's file: which there are, under which name, and where they belong."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from admbench.errors import CheckpointError
from admbench.methods.core.checkpoint.header import FloatType
from admbench.methods.core.layers.quantized import QuantizedLayer
from admbench.methods.core.numbers.quantizer import Quantizer

DTYPES: dict[FloatType, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}
"""Types of numbers that are not quantized, by their name in a header."""


FEWEST_BITS = 2
"""Of a number in a file: codes have 2 bits or more."""


@contextmanager
def open_tensors(path: Path) -> Iterator[Any]:
    """Open a tensor file, of which every tensor lies in the file as a whole.

    Raises:
        CheckpointError: it is no regular file, or none of safetensors, or truncated; also where the block finds it so.
    """
    if not path.is_file():  # a pipe or a device would be read forever
        raise CheckpointError(f"{path}: cannot be read, or is truncated (no such file)")
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        reason = " ".join(str(error).split())[:500]
        raise CheckpointError(f"{path}: cannot be read, or is truncated ({reason})") from error


def most_numbers(path: Path) -> int:
    """Return how many numbers a tensor file can hold at most, going by its bytes."""
    return path.stat().st_size * 8 // FEWEST_BITS


class Slot(NamedTuple):
    """A tensor of a module, and where it is."""

    owner: nn.Module
    attribute: str
    tensor: Tensor
    bits: int | None
    """Bits of a code where the file holds the tensor packed, None where it holds it as it is."""
    tied: list[tuple[nn.Module, str]]
    """Other places that hold the very same parameter, such as T5's table of tokens."""


def slots_of(module: nn.Module) -> dict[str, Slot]:
    """Return every parameter and buffer of a module, by its name in the tensor file."""
    slots: dict[str, Slot] = {}
    parameters: dict[int, Slot] = {}
    for prefix, owner in module.named_modules():
        members = [*owner.named_parameters(recurse=False), *owner.named_buffers(recurse=False)]
        for attribute, tensor in members:
            if id(tensor) in parameters:
                parameters[id(tensor)].tied.append((owner, attribute))
                continue
            name = f"{prefix}.{attribute}".removeprefix(".").replace("_quantizer.", "_")
            if name in slots:
                raise CheckpointError(f"two tensors of the network would be called {name}")
            slots[name] = Slot(owner, attribute, tensor, _code_bits(owner, attribute), [])
            if isinstance(tensor, nn.Parameter):
                parameters[id(tensor)] = slots[name]
    return slots


def _code_bits(owner: nn.Module, attribute: str) -> int | None:
    if isinstance(owner, QuantizedLayer) and attribute == "weight_codes" and owner.weight_quantizer is not None:
        return owner.weight_quantizer.scheme.bits
    return owner.packed_bits.get(attribute) if isinstance(owner, Quantizer) else None


def is_finite(tensor: Tensor) -> bool:
    """Return whether every number of a tensor is finite."""
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())


def sha256_of(tensor: Tensor) -> str:
    """Return the SHA-256 of a tensor's bytes as they lie in the file."""
    return hashlib.sha256(tensor.reshape(-1).view(torch.uint8).numpy().data).hexdigest()
