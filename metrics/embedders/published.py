"""Weights that others published: where they are looked for, and how their pickles are read without running code.

Imports no torch until a file is read, so that planning a run can look for weights.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from admbench.errors import CheckpointError
from admbench.weights import WEIGHTS_VARIABLE, weights_folder


@dataclass(frozen=True)
class Published:
    """A file of weights, and how a user gets it."""

    name: str
    """Its name in the folder of weights."""
    command: str
    """Shell command that puts it there."""

    @classmethod
    def at(cls, name: str, url: str) -> Published:
        """Return a file that is one download."""
        return cls(name, f'wget -O "${WEIGHTS_VARIABLE}/{name}" {url}')

    def find(self, judge: str, explicit: str | None) -> Path:
        """Return where the weights are: at the explicit path if there is one, else in `$ADMBENCH_WEIGHTS`.

        Raises:
            CheckpointError: not there; says what was expected, where it was looked for, and how to get it.
        """
        folder = weights_folder()
        if explicit is not None:
            path, where = Path(explicit), f"{explicit}: no such file"
        elif folder:
            path, where = folder / self.name, f"{self.name} is not in ${WEIGHTS_VARIABLE} ({folder})"
        else:
            path, where = None, f"${WEIGHTS_VARIABLE}, the folder to look for {self.name} in, is not set"
        if path is None or not path.expanduser().is_file():
            raise CheckpointError(f"{judge}: no weights: {where}; to get them: {self.command}")
        return path.expanduser().resolve()


def load_pickle(path: Path, key: str | None) -> dict[str, Any]:
    """Return the tensors that a published .pth or .pt file holds, by name, on the CPU.

    Args:
        path: of the file.
        key: that the tensors are under; None where they are all that the file holds.

    Only tensors, containers and plain numpy arrays and numbers are unpickled: some of the published files keep the
    state of the training sampler or a best score beside the tensors, as numpy objects. Nothing else is let through.

    Raises:
        CheckpointError: unreadable, not a dictionary with that key, or a pickle that asks for more; names the file.
    """
    import torch

    try:
        with torch.serialization.safe_globals(_numpy_data()):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if not any(asks in str(error) for asks in ("Unsupported global", "Unsupported class", "Trying to call")):
            raise CheckpointError(f"{path}: not a readable checkpoint ({_first_line(error)})") from error
        raise CheckpointError(
            f"{path}: not loaded, because this pickle asks for more than tensors; if you trust its origin, keep"
            f" its tensors alone: {_conversion(path, key)}"
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path}: not a readable checkpoint ({_first_line(error)})") from error
    tensors = content.get(key) if key is not None and isinstance(content, dict) else content
    if not isinstance(tensors, dict) or not (key or all(isinstance(one, torch.Tensor) for one in tensors.values())):
        raise CheckpointError(f"{path}: expected a dictionary with the tensors" + (f' under "{key}"' if key else ""))
    return dict(tensors)


def load_strictly(network: Any, tensors: dict[str, Any], path: Path) -> None:
    """Put tensors into a network made on the meta device; each has a destination of its shape, and none is left over.

    Raises:
        CheckpointError: they do not fit; names the file and the first key at fault.
    """
    expected = network.state_dict()
    for problem, keys in (("lacks", expected.keys() - tensors.keys()), ("has", tensors.keys() - expected.keys())):
        if keys:
            raise CheckpointError(f"{path}: not this network's weights: {problem} {min(keys)} ({len(keys)} such keys)")
    for key, tensor in expected.items():
        if tensors[key].shape != tensor.shape:
            found, wanted = tuple(tensors[key].shape), tuple(tensor.shape)
            raise CheckpointError(f"{path}: not this network's weights: {key} is {found}, expected {wanted}")
    network.load_state_dict(tensors, strict=True, assign=True)
    network.requires_grad_(False)


def _numpy_data() -> list[Any]:
    """What numpy arrays and numbers are pickled as, by the names of numpy 1 and of numpy 2."""
    multiarray = np.array(0).__reduce__()[0].__module__  # numpy.core.multiarray or numpy._core.multiarray
    module = __import__(multiarray, fromlist=["scalar"])
    functions = [
        (getattr(module, name), f"numpy.{core}.multiarray.{name}")
        for core in ("core", "_core")
        for name in ("scalar", "_reconstruct")
    ]
    kinds = {type(np.dtype(kind)) for kind in ("i1", "i2", "i4", "i8", "u1", "u4", "u8", "f2", "f4", "f8", "?")}
    return [*functions, np.ndarray, np.dtype, *kinds]


def _conversion(path: Path, key: str | None) -> str:
    """Return the command that writes the tensors of a pickle to a new file; it runs what the pickle says."""
    new = path.with_stem(f"{path.stem}-tensors")
    kept = "dict(d)" if key is None else f"{{'{key}': d['{key}']}}"
    return (
        f"python -c \"import torch; d = torch.load('{path}', map_location='cpu', weights_only=False);"
        f" torch.save({kept}, '{new}')\""
    )


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
