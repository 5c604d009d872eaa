"""Formats of checkpoints: the packed one, and those of packages that methods are bridges to.

A folder is read by what its header says: with the key `format` it is a third party's, which the registry names;
without, it is a packed checkpoint. This module imports without torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from admbench.errors import CheckpointError, DataError, PluginError, UsageError
from admbench.files import read_json
from admbench.registry import Registry

if TYPE_CHECKING:
    from torch import nn

    from admbench.methods.core.checkpoint.header import Header
    from admbench.methods.core.checkpoint.third_party import ThirdPartyFormat, ThirdPartyHeader

BUILTIN = {
    "torchao": "admbench.methods.bridges.torchao:TorchAOFormat",
    "quanto": "admbench.methods.bridges.quanto:QuantoFormat",
    "nncf": "admbench.methods.bridges.nncf:NNCFFormat",
    "sdnq": "admbench.methods.bridges.sdnq:SDNQFormat",
    "ready-made": "admbench.methods.bridges.ready_made:ReadyMadeFormat",
}

registry = Registry("admbench.formats", "checkpoint format", BUILTIN)


def read_header(directory: str | Path) -> Header | ThirdPartyHeader:
    """Return the header of a checkpoint, checked by itself but not against the tensors.

    Raises:
        CheckpointError: there is none, it is malformed, or of a format or version that is not known; names the file.
    """
    from admbench.methods.core.checkpoint import header, third_party

    value = _third_party_value(directory)
    if value is None:
        return header.read_header(directory)
    return third_party.parse_header(value, Path(directory) / header.HEADER_FILE)


def load(directory: str | Path) -> nn.Module:
    """Return the network of a checkpoint, on the CPU, in evaluation mode, with the numbers that were packed.

    Raises:
        CheckpointError: see `load` of `core.checkpoint.reading` and of `core.checkpoint.third_party`.
    """
    from admbench.methods.core.checkpoint import reading, third_party
    from admbench.methods.core.checkpoint.header import HEADER_FILE

    if _third_party_value(directory) is None:
        return reading.load(directory)
    header = read_header(directory)
    assert isinstance(header, third_party.ThirdPartyHeader)
    return third_party.load(directory, header, _format(header.format, Path(directory) / HEADER_FILE))


def _third_party_value(directory: str | Path) -> dict[str, Any] | None:
    """Return the JSON of a header that names a format; None where the packed format's reader has to judge."""
    from admbench.methods.core.checkpoint.header import HEADER_FILE, MAX_HEADER_BYTES

    path = Path(directory) / HEADER_FILE
    if not path.is_file() or path.stat().st_size > MAX_HEADER_BYTES:
        return None
    try:
        value = read_json(path)
    except DataError:
        return None
    return value if isinstance(value, dict) and "format" in value else None


def _format(name: str, path: Path) -> ThirdPartyFormat:
    try:
        form: ThirdPartyFormat = registry.get(name)()
    except (UsageError, PluginError) as error:
        raise CheckpointError(f"{path}: format: {error}") from error
    return form
