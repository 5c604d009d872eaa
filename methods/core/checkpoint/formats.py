"""Formats of checkpoints: the packed one, and those of packages that methods are bridges to.

A folder is read by what its header says: with the key `format` it is a foreign one, which the registry names; without,
it is a packed checkpoint. This module imports without torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from admbench.errors import CheckpointError, DataError, PluginError, UsageError
from admbench.files import read_json
from admbench.registry import Registry

if TYPE_CHECKING:
    from torch import nn

    from admbench.methods.core.checkpoint.packed import Header
    from admbench.methods.core.third_party import ForeignFormat, ForeignHeader

BUILTIN = {
    "torchao": "admbench.methods.bridges.torchao:TorchAOFormat",
    "quanto": "admbench.methods.bridges.quanto:QuantoFormat",
    "nncf": "admbench.methods.bridges.nncf:NNCFFormat",
}

registry = Registry("admbench.formats", "checkpoint format", BUILTIN)


def read_header(directory: str | Path) -> Header | ForeignHeader:
    """Return the header of a checkpoint, checked by itself but not against the tensors.

    Raises:
        CheckpointError: there is none, it is malformed, or of a format or version that is not known; names the file.
    """
    from admbench.methods.core import third_party as foreign
    from admbench.methods.core.checkpoint import packed as checkpoint

    value = _foreign_value(directory)
    if value is None:
        return checkpoint.read_header(directory)
    return foreign.parse_header(value, Path(directory) / checkpoint.HEADER_FILE)


def load(directory: str | Path) -> nn.Module:
    """Return the network of a checkpoint, on the CPU, in evaluation mode, with the numbers that were packed.

    Raises:
        CheckpointError: see `load` of `core.checkpoint.packed` and of `core.third_party`.
    """
    from admbench.methods.core import third_party as foreign
    from admbench.methods.core.checkpoint import packed as checkpoint

    if _foreign_value(directory) is None:
        return checkpoint.load(directory)
    header = read_header(directory)
    assert isinstance(header, foreign.ForeignHeader)
    return foreign.load(directory, header, _format(header.format, Path(directory) / checkpoint.HEADER_FILE))


def _foreign_value(directory: str | Path) -> dict[str, Any] | None:
    """Return the JSON of a header that names a format; None where the packed format's reader has to judge."""
    from admbench.methods.core.checkpoint.packed import HEADER_FILE, MAX_HEADER_BYTES

    path = Path(directory) / HEADER_FILE
    if not path.is_file() or path.stat().st_size > MAX_HEADER_BYTES:
        return None
    try:
        value = read_json(path)
    except DataError:
        return None
    return value if isinstance(value, dict) and "format" in value else None


def _format(name: str, path: Path) -> ForeignFormat:
    try:
        form: ForeignFormat = registry.get(name)()
    except (UsageError, PluginError) as error:
        raise CheckpointError(f"{path}: format: {error}") from error
    return form
