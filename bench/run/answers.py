"""What a child process leaves for its parent: anything may stand there, and nothing of it may harm who reads it.

Children run other people's code, which can write, replace or remove each of these files. So they are read as regular
files alone, without waiting (a pipe would hang whoever opens it), no further than a limit, whatever the bytes; and
what is shown of them is one short line without characters that move the cursor or turn the text around.
"""

from __future__ import annotations

import json
import os
import stat
import unicodedata
from pathlib import Path
from typing import Any

MOST_CHARACTERS = 2000
"""Of a reason."""
MOST_OF_A_STAGE = 60
_MOST_BYTES = 65536
_INVISIBLE = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
"""Unicode categories: control, format (text direction among them), surrogate, private, unassigned, line ends."""


def one_line(text: str, most: int = MOST_CHARACTERS) -> str:
    """Return text as one line of printable characters, cut after `most` of them.

    >>> one_line("two \\x1b[31m lines\\n of\\u202e it")
    'two [31m lines of it'
    >>> one_line("a long reason", 8)
    'a lon...'
    """
    spaced = " ".join(text[: 4 * most].split())
    shown = "".join(letter for letter in spaced if unicodedata.category(letter) not in _INVISIBLE)
    shown = " ".join(shown.split())
    return shown if len(shown) <= most else shown[: most - 3] + "..."


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
    return one_line((said or b"").decode("utf-8", "replace"), MOST_OF_A_STAGE) or "start"


def said_reason(path: Path) -> str | None:
    """Return the reason that a child left in its last moments as `{"reason": "..."}`; None if it left none."""
    said = read_tail(path)
    try:
        value: Any = json.loads(said or b"")
    except (ValueError, RecursionError):
        return None
    reason = value.get("reason") if isinstance(value, dict) else None
    return (one_line(reason) or None) if isinstance(reason, str) else None


def last_line(log: Path) -> str:
    """Return the last line of a log that says something."""
    lines = (read_tail(log) or b"").decode("utf-8", "replace").split("\n")
    return next((shown for line in reversed(lines) if (shown := one_line(line))), "no message")
