"""Times a denoising step of a cell in a process that MKL has no mode in yet, as fast as users have it.

A job's own process has MKL in its reproducible mode, in which full precision looks slower (`admbench.arithmetic`). MKL
reads its mode at the first product of a process. So one that is forked before the first takes a mode of its own, and
has what its parent imported; a new one imports torch and diffusers for seconds.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

from admbench import arithmetic

_GO = b"g"


class StepTimer:
    """A forked process that waits to be told to do its one thing.

    Args:
        pid: of the process.
        go: descriptor by which it is told; when that closes, it ends.
    """

    def __init__(self, pid: int, go: int) -> None:
        self._pid: int | None = pid
        self._go = go

    def carry_out(self) -> int:
        """Let it do it, wait for its end, and return its exit code; a second time there is none left to ask.

        Raises:
            ChildProcessError: it was asked before.
        """
        if self._pid is None:
            raise ChildProcessError("the process that times a step has ended")
        pid, self._pid = self._pid, None
        with suppress(BrokenPipeError):  # it was killed while it waited: its status says so
            os.write(self._go, _GO)
        _, status = os.waitpid(pid, 0)
        return os.waitstatus_to_exitcode(status)

    def close(self) -> None:
        """End it, if it was not asked."""
        os.close(self._go)
        if self._pid is not None:
            os.waitpid(self._pid, 0)
            self._pid = None


@contextmanager
def forked_timer(work: Callable[[], None]) -> Iterator[StepTimer]:
    """Fork, in a process that has computed nothing and has one thread, one that does some work when it is told to.

    Args:
        work: what it does, with MKL as users have it.
    """
    told, go = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        os.close(go)
        _be_timer(told, work)
    os.close(told)
    timer = StepTimer(pid, go)
    try:
        yield timer
    finally:
        timer.close()


def _be_timer(told: int, work: Callable[[], None]) -> NoReturn:
    code = 1
    try:
        if os.read(told, 1) == _GO:
            arithmetic.undo()
            work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)
