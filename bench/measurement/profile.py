"""Where the time of a step goes, operator by operator, as torch's profiler sees it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

STEPS = 3
"""Steps that are profiled, after one that is not."""
SHOWN = 16
"""Operators that are listed by themselves; the others are summed up."""


def operator_profile(run: Callable[[], object]) -> dict[str, Any]:
    """Profile a call of a backbone.

    Args:
        run: calls it once.

    Returns:
        `steps` and `operators`: the name, calls a step, milliseconds a step and share of the time of each operator by
        itself, without the operators that it calls, largest first. Profiling slows operators down, short ones most.
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # its log goes to standard error otherwise
    from torch.profiler import ProfilerActivity, profile

    run()
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(STEPS):
            run()
    found = sorted(profiler.key_averages(), key=lambda event: -event.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in found)
    operators = [_row(event.key, event.count, event.self_cpu_time_total, total) for event in found[:SHOWN]]
    rest = found[SHOWN:]
    if rest:
        microseconds = sum(event.self_cpu_time_total for event in rest)
        operators.append(_row("all others", sum(event.count for event in rest), microseconds, total))
    return {"steps": STEPS, "operators": operators}


def _row(name: str, calls: int, microseconds: float, total: float) -> dict[str, Any]:
    return {
        "name": name,
        "calls": calls / STEPS,
        "ms": round(microseconds / 1e3 / STEPS, 3),
        "share": round(microseconds / total, 4),
    }
