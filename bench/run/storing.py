"""What storage adds to a run: which jobs are finished there, what a job needs of it, and what a job leaves."""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from admbench import cache
from admbench.bench.run.finished import is_done
from admbench.bench.run.jobs import CellJob, Job
from admbench.bench.run.layout import JobFolder
from admbench.bench.run.lock import lacks_locks
from admbench.bench.run.products import is_sealed
from admbench.bench.run.store import Store
from admbench.errors import BenchError, DataError
from admbench.files import remove, slug, write_bytes_atomic
from admbench.hashing import sha256_json


class Finished:
    """Says which jobs are finished: on this disk or, where the run has storage, there.

    Of a cell all is fetched to this disk, where the board and whoever looks at the run read it.
    """

    def __init__(self, store: Store | None) -> None:
        self._store = store
        self._keys = set() if store is None else store.keys()

    def __call__(self, job: Job, *, whole: bool = False) -> bool:
        """Return whether a job need not be carried out; see `finished.is_done`."""
        if self._store is None:
            return is_done(job, whole=whole)
        if job.key not in self._keys:
            return False
        return not isinstance(job, CellJob) or is_done(job, whole=whole) or self._store.pull(job.key, job.target.path)

    def settle(self, job: Job) -> bool:
        """Return whether a job that is said to have ended well left its product, of a cell after fetching it.

        Raises:
            DataError: the storage does not give it.
        """
        if self._store is None:
            return is_done(job)
        if not isinstance(job, CellJob):
            return is_done(job) or self._store.holds(job.key)
        return self._store.pull(job.key, job.target.path) and is_done(job)

    def fetch_log(self, job: Job) -> None:
        """Put what a failed job said on another machine into its folder here."""
        if self._store is None or job.work.log.is_file():
            return
        with suppress(BenchError, OSError):  # its reason is known without
            said = self._store.log(job.key)
            if said is not None:
                write_bytes_atomic(job.work.log, said)


def fetch_inputs(job: Job, store: Store) -> None:
    """Bring what a job reads to the run folder of this machine, each once for all jobs here.

    Raises:
        DataError: it is not there, or the storage does not give it.
    """
    for name, key in job.reads.items():
        target = job.run / name
        with _alone(job.run):
            if is_sealed(JobFolder(target), key, whole=False) or store.pull(key, target):
                continue
        raise DataError(f"{store.url}: {name} is not there whole; the same command makes it again")


def at_this_node(job: Job) -> Job:
    """Return a job with a run folder on this machine's own disk, where its run has storage that all machines reach."""
    if job.store is None:
        return job
    node = slug(socket.gethostname())
    return job.model_copy(update={"run": cache.root() / "nodes" / node / slug(job.store)})


def tidy_node(job: Job) -> None:
    """Remove from this machine's own disk what is safe at the storage and what no other job reads."""
    if isinstance(job, CellJob):
        for folder in (job.target.path, job.quantized.path, job.parts):
            with suppress(OSError):
                remove(folder)


@contextmanager
def _alone(run: Path) -> Iterator[None]:
    """Be the only process of this machine that fetches into a run folder."""
    run.mkdir(parents=True, exist_ok=True)
    with open(run / ".fetching", "ab") as file, ExitStack() as ending:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            if not lacks_locks(error):
                raise
            ending.enter_context(_alone_by_name(run))
        yield


@contextmanager
def _alone_by_name(run: Path) -> Iterator[None]:
    """The same where the folder's file system has no locks: by a file in this machine's own folder for such."""
    path = Path(tempfile.gettempdir()) / f"admbench-fetching-{os.getuid()}-{sha256_json(str(run.resolve()))[:16]}"
    number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(number, fcntl.LOCK_EX)
        yield
    finally:
        os.close(number)
