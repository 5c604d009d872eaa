"""A lease in a run folder whose file system has no locks: a small file, there only while a run is at work."""

from __future__ import annotations

from pathlib import Path

from admbench.errors import DataError
from admbench.files import write_bytes_atomic


class LeaseFile:
    """Where a lease lies in a folder; see `admbench.bench.run.lease.Place`.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.url = str(path.parent)

    def read(self) -> bytes | None:
        """Return what the lease says; None if there is none."""
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failed(error) from None

    def create(self, content: bytes) -> bool:
        """Write it if there is none; return whether it was written. NFS keeps to that from its version 3 on."""
        try:
            with open(self._path, "xb") as file:
                file.write(content)
        except FileExistsError:
            return False
        except OSError as error:
            raise self._failed(error) from None
        return True

    def write(self, content: bytes) -> None:
        """Write it in place of what it says."""
        try:
            write_bytes_atomic(self._path, content)
        except OSError as error:
            raise self._failed(error) from None

    def remove(self) -> None:
        """Remove it, if it is there."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            raise self._failed(error) from None

    def _failed(self, error: OSError) -> DataError:
        return DataError(f"{self._path}: cannot be kept ({error.strerror}); expected a folder in which a run may write")
