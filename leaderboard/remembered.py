"""What a board computed before, in the user's cache: when it is built again, only what is new is computed.

An entry is named by the hash of all that it follows from: the content of files, the source of what computed it, the
packages with which. So nothing in it can be out of date, and it may be removed at any time (`bench cache prune`). What
is damaged, or cannot be written, is computed again. An entry is a pickle behind the hash of its own bytes; of what a
pickle may ask for only classes of this package and NumPy's arrays are given.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import pickle
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from admbench import cache as user_cache
from admbench.files import write_bytes_atomic
from admbench.hashing import sha256_json
from admbench.versions import common_sha256, distribution_versions, source_sha256

KIND = "boards"
"""Folder in the user's cache."""
_COMPUTED_WITH = ("numpy", "pydantic", "scipy")
_OURS = "admbench.leaderboard."
_NUMPY = {"_reconstruct", "_frombuffer", "ndarray", "dtype", "scalar"}
_DIGEST = hashlib.sha256().digest_size


def key(kind: str, parts: Iterable[str | None]) -> str:
    """Return the name of an entry.

    Args:
        kind: what is remembered.
        parts: everything that it follows from, beside our source and the packages that compute it.
    """
    return sha256_json([kind, _computed_by(), list(parts)])


@cache
def _computed_by() -> str:
    packages = distribution_versions(_COMPUTED_WITH)
    return sha256_json([source_sha256("admbench.leaderboard"), common_sha256(), packages])


def recall(name: str) -> Any:
    """Return what is remembered under a name; None if nothing is, or if it is damaged."""
    try:
        data = _path(name).read_bytes()
        if hashlib.sha256(data[_DIGEST:]).digest() != data[:_DIGEST]:
            return None
        return _Ours(io.BytesIO(data[_DIGEST:])).load()
    except (OSError, RuntimeError):  # not there, or no home where it could be
        return None
    except (pickle.UnpicklingError, AttributeError, ImportError):  # not what `remember` wrote
        return None


def remember(name: str, value: Any) -> None:
    """Remember a value that is not None, where the user's cache can be written."""
    data = pickle.dumps(value, protocol=5)
    with contextlib.suppress(OSError, RuntimeError):
        write_bytes_atomic(_path(name), hashlib.sha256(data).digest() + data, durable=False)


def file_sha256(path: Path) -> str | None:
    """Return the SHA-256 of a file, None where none can be read, as of a link, which no run folder may hold."""
    try:
        if path.is_symlink():
            return None
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def states_of(files: Iterable[Path]) -> list[tuple[int, int, int, int] | None]:
    """Return what tells whether files changed while something was computed from them; None of one missing."""
    return [_state_of(file) for file in files]


def _state_of(file: Path) -> tuple[int, int, int, int] | None:
    try:
        status = file.lstat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _path(name: str) -> Path:
    return user_cache.path(KIND, name, ".pickle")


class _Ours(pickle.Unpickler):
    """Reads what `remember` wrote, and calls nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if module.partition(".")[0] == "numpy" and name in _NUMPY:
            return super().find_class(module, name)
        if module.startswith(_OURS) and isinstance(found := getattr(importlib.import_module(module), name), type):
            return found
        raise pickle.UnpicklingError(f"{module}.{name} is not of ours")
