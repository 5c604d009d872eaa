"""Which numbers a network's floating-point weights are read from: libraries convert any, and say nothing."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from admbench.bench.models.checkpoints.files import named_as_damaged
from admbench.errors import CheckpointError
from admbench.methods.core.checkpoint.tensors import open_tensors

_FLOATING = ("F64", "F32", "F16", "BF16")
"""As the header of safetensors calls them."""
_OF_NORMALISED = ("weight_g", "weight_v")
"""How files name the tensors of weight normalisation, which a loaded network names otherwise."""


def require_floating(file: Path, module: nn.Module) -> None:
    """Refuse a file whose tensors are no floating-point numbers of 16 bits or more where the network's are.

    What else a file holds, such as a buffer that its library leaves out, is not looked at.

    Args:
        file: of safetensors or torch.save, that the module was loaded from.
        module: a component.

    Raises:
        CheckpointError: names the file and the first such tensor.
    """
    floating = {name for name, tensor in module.state_dict().items() if tensor.is_floating_point()}
    for name, found in sorted(_others(file).items()):
        if name in floating or name.endswith(_OF_NORMALISED):
            kind = str(found).removeprefix("torch.")
            raise CheckpointError(
                f"{file}: {name} has numbers of type {kind}; expected floating-point numbers of 16 bits or more"
            )


def _others(file: Path) -> dict[str, torch.dtype]:
    """The tensors of a file that are not such numbers, with their types."""
    if file.suffix == ".safetensors":
        with open_tensors(file) as opened:
            names = [name for name in opened.keys() if opened.get_slice(name).get_dtype() not in _FLOATING]  # noqa: SIM118
            return {name: opened.get_tensor(name).dtype for name in names}
    with named_as_damaged(file, "a file of torch.save"):
        tensors = torch.load(file, map_location="meta", weights_only=True)
        return {
            name: tensor.dtype
            for name, tensor in tensors.items()
            if not tensor.is_floating_point() or tensor.element_size() == 1
        }
