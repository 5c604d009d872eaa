"""No process outlives who answers for it: processes end with their parent, and those that lost it are found.

A process group is not enough: whoever calls `setsid`, or is a daemon's child, has left it. So a process that answers
for others takes in the orphans among its descendants (`PR_SET_CHILD_SUBREAPER`), which are then its own children, and
ends them; and a process that is killed without a chance to do so takes its children with it (`PR_SET_PDEATHSIG`).
Both are Linux's (`man 2 prctl`); elsewhere these functions do what can be done without.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Collection
from contextlib import suppress

import psutil

ENDING_SECONDS = 5.0
"""Until descendants that start others faster than they are killed are left alone."""
_SET_PDEATHSIG = 1
_SET_CHILD_SUBREAPER = 36


def end_with_parent(parent: int, number: int = signal.SIGKILL) -> None:
    """Let the kernel send this process a signal when its parent ends; now, if that has ended already.

    Args:
        parent: process id of the parent, as it was known before this process was started.
        number: the signal; 0 takes the wish back.
    """
    _prctl(_SET_PDEATHSIG, number)
    if number and os.getppid() != parent:  # it ended before the kernel knew
        os._exit(1)


def adopt_orphans() -> None:
    """Become the parent of every descendant that loses its own."""
    _prctl(_SET_CHILD_SUBREAPER, 1)


def end_descendants(but: Collection[int] = ()) -> None:
    """Kill the children of this process, with all that they started, and wait until they are gone.

    Args:
        but: children that stay, with all that they started.
    """
    if not but and not _has_children():  # looking through all processes takes longer
        return
    deadline = time.monotonic() + ENDING_SECONDS
    while time.monotonic() < deadline:
        children = [child for child in psutil.Process().children() if child.pid not in but]
        if not children:
            return
        for child in children:
            with suppress(psutil.Error):
                for each in (*child.children(recursive=True), child):
                    with suppress(psutil.Error):
                        each.kill()
            with suppress(ChildProcessError):
                os.waitpid(child.pid, 0)


def _has_children() -> bool:
    """Return whether this process has a child, running or not waited for."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def kill_group(leader: int) -> None:
    """Kill the process group of a child that was not waited for yet, so that its id is nobody else's."""
    with suppress(ProcessLookupError, PermissionError):  # it never had a group; another user's
        os.killpg(leader, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)
