"""What a child process leaves for its parent: anything may stand there, and nothing of it may harm who reads it.

Children run other people's code, which can write, replace or remove each of these files. So they are read as regular
files alone, without waiting (a pipe would hang whoever opens it), no further than a limit, whatever the bytes; and
what is shown of them is one short line that hides nothing (`admbench.plain_text`).
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from admbench.plain_text import visible

MOST_CHARACTERS = 2000
"""Of a reason."""
MOST_OF_A_STAGE = 60
_MOST_BYTES = 65536


def read_tail(path: Path, most: int = _MOST_BYTES) -> bytes | None:
    """Return the last bytes of a regular file; None if there is none, or it cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return None
        return os.pread(descriptor, most, max(0, status.st_size - most))
    except OSError:
        return None
    finally:
        os.close(descriptor)


def said_stage(path: Path) -> str:
    """Return the stage that a child last began; `start` before the first."""
    said = read_tail(path, 4 * MOST_OF_A_STAGE)
    return visible((said or b"").decode("utf-8", "replace"), MOST_OF_A_STAGE) or "start"


def said_reason(path: Path) -> str | None:
    """Return the reason that a child left in its last moments as `{"reason": "..."}`; None if it left none."""
    said = read_tail(path)
    try:
        value: Any = json.loads(said or b"")
    except (ValueError, RecursionError):
        return None
    reason = value.get("reason") if isinstance(value, dict) else None
    return (visible(reason, MOST_CHARACTERS) or None) if isinstance(reason, str) else None


def last_line(log: Path) -> str:
    """Return the last line of a log that says something."""
    lines = (read_tail(log) or b"").decode("utf-8", "replace").split("\n")
    return next((shown for line in reversed(lines) if (shown := visible(line, MOST_CHARACTERS))), "no message")
