"""Which number of threads a network is fastest with just now, found by timing its own calls as neighbours come and go.

A network is some hundred operators, and OpenMP's threads wait for each other at the end of each. On idle cores more of
them are faster. Where another process takes a core, each wait lasts until the system lets the thread that is late run
again: two threads may then take nine times as long as one. No number is right for both, so calls choose it themselves.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from admbench.bench.measurement.timing import OtherWork

LOOKING = 0.05
"""Share of the time that may be lost by looking again at numbers of threads that were slower."""
_LOOKING_AFTER_CHANGE = 0.25
"""The same, where other processes have become fewer."""
_KEPT = 3
"""Calls of each number that count, the latest."""
_SLOWER = 1.2
"""Where a number takes this many times as long as the best, smaller ones are not tried."""
_AGAIN = 10
"""Calls before a number that was slower is looked at again."""
_FEWER = 0.3
"""Cores; other processes that keep so many fewer busy are a change."""
_WINDOW = 0.5
"""Seconds over which other processes are watched; the system counts in hundredths."""


class ThreadChoice:
    """The number of threads for the next call, from how long the calls before it took.

    All numbers of `counts` are tried once, from the most on, until they only get slower. The one of the smallest median
    of its latest calls is used from then on. Every call counts, so what gets slower is left at once; the others are
    looked at again now and then, as often as costs no more than `LOOKING`, and at once where other processes have
    become fewer.

    Args:
        most: threads.
    """

    def __init__(self, most: int) -> None:
        halves = [most >> by for by in range(1, most.bit_length())]
        self.counts = tuple(sorted({most, max(most - 1, 1), *halves}, reverse=True))
        """What is chosen from: all cores, all but one, and halves of them."""
        self.used: list[int] = []
        """The number that each call had, in order."""
        self._latest: dict[int, deque[float]] = {}
        self._last_used: dict[int, int] = {}
        self._others: float | None = None
        self._lost = self._spent = 0.0

    @property
    def searching(self) -> bool:
        """Whether there are numbers that are yet to be tried."""
        return self._untried() is not None

    @property
    def best(self) -> int:
        """The number that is fastest as far as is known."""
        return min(self._latest, key=self._seconds, default=self.counts[0])

    @property
    def next(self) -> int:
        """The number of threads for the next call."""
        untried = self._untried()
        if untried is not None:
            return untried
        best = self.best
        for count in sorted(self._latest, key=self._seconds)[1:]:
            loss = self._seconds(count) - self._seconds(best)
            rested = len(self.used) - self._last_used[count] >= _AGAIN
            if rested and self._lost + loss <= LOOKING * self._spent:
                return count
        return best

    def took(self, count: int, seconds: float, others: float | None = None) -> None:
        """Note a call.

        Args:
            count: threads that it had.
            seconds: it took.
            others: cores that other processes kept busy lately; None where it is not known.
        """
        known = count in self._last_used
        if self._latest and count != self.best:
            self._lost += max(0.0, seconds - self._seconds(self.best))
        self._spent += seconds
        self._last_used[count] = len(self.used)
        self.used.append(count)
        if known:  # else the first call with so many threads, in which libraries prepare for them
            self._latest.setdefault(count, deque(maxlen=_KEPT)).append(seconds)
        if others is None or self.searching:
            return
        if self._others is None:
            self._others = others
        elif (
            others <= self._others - _FEWER
            and self.best != self.counts[0]
            and self._lost <= _LOOKING_AFTER_CHANGE * self._spent
        ):
            self._latest.clear()
            self._others = None
        else:
            self._others = max(self._others, others)

    def _untried(self) -> int | None:
        """Return the largest number that is not known, None where one that is larger was slower than its betters."""
        fastest = float("inf")
        for count in self.counts:
            if count not in self._latest:
                return count
            if self._seconds(count) > _SLOWER * fastest:
                return None
            fastest = min(fastest, self._seconds(count))
        return None

    def _seconds(self, count: int) -> float:
        return float(np.median(self._latest[count]))


@contextmanager
def fastest_threads(module: nn.Module, most: int) -> Iterator[ThreadChoice]:
    """Let every call of a module inside of the block have the number of threads that it is fastest with just now.

    What is around the calls keeps the number that it has.

    Integers are the same for any number of threads; sums of floating point beside them may differ in their last bits.
    So clips that are to be made again are made with a number that does not change.

    Args:
        module: whose calls are timed; all of its operators are synchronous, as those of a CPU are.
        most: threads that it may have.
    """
    choice, watched = ThreadChoice(most), _Watched()
    before, count, began = 0, 0, 0.0

    def begin(module: nn.Module, args: Any) -> None:
        nonlocal before, count, began
        before, count = torch.get_num_threads(), choice.next
        torch.set_num_threads(count)
        began = time.perf_counter()

    def end(module: nn.Module, args: Any, output: Any) -> None:
        choice.took(count, time.perf_counter() - began, watched.others())
        torch.set_num_threads(before)

    hooks = [module.register_forward_pre_hook(begin), module.register_forward_hook(end)]
    try:
        yield choice
    finally:
        for hook in hooks:
            hook.remove()


class _Watched:
    """What other processes do, window after window."""

    def __init__(self) -> None:
        self._since, self._window = time.perf_counter(), OtherWork()

    def others(self) -> float | None:
        """Return the cores that they kept busy in the window that ends now, None where it has not lasted."""
        now = time.perf_counter()
        if now - self._since < _WINDOW:
            return None
        busy = self._window.cores()
        self._since, self._window = now, OtherWork()
        return busy


def short_products_ms(count: int) -> float:
    """Return how long a hundred short products, one after the other, take with a number of threads now, milliseconds.

    They are as short as those of a small network: what threads cost each other shows in them.
    """
    numbers = torch.linspace(-1, 1, 256 * 256).view(256, 256)
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        fastest = float("inf")
        for _ in range(3):
            began = time.perf_counter()
            for _ in range(100):
                numbers @ numbers
            fastest = min(fastest, time.perf_counter() - began)
    finally:
        torch.set_num_threads(before)
    return fastest * 1e3
