"""Memory of a process that is about to fork many times, in huge pages: a fork then copies one entry where it had 512.

A fork server holds half a gigabyte of what was imported, in pages of 4 KiB. To copy their entries, and to take them
down when the child ends, is most of what a short job costs. `MADV_COLLAPSE` (`man 2 madvise`, Linux 6.1) makes huge
pages of them now, whatever is set for the system. Where there is no such call, everything stays as it is.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

_COLLAPSE = 25
_SIZE = 2 << 20
"""Bytes of a huge page on x86-64, and on ARM where pages have 4 KiB."""


def collapse() -> None:
    """Put the writable memory that is this process's own, no file's and no stack's, into huge pages, as far as it goes.

    Takes half a second to a second for half a gigabyte.
    """
    if sys.platform != "linux":
        return
    advise = ctypes.CDLL(None, use_errno=True).madvise
    for line in Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines():
        place, modes, *_, inode, name = (*line.split(None, 5), "")[:6]
        if modes != "rw-p" or inode != "0" or name not in ("", "[heap]"):
            continue
        start, end = (int(bound, 16) for bound in place.split("-"))
        for page in range(-(-start // _SIZE) * _SIZE, end // _SIZE * _SIZE, _SIZE):
            advise(ctypes.c_void_p(page), ctypes.c_size_t(_SIZE), _COLLAPSE)  # one that cannot be stays as it is
