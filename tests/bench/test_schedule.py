"""Tasks in their order: each when those before it have ended, none that needed one that failed."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any, cast

import pytest

from admbench.bench.run.executors.base import Outcome, Task
from admbench.bench.run.executors.schedule import Schedule
from admbench.bench.run.jobs import Job


class Named:
    """A job of which nothing counts but its key."""

    def __init__(self, key: str) -> None:
        self.key = self.name = key


def task(key: str, *after: str) -> Task:
    return Task(cast("Job", Named(key)), after)


def ended(one: Task | None, reason: str | None = None) -> Outcome:
    assert one is not None
    return Outcome(one.job, reason, 1.0)


def keys(found: list[Outcome]) -> list[tuple[str, Any]]:
    return [(one.job.key, one.reason) for one in found]


def test_a_task_comes_when_all_before_it_have_ended_and_then_by_its_place() -> None:
    schedule = Schedule([task("a"), task("b"), task("c", "a", "b"), task("d", "a"), task("e")])
    a, b = schedule.next(), schedule.next()
    assert keys(schedule.ended(ended(a))) == [("a", None)]
    d = schedule.next()
    assert d is not None
    assert d.job.key == "d", "before e, which could have gone first"
    schedule.ended(ended(b))
    assert [one.job.key for one in iter(schedule.next, None)] == ["c", "e"]
    assert schedule.next() is None


def test_what_needed_a_task_that_failed_fails_with_it_once_however_far_behind() -> None:
    schedule = Schedule([task("a"), task("b"), task("c", "a", "b"), task("d", "c"), task("e", "b")])
    a, b = schedule.next(), schedule.next()
    assert keys(schedule.ended(ended(a, "no room"))) == [
        ("a", "no room"),
        ("c", "a failed: no room"),
        ("d", "c failed: a failed: no room"),
    ]
    assert keys(schedule.ended(ended(b))) == [("b", None)]
    assert [one.job.key for one in iter(schedule.next, None)] == ["e"], "c waits for nothing more, and has failed"


def test_a_reason_says_once_whose_it_is() -> None:
    schedule = Schedule([task("a"), task("b", "a")])
    assert keys(schedule.ended(ended(schedule.next(), "a: no such file")))[1] == ("b", "a failed: no such file")


def test_who_waits_for_nobody_that_comes_is_refused() -> None:
    with pytest.raises(ValueError, match="b waits for z, which is no task"):
        Schedule([task("a"), task("b", "z")])


def test_ten_times_the_tasks_are_ten_times_the_work() -> None:
    def steps(cells: int) -> int:
        """Return how many instructions of Python it takes, which no other work of the machine changes."""
        tasks = [
            task("base"),
            *(task(f"{kind}{n}", "base" if kind == "q" else f"q{n}") for n in range(cells) for kind in "qc"),
        ]
        count = 0

        def traced(frame: FrameType, event: str, argument: Any) -> Any:
            nonlocal count
            frame.f_trace_opcodes = True
            count += event == "opcode"
            return traced

        before = sys.gettrace()
        sys.settrace(traced)
        try:
            schedule = Schedule(tasks)
            while (one := schedule.next()) is not None:
                schedule.ended(ended(one))
        finally:
            sys.settrace(before)
        return count

    assert 5 * steps(20) < steps(200) < 15 * steps(20), "100 times, were every task asked at every turn"
