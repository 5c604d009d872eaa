"""A clock that is set back while a run is at work: nothing is lost, and no time is less than nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from admbench.bench.run import records
from admbench.bench.run.cell import STEP_TIMING
from admbench.bench.run.executors.base import Outcome, Task
from admbench.bench.run.grid import GridSpec
from admbench.bench.run.jobs import Job
from admbench.bench.run.journal import read_journal
from admbench.bench.run.layout import RunLayout
from admbench.bench.run.plan import make_plan
from admbench.bench.run.runner import Events, run_grid
from admbench.bench.run.standing import RunStanding, standing_of
from admbench.bench.run.times import read_times
from admbench.leaderboard.reading import read_record
from admbench.leaderboard.validating import validate

from .in_process import JUDGES, Here

MINUTES_BACK = count()


class SetBack(datetime):
    """Shows ten minutes less at each look."""

    @classmethod
    def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
        return datetime.now(UTC) - timedelta(minutes=10 * next(MINUTES_BACK))


class Telling(Here):
    """Says that all jobs begin, before it does the first."""

    def run(self, tasks: Sequence[Task], on_stage: Callable[[Job, str], None]) -> Generator[Outcome, None, None]:
        for task in tasks:
            on_stage(task.job, "load")
        return super().run(tasks, on_stage)


@pytest.mark.usefixtures("check_specs_here")
@pytest.mark.attack("clock that is set back while a run is at work")
def test_a_clock_that_goes_back_loses_nothing_and_gives_no_negative_time(
    make_grid: Callable[..., GridSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = make_grid(methods=["fp32"], limit=2, metrics__names=["clap"])
    seen: list[RunStanding] = []

    def run() -> list[tuple[str | None, bool]]:
        events = Events(
            stage=lambda job, stage: seen.append(standing_of(grid.out)),
            ended=lambda outcome: seen.append(standing_of(grid.out)),
        )
        results = run_grid(grid, command="bench run", judges=JUDGES, executor=Telling(), events=events)
        assert all(result.seconds >= 0 for result in results)
        return [(result.reason, result.resumed) for result in results]

    monkeypatch.setattr("admbench.bench.run.cell.STEP_TIMING", replace(STEP_TIMING, repeats=1))
    with monkeypatch.context() as clocks:
        clocks.setattr(time, "time", lambda: SetBack.now().timestamp())
        clocks.setattr(records, "datetime", SetBack)
        assert run() == [(None, False)]
        seen.append(standing_of(grid.out))
        assert run() == [(None, True)]
    assert run() == [(None, True)], "what was made by another clock is as finished"
    cell = RunLayout(grid.out).cell("fake-adm", "fp32")
    record, times = read_record(cell.record), read_times(cell.times)
    assert record.provenance is not None
    assert times is not None
    assert min(record.provenance.seconds, record.method.seconds, *times.seconds.values()) >= 0
    assert all(not checked.problems for checked in validate([grid.out]))
    assert [row.state for row in seen[-1].rows] == ["done"]
    assert {row.state for standing in seen for row in standing.rows} >= {"running", "done"}
    for standing in seen:
        spans = [standing.elapsed, standing.left, *(row.elapsed for row in standing.rows)]
        assert all(span is None or span >= 0 for span in spans), standing
    journal = read_journal(grid.out)
    assert journal is not None
    assert journal.whole
    expected = make_plan(grid, command="bench run", judges=JUDGES, fresh=True).expected
    assert expected
    assert all(one.seconds >= 0 for one in expected.values())
