"""Named tensors of a checkpoint file, and a module made of them without a second copy in memory."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from admbench.bench.models.checkpoints.components import constant_buffer, require_exact
from admbench.bench.models.checkpoints.files import check_archive, named_as_damaged
from admbench.errors import CheckpointError
from admbench.methods.core.checkpoint.bounds import bounded

Module = TypeVar("Module", bound=nn.Module)


def read_tensors(file: Path, inside: str | None = None) -> dict[str, Tensor]:
    """Reads a .safetensors file, or one of torch.save as plain tensors; mapped, so that pages are read when used.

    Args:
        file: .safetensors, or any other suffix for torch.save's format.
        inside: key of the dictionary of tensors in a file of torch.save that holds more; what else is plain values.

    Raises:
        CheckpointError: the file is damaged, holds something else, or would have to run code.
    """
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        check_archive(file)
        # files of torch before 1.6 are no zip archives, and cannot be mapped
        content = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{file}: holds more than tensors, and is not loaded; where it comes from a source that you trust, load it"
            f" with torch.load and save its tensors{f' (under {inside})' if inside else ''} as"
            f" {file.with_suffix('.safetensors').name} beside it"
        ) from error
    except Exception as error:  # the unpickler raises whatever a damaged file does to its stack, such as IndexError
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{file}: cannot be read ({reason})") from error
    if inside is not None:
        if not isinstance(content, dict) or inside not in content:
            raise CheckpointError(f"{file}: expected a dictionary with {inside}")
        content = content[inside]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(f"{file}: expected a dictionary of tensors{f' under {inside}' if inside else ''}")
    return content


def split(tensors: dict[str, Tensor], *prefixes: str) -> tuple[dict[str, Tensor], ...]:
    """Tensors under each prefix, without it, and those under none."""
    parts = [
        {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        for prefix in prefixes
    ]
    return (*parts, {name: tensor for name, tensor in tensors.items() if not name.startswith(prefixes)})


def build(what: str, make: Callable[[], Module], tensors: dict[str, Tensor]) -> Module:
    """Makes a module of exactly these tensors, which become its parameters and buffers.

    Args:
        what: name for messages.
        make: constructs the module; called on the meta device, allocating nothing, within what the tensors hold.
        tensors: by the module's own names; converted to float32 where they are of another floating type.

    Raises:
        CheckpointError: a tensor is missing, left over, or of another shape; names it. Or the module would be larger
            than the tensors, or cannot be made.
    """
    numbers = sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors.values()}.values())
    with (
        named_as_damaged(what, "a configuration that fits its tensors"),
        bounded(what, numbers=numbers, tensors=len(tensors)),
        torch.device("meta"),
    ):
        module = make()
    expected = module.state_dict()
    require_exact(what, expected.keys() - tensors.keys(), tensors.keys() - expected.keys())
    wanted = {name: tensor for name, tensor in tensors.items() if name in expected}
    for name, tensor in wanted.items():
        floating = tensor.is_floating_point() and tensor.element_size() > 1
        if floating != expected[name].is_floating_point():
            found = str(tensor.dtype).removeprefix("torch.")
            should = "floating-point numbers of 16 bits or more" if expected[name].is_floating_point() else "integers"
            raise CheckpointError(f"{what}: {name} has numbers of type {found}; expected {should}")
        if tensor.shape != expected[name].shape:
            raise CheckpointError(
                f"{what}: {name} has shape {tuple(tensor.shape)}; expected {tuple(expected[name].shape)}"
            )
    floats = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in wanted.items()}
    module.load_state_dict(floats, assign=True)
    for name, buffer in list(module.named_buffers()):
        if buffer.is_meta:  # not among what is saved, so nothing was assigned
            owner, _, leaf = name.rpartition(".")
            setattr(module.get_submodule(owner), leaf, constant_buffer(name, buffer.shape))
    return module
