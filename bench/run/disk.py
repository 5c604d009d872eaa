"""Whether there is room where a run writes, found by writing: neither an exit code nor a message of a child says it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

PROBE = ".probe"
"""The file that is written; where a process ended with it, the next one writes over it."""
_PROBE_BYTES = 1 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT)


def probe(folder: Path) -> None:
    """Write, flush and remove a megabyte.

    Raises:
        OSError: it cannot be written.
    """
    file = folder / PROBE
    try:
        with open(file, "wb") as opened:
            opened.write(bytes(_PROBE_BYTES))
            opened.flush()
            os.fsync(opened.fileno())
    finally:
        file.unlink(missing_ok=True)


def says_full(error: OSError) -> bool:
    """Return whether an error says that a disk, or a user's share of it, is full."""
    return error.errno in _FULL


def is_full(folder: Path) -> bool:
    """Return whether a megabyte does not fit into a folder any more."""
    try:
        probe(folder)
    except OSError as error:
        return says_full(error)
    return False
