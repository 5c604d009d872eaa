"""Timing calls side by side: interleaved, warmed up, every raw value kept, and what else the machine was doing."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psutil
import torch

from admbench.progress import track

WARM_UP = 3
"""Calls of each before the first that counts."""
REPEATS = 10
LEAST_REPEATS = 3
"""Calls of each that count, however long one takes."""


@dataclass
class Samples:
    """What was timed of one call."""

    first_ms: float
    """The very first call, which includes what is done once, such as arranging weights."""
    values_ms: list[float] = field(default_factory=list)
    """Every timed repetition after the warm-up, in order."""

    @property
    def median_ms(self) -> float:
        """Median of the repetitions."""
        return float(np.median(self.values_ms))

    def to_json(self) -> dict[str, Any]:
        """Return median, 10th and 90th percentile and all values, milliseconds: `Timing` of the record."""
        p10, median, p90 = np.percentile(self.values_ms, [10, 50, 90]).tolist()
        return {"median": median, "p10": p10, "p90": p90, "values": self.values_ms}


def interleave(
    calls: Mapping[str, Callable[[], object]],
    *,
    warm_up: int = WARM_UP,
    repeats: int = REPEATS,
    limit_seconds: float | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Samples]:
    """Time several calls in rounds: each round makes every call once, so that a slow minute slows all of them.

    Args:
        calls: what to time, by name; called in this order.
        warm_up: rounds that do not count, at least 1; the first call of each is kept apart.
        repeats: rounds that count.
        limit_seconds: when a further round would end later than this, warming up stops after its first round, and
            timing after `LEAST_REPEATS`; None sets no limit.
        clock: seconds.
    """
    started, longest = clock(), 0.0
    samples: dict[str, Samples] = {}

    def time_is_up(rounds: int) -> bool:
        return limit_seconds is not None and clock() - started + rounds * longest > limit_seconds

    for number in track(range(warm_up + repeats), "Timing"):
        counted = number - warm_up
        if counted >= LEAST_REPEATS and time_is_up(1):
            break
        if 0 < number < warm_up and time_is_up(1 + LEAST_REPEATS):
            continue
        round_started = clock()
        for name, call in calls.items():
            before = clock()
            call()
            spent = (clock() - before) * 1e3
            if name not in samples:
                samples[name] = Samples(spent)
            elif counted >= 0:
                samples[name].values_ms.append(spent)
        longest = clock() - round_started
    return samples


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Give torch's operators a number of threads inside of the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class OtherWork:
    """How busy other processes keep the machine while this one measures."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._all, self._own = _busy_seconds(), time.process_time()

    def cores(self) -> float:
        """Return the mean number of cores that other processes have used since this object was made.

        The system counts in hundredths of a second: over a moment as short the quotient may exceed the cores there are.
        """
        seconds = max(time.perf_counter() - self._started, 1e-9)
        others = (_busy_seconds() - self._all) - (time.process_time() - self._own)
        return round(min(max(0.0, others / seconds), float(os.cpu_count() or 1)), 2)


def _busy_seconds() -> float:
    """Return the processor time that everything on this machine has taken, seconds."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0))


def load_average() -> float | None:
    """Return the one-minute load average; None where the system has none."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
