"""What every reader of bytes from outside promises: an answer or one line, in bounded time and memory; no code run."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from admbench.errors import BenchError

from .alterations import SENTINEL

SECONDS = 10.0
"""Of the processor; beside other work that is longer by the clock."""
PATIENCE = 40.0
"""Seconds by the clock, after which a reader waits for something that does not come."""
BYTES = 2 * 2**30
LINE = 4000
"""Characters of the longest line that is one."""


class Late(BaseException):
    """The time is over; no Exception, of which a reader might make a refusal."""


class Answer(NamedTuple):
    """What a reader did."""

    value: Any
    """What it returned; None where it refused."""
    refusal: str | None
    """The line that it refused with."""


def ask(read: Callable[[], Any], folder: Path) -> Answer:
    """Call a reader of a folder and hold it to its promises.

    Raises:
        AssertionError: it broke one; says which.
    """
    started, before = time.process_time(), os.getcwd()
    os.chdir(folder)  # where a pickle would leave its mark
    answer = Answer(None, None)
    try:
        with _bounded():
            answer = Answer(read(), None)
    except BenchError as error:
        answer = Answer(None, str(error))
    except (MemoryError, Late) as error:
        raise AssertionError(f"no answer within {PATIENCE:g} s and {BYTES >> 30} GiB: {error}") from error
    finally:
        os.chdir(before)
    assert not (folder / SENTINEL).exists(), "code from a pickle ran"
    assert time.process_time() - started < SECONDS, f"longer than {SECONDS:g} s"
    if answer.refusal is not None:
        _check_line(answer.refusal, folder)
    return answer


def _check_line(line: str, folder: Path) -> None:
    assert line.strip(), "refused without a word"
    assert len(line) <= LINE, f"{len(line)} characters: {line[:200]}"
    assert str(folder) in line, f"names no file: {line[:300]}"
    assert not any(unicodedata.category(letter) in ("Cc", "Cs") for letter in line), (
        f"more than one line: {line!r:.300}"
    )
    for word in ("allocate", "out of memory", "MemoryError", "root:x:0"):
        assert word not in line, f"{word}: {line[:300]}"


@contextlib.contextmanager
def _bounded() -> Iterator[None]:
    """End what takes too long or too much memory, where the system can."""

    def late(*_: Any) -> None:
        raise Late(f"{PATIENCE:g} s are over")

    limits = resource.getrlimit(resource.RLIMIT_AS)
    in_main = threading.current_thread() is threading.main_thread()
    if in_main:
        old = signal.signal(signal.SIGALRM, late)
        signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    used = psutil.Process().memory_info().vms
    most = used + BYTES if limits[1] == resource.RLIM_INFINITY else min(used + BYTES, limits[1])
    resource.setrlimit(resource.RLIMIT_AS, (most, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
        if in_main:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, old)
