"""One process at a time changes a run folder."""

from __future__ import annotations

import errno
import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from admbench.bench.run.layout import RunLayout
from admbench.errors import DataError, UsageError


@contextmanager
def hold(out: Path) -> Iterator[None]:
    """Make a run folder and hold it for this process alone.

    Raises:
        UsageError: another process is at work there.
        DataError: the folder cannot be made or written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        file = open(RunLayout(out).lock, "w", encoding="ascii")  # noqa: SIM115 (closed below)
    except OSError as error:
        raise unwritable(out, error) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"{out}: another bench run is at work there") from None
        yield


def unwritable(out: Path, error: OSError) -> DataError:
    """Return the one line for an output folder that cannot be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DataError(f"{out}: the disk is full ({error.strerror}); expected a folder with room for the run")
    return DataError(f"{out}: cannot be written ({error.strerror}); expected a folder that can")
