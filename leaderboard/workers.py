"""Other processes for boards of many records: one pool, which reading, concluding and writing pages take in turn."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from multiprocessing.connection import wait
from typing import Any

Mapped = Callable[..., Iterable[Any]]
"""Calls a function of a module with each entry of some iterables, like `map`, and gives the results in their order."""

_POOL: ContextVar[Mapped | None] = ContextVar("pool", default=None)


@contextmanager
def workers(processes: int) -> Iterator[Mapped]:
    """Give what maps over some processes; with fewer than 2 that is `map`, here and when the result is read.

    They are started anew, as `multiprocessing` does: a script that asks for them needs its `if __name__ == "__main__"`.
    Inside of another `workers`, those of the outer one are given: a process takes a second of a processor to start.
    """
    outer = _POOL.get()
    if outer is not None or processes < 2:
        yield outer or map
        return
    # a fork would inherit the locks that threads of this process hold
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_end_with_parent) as pool:
        token = _POOL.set(pool.map)
        try:
            yield pool.map
        finally:
            _POOL.reset(token)


def _end_with_parent() -> None:
    """End this process when the one that started it does: it would wait for ever for work from one that was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
