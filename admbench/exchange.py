"""Two names change places at once, which Linux can do, but not on every file system (NFS, many in user space)."""

from __future__ import annotations

import ctypes
import errno
import os
from functools import cache
from pathlib import Path
from typing import Any

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # fcntl.h, linux/fs.h
_NOT_HERE = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EPERM)
"""How a kernel, a file system or a sandbox says that it does not exchange names."""


def exchange(first: Path, second: Path) -> bool:
    """Let what two paths name change places; return False, with nothing done, where the system cannot do that at once.

    Raises:
        OSError: it can, and refuses.
    """
    call = _renameat2()
    if call is None:
        return False
    if call(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _NOT_HERE:
        return False
    raise OSError(code, os.strerror(code), str(second))


@cache
def _renameat2() -> Any:
    """Return the call of the C library; None where it has none, as on macOS and in glibc before 2.28."""
    try:
        return getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    except (OSError, TypeError):
        return None
