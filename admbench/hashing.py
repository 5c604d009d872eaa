"""Content addresses: SHA-256 of files, of JSON values and of named tensors."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from admbench import cache
from admbench.errors import DataError
from admbench.files import write_text_atomic

REMEMBERED_BYTES = 2**20
"""Of a file that is so large its hash is remembered: a smaller one is hashed in a millisecond."""
SETTLED_SECONDS = 2.0
"""Since a file last changed: within the tick of a file system's clock it may change again and look the same."""


def sha256_file(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remembered_sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file; of a large one that has not changed since, as it was when it was last asked for.

    What has not changed has the same place, size, inode, and times of its content and of its inode: the latter is not
    to be set by a user, so that a file with another content and its old date is hashed again. Where the user's cache
    cannot be written, where a file system has no inodes, and of a file that has just changed, nothing is remembered.

    Raises:
        DataError: it is a pipe, a device or a folder.
        OSError: it is missing, or cannot be read.
    """
    path = Path(path)
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{path}: expected a regular file")
    if status.st_size < REMEMBERED_BYTES:
        return sha256_file(path)
    seen = [str(path.resolve()), status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
    try:
        known = cache.path("hashes", sha256_json(seen), ".txt")
        digest, _, check = known.read_text(encoding="ascii").partition(" ")
        if check == sha256_json([seen, digest]):
            return digest
    except (OSError, RuntimeError, ValueError):
        pass  # not remembered, or no home to remember it in
    digest = sha256_file(path)
    if status.st_ino and _settled(status) and _unchanged(path, status):
        with contextlib.suppress(OSError, RuntimeError):
            write_text_atomic(
                cache.path("hashes", sha256_json(seen), ".txt"), f"{digest} {sha256_json([seen, digest])}"
            )
    return digest


def _settled(status: os.stat_result) -> bool:
    return time.time() - max(status.st_mtime, status.st_ctime) > SETTLED_SECONDS


def _unchanged(path: Path, before: os.stat_result) -> bool:
    """Whether a file is still as it was before it was read."""
    now = path.stat()
    return (now.st_ino, now.st_size, now.st_ctime_ns) == (before.st_ino, before.st_size, before.st_ctime_ns)


def sha256_json(value: Any) -> str:
    """Return the SHA-256 of a JSON value in canonical form (sorted keys, no spaces); NaN and infinity are errors.

    >>> sha256_json({"a": 1, "b": 2}) == sha256_json({"b": 2, "a": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_tensors(tensors: Mapping[str, Any]) -> str:
    """Return the SHA-256 over name, dtype, shape and bytes of each tensor, whatever the order of the mapping.

    Args:
        tensors: name -> numpy array or torch tensor of any dtype and device. An array and a tensor that hold the same
            numbers in the same dtype hash alike.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        dtype, shape, data = _raw(tensors[name])
        digest.update(json.dumps([name, dtype, shape]).encode())
        digest.update(data)
    return digest.hexdigest()


def _raw(tensor: Any) -> tuple[str, list[int], bytes]:
    import numpy as np

    if isinstance(tensor, np.ndarray):
        return str(tensor.dtype), list(tensor.shape), np.ascontiguousarray(tensor).tobytes()
    import torch

    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return str(tensor.dtype).removeprefix("torch."), list(tensor.shape), flat.view(torch.uint8).numpy().tobytes()
