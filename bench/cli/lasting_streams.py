"""Standard streams that outlive whoever reads them: what a command says may be lost, what it does is not."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO


class LastingStream:
    """A stream that nothing is said to any more once it cannot be written, as when a pipe or a terminal is closed.

    Args:
        stream: where it goes until then.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write what can be written."""
        try:
            return self._stream.write(text)
        except OSError:
            _to_nowhere(self._stream)
            return len(text)

    def flush(self) -> None:
        """Flush what can be flushed."""
        try:
            self._stream.flush()
        except OSError:
            _to_nowhere(self._stream)


@contextmanager
def lasting_streams() -> Iterator[None]:
    """Let no line that cannot be written any more end the block."""
    out, err = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = LastingStream(out), LastingStream(err)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.stdout, sys.stderr = out, err


def open_missing_streams() -> None:
    """Put nothing in the place of standard streams that are closed, or a file that is opened later takes it."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)  # the lowest that is free: the one that is missing
            if descriptor == number:
                os.set_inheritable(descriptor, True)
            setattr(sys, name, open(descriptor, "r" if number == 0 else "w", encoding="utf-8"))  # noqa: SIM115 (for good)


def _to_nowhere(stream: TextIO) -> None:
    """Let what a stream still holds, and whatever comes, go nowhere: at its end the process flushes it again."""
    with suppress(OSError):  # a stream of the tests has no descriptor
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, stream.fileno())
        finally:
            os.close(nowhere)
