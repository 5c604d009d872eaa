"""One run at a time in a folder: who holds its lock, and what happens to a folder that nothing was put into."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from admbench.bench.run.disk import says_full
from admbench.bench.run.layout import RunLayout
from admbench.errors import DataError, UsageError

LOOKING_SECONDS = (0.01, 0.03, 0.06)
"""Between attempts to take a lock."""


@contextmanager
def hold(out: Path) -> Iterator[IO[str]]:
    """Make a run folder and hold it for this run alone, until the block and all that inherited the file have ended.

    Children keep the lock by keeping the file open: no other run begins where one is at work, even if the process
    that began it is gone. A folder that was made for this is removed when the block raises and left nothing in it.

    Yields:
        The open file that is locked.

    Raises:
        UsageError: another run is at work there.
        DataError: the folder cannot be made or written.
    """
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    file = _lock(out)
    try:
        yield file
    except BaseException:
        if made and [path.name for path in out.iterdir()] == [RunLayout(out).lock.name]:
            RunLayout(out).lock.unlink()
            with suppress(OSError):  # somebody else put something there
                for folder in made:
                    folder.rmdir()
        raise
    finally:
        file.close()


def is_held(out: Path) -> bool:
    """Return whether the processes of a run are at work in a folder, whoever may write there."""
    try:
        file = open(RunLayout(out).lock, encoding="ascii")  # noqa: SIM115 (closed below, with what it locks)
    except OSError:
        return False
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def unwritable(out: Path, error: OSError) -> DataError:
    """Return the one line for an output folder that cannot be written."""
    if says_full(error):
        return DataError(f"{out}: the disk is full ({error.strerror}); expected a folder with room for the run")
    return DataError(f"{out}: cannot be written ({error.strerror}); expected a folder that can")


def _take(file: IO[str]) -> None:
    """Lock a file; who only looks whether it is locked (`is_held`) has it for a moment, which is waited for."""
    for seconds in LOOKING_SECONDS:
        with suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(seconds)
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _lock(out: Path) -> IO[str]:
    path = RunLayout(out).lock
    while True:
        try:
            out.mkdir(parents=True, exist_ok=True)
            file = open(path, "w", encoding="ascii")  # noqa: SIM115 (the caller closes it)
        except OSError as error:
            raise unwritable(out, error) from None
        try:
            _take(file)
        except BlockingIOError:
            file.close()
            raise UsageError(f"{out}: another bench run is at work there") from None
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                return file
        file.close()  # its folder was removed by who held it before
