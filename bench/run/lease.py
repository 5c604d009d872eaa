"""One run at a time on storage without locks: a small object that its holder changes again and again.

Who finds a lease looks whether it changes. One that stays as it is for `LEASE_SECONDS` has nobody any more: that is
told by the clock of who looks alone, so that clocks of machines need not agree. A lease spares double work; results do
not hang on it, as what is published is whole and named by its key.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from admbench.bench.run.store import Store
from admbench.errors import BenchError, DataError, UsageError
from admbench.hashing import sha256_json

LEASE_SECONDS = 30.0
"""Without a change until a lease counts as left."""
_NAME = "leases/run.json"


class Lease:
    """A lease that is held.

    Args:
        store: on which.
        owner: of this process alone.
        place: of the machine and the folder that work for it.
    """

    def __init__(self, store: Store, owner: str, place: str) -> None:
        self._store = store
        self._owner, self._place = owner, place
        self._beats = 0
        self._lost: str | None = None
        self._over = threading.Event()

    def content(self) -> bytes:
        """Return what the lease says now."""
        return json.dumps({"owner": self._owner, "place": self._place, "beats": self._beats}).encode()

    def require(self) -> None:
        """Raise a UsageError if another run holds it by now."""
        if self._lost is not None:
            raise UsageError(f"{self._store.url}: {self._lost}")

    def keep(self) -> None:
        """Change it every third of its time until it is given up; for a thread of its own."""
        while not self._over.wait(LEASE_SECONDS / 3):
            self.beat()

    def beat(self) -> None:
        """Change it once; storage that does not answer now may do so the next time."""
        try:
            if (said := self._store.read(_NAME)) is not None and _owner(said) != self._owner:
                self._lost = "another bench run took over there, as this one was not heard of"
                self._over.set()
                return
            self._beats += 1
            self._store.write(_NAME, self.content())
        except BenchError:
            return

    def give_up(self, keeping: threading.Thread) -> None:
        """End it."""
        self._over.set()
        keeping.join()
        try:
            if self._lost is None and (said := self._store.read(_NAME)) is not None and _owner(said) == self._owner:
                self._store.remove(_NAME)
        except BenchError:
            return  # it is left, and found so


@contextmanager
def hold_lease(store: Store, folder: Path) -> Iterator[Lease]:
    """Hold the lease of a run until the block ends.

    Args:
        store: of the run.
        folder: that this machine works in, which no other process does, as its lock is held.

    Raises:
        UsageError: another run is at work there.
        DataError: the storage does not answer.
    """
    lease = Lease(store, uuid.uuid4().hex, sha256_json([socket.gethostname(), str(folder.resolve()), os.getuid()]))
    _take(store, lease)
    keeping = threading.Thread(target=lease.keep, daemon=True)
    keeping.start()
    try:
        yield lease
    finally:
        lease.give_up(keeping)


def is_leased(store: Store) -> bool:
    """Return whether a run holds the lease, or was killed and left it."""
    return store.read(_NAME) is not None


def _take(store: Store, lease: Lease) -> None:
    while not store.create(_NAME, lease.content()):
        found = store.read(_NAME)
        if found is not None and _part(found, "place") != _part(lease.content(), "place"):
            _wait_while_same(store, found)
        store.remove(_NAME)  # of a run that was killed: in this folder, whose lock is ours, or elsewhere
    if (said := store.read(_NAME)) != lease.content():
        raise DataError(f"{store.url}: does not keep what is written there (a lease, {len(said or b'')} bytes)")


def _wait_while_same(store: Store, found: bytes) -> None:
    """Wait until a lease counts as left."""
    deadline = time.monotonic() + LEASE_SECONDS
    while (left := deadline - time.monotonic()) > 0:
        time.sleep(min(left, LEASE_SECONDS / 10))
        if (now := store.read(_NAME)) is None:
            return
        if now != found:
            raise UsageError(f"{store.url}: another bench run is at work there")


def _owner(said: bytes) -> str | None:
    return _part(said, "owner")


def _part(said: bytes, name: str) -> str | None:
    try:
        value = json.loads(said).get(name)
    except (AttributeError, ValueError, RecursionError):
        return None
    return value if isinstance(value, str) else None
