"""Signals that stop a command as Ctrl-C does: cleanly, with the exit code that says which."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

STOPPING = (signal.SIGTERM, signal.SIGHUP)
"""Beside SIGINT: what `kill`, a scheduler and a terminal that is closed send."""


class Stopped(KeyboardInterrupt):
    """A signal asked this process to stop."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise `Stopped` inside of the block, but for one that whoever started us has ignored."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        for other in taken:  # once: what cleans up is not interrupted
            signal.signal(other, signal.SIG_IGN)
        raise Stopped(number)

    taken = {number: signal.getsignal(number) for number in STOPPING}
    taken = {number: handler for number, handler in taken.items() if handler == signal.SIG_DFL}
    for number in taken:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in taken.items():
            signal.signal(number, handler)


def signal_of(interrupt: KeyboardInterrupt) -> int:
    """Return the number of the signal that interrupted: SIGINT where nothing else is known."""
    return interrupt.number if isinstance(interrupt, Stopped) else int(signal.SIGINT)
