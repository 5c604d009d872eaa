"""One run at a time in a folder: who holds its lock, and what happens to a folder that nothing was put into.

The lock is `flock`. Some file systems that machines share have none, and say so: there a lease takes its place
(`admbench.bench.run.lease`). Others lock for each machine alone, which cannot be told from here.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from admbench.bench.run.disk import says_full
from admbench.bench.run.layout import RunLayout
from admbench.bench.run.lease import Lease, hold_lease_at
from admbench.bench.run.lease_file import LeaseFile
from admbench.errors import DataError, UsageError

LOOKING_SECONDS = (0.01, 0.03, 0.06)
"""Between attempts to take a lock."""
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})
"""What a file system without `flock` answers: NFS without a lock daemon, Lustre mounted without it."""


@dataclass(frozen=True)
class Held:
    """A run folder that is held."""

    file: IO[str]
    """That is locked, where there are locks."""
    lease: Lease | None
    """In place of a lock, where there are none."""


@contextmanager
def hold(out: Path) -> Iterator[Held]:
    """Make a run folder and hold it for this run alone, until the block and all that inherited the file have ended.

    Children keep the lock by keeping the file open: no other run begins where one is at work, even if the process
    that began it is gone. A folder that was made for this is removed when the block raises and left nothing in it.

    Where the file system has no locks a lease is held, which another machine without locks honours too. Whoever was
    killed holds that for half a minute more.

    Raises:
        UsageError: another run is at work there.
        DataError: the folder cannot be made or written.
    """
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    file, locked = _lock(out)
    try:
        at = RunLayout(out).lease
        enough = locked and not at.exists()  # it may be there of a machine that mounts the folder without locks
        with nullcontext() if enough else hold_lease_at(LeaseFile(at), None) as lease:
            yield Held(file, lease)
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
    """Return whether the processes of a run are at work in a folder, whoever may write there.

    Where the file system has no locks a run that was killed counts as at work until the next one.
    """
    try:
        file = open(RunLayout(out).lock, encoding="ascii")  # noqa: SIM115 (closed below, with what it locks)
    except OSError:
        return False
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError as error:
            if not lacks_locks(error):
                raise
    return RunLayout(out).lease.exists()


def lacks_locks(error: OSError) -> bool:
    """Return whether a file could not be locked because its file system has no locks."""
    return error.errno in _NO_LOCKS


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


def _lock(out: Path) -> tuple[IO[str], bool]:
    """Return the open lock file of a folder, and whether it is locked: where there are no locks it is not."""
    path = RunLayout(out).lock
    while True:
        try:
            out.mkdir(parents=True, exist_ok=True)
            file = open(path, "w", encoding="ascii")  # noqa: SIM115 (the caller closes it)
        except OSError as error:
            raise unwritable(out, error) from None
        locked = True
        try:
            _take(file)
        except BlockingIOError:
            file.close()
            raise UsageError(f"{out}: another bench run is at work there") from None
        except OSError as error:
            if not lacks_locks(error):
                file.close()
                raise unwritable(out, error) from None
            locked = False
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                return file, locked
        file.close()  # its folder was removed by who held it before
