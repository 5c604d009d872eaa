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
from typing import Protocol

from admbench.bench.run.store import Store
from admbench.errors import BenchError, DataError, UsageError
from admbench.hashing import sha256_json

LEASE_SECONDS = 30.0
"""Without a change until a lease counts as left."""
_NAME = "leases/run.json"


class Place(Protocol):
    """Where a lease lies: one small object. Its methods raise a DataError where that cannot be reached."""

    url: str
    """What it is called in messages."""

    def read(self) -> bytes | None:
        """Return what it says; None if there is none."""
        ...

    def create(self, content: bytes) -> bool:
        """Write it if there is none; return whether it was written."""
        ...

    def write(self, content: bytes) -> None:
        """Write it in place of what it says."""
        ...

    def remove(self) -> None:
        """Remove it, if it is there."""
        ...


class Lease:
    """A lease that is held.

    Args:
        at: where it lies.
        owner: of this process alone.
        place: of the machine and the folder that work for it.
    """

    def __init__(self, at: Place, owner: str, place: str) -> None:
        self._at = at
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
            raise UsageError(f"{self._at.url}: {self._lost}")

    def keep(self) -> None:
        """Change it every third of its time until it is given up; for a thread of its own."""
        while not self._over.wait(LEASE_SECONDS / 3):
            self.beat()

    def beat(self) -> None:
        """Change it once; storage that does not answer now may do so the next time."""
        try:
            if (said := self._at.read()) is not None and _owner(said) != self._owner:
                self._lost = "another bench run took over there, as this one was not heard of"
                self._over.set()
                return
            self._beats += 1
            self._at.write(self.content())
        except BenchError:
            return

    def give_up(self, keeping: threading.Thread) -> None:
        """End it."""
        self._over.set()
        keeping.join()
        try:
            if self._lost is None and (said := self._at.read()) is not None and _owner(said) == self._owner:
                self._at.remove()
        except BenchError:
            return  # it is left, and found so


class _InStore:
    """Where the lease of a run lies that has storage."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.url = store.url

    def read(self) -> bytes | None:
        return self._store.read(_NAME)

    def create(self, content: bytes) -> bool:
        return self._store.create(_NAME, content)

    def write(self, content: bytes) -> None:
        self._store.write(_NAME, content)

    def remove(self) -> None:
        self._store.remove(_NAME)


@contextmanager
def hold_lease(store: Store, folder: Path) -> Iterator[Lease]:
    """Hold the lease of a run on its storage until the block ends.

    Args:
        store: of the run.
        folder: that this machine works in, which no other process does, as it is held.

    Raises:
        UsageError: another run is at work there.
        DataError: the storage does not answer.
    """
    with hold_lease_at(
        _InStore(store), sha256_json([socket.gethostname(), str(folder.resolve()), os.getuid()])
    ) as lease:
        yield lease


def is_leased(store: Store) -> bool:
    """Return whether a run holds the lease, or was killed and left it."""
    return store.read(_NAME) is not None


@contextmanager
def hold_lease_at(at: Place, place: str | None) -> Iterator[Lease]:
    """Hold a lease until the block ends; see `hold_lease`.

    Args:
        at: where it lies.
        place: what no two processes that are alive have in common: a lease of the same place is left, and taken at
            once. None is of this process alone.
    """
    owner = uuid.uuid4().hex
    lease = Lease(at, owner, place or owner)
    _take(at, lease)
    keeping = threading.Thread(target=lease.keep, daemon=True)
    keeping.start()
    try:
        yield lease
    finally:
        lease.give_up(keeping)


def _take(at: Place, lease: Lease) -> None:
    while not at.create(lease.content()):
        found = at.read()
        if found is not None and _part(found, "place") != _part(lease.content(), "place"):
            _wait_while_same(at, found)
        at.remove()  # of a run that was killed: in this folder, which is ours, or elsewhere
    if (said := at.read()) != lease.content():
        raise DataError(f"{at.url}: does not keep what is written there (a lease, {len(said or b'')} bytes)")


def _wait_while_same(at: Place, found: bytes) -> None:
    """Wait until a lease counts as left."""
    deadline = time.monotonic() + LEASE_SECONDS
    while (left := deadline - time.monotonic()) > 0:
        time.sleep(min(left, LEASE_SECONDS / 10))
        if (now := at.read()) is None:
            return
        if now != found:
            raise UsageError(f"{at.url}: another bench run is at work there")


def _owner(said: bytes) -> str | None:
    return _part(said, "owner")


def _part(said: bytes, name: str) -> str | None:
    try:
        value = json.loads(said).get(name)
    except (AttributeError, ValueError, RecursionError):
        return None
    return value if isinstance(value, str) else None
