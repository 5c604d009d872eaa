"""What a run is going to take, before it begins: `bench run --plan`.

Jobs are laid on workers as the local executor would lay them, in the order of the plan, each when those before it are
done and a worker is free. So the whole is longer than the sum of the jobs over the workers where one waits for another.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from admbench.bench.run.executors.base import Task
from admbench.bench.run.expecting import Expected
from admbench.bench.run.jobs import CellJob, Job, PartJob, QuantizeJob, ReferenceJob
from admbench.bench.run.layout import RunLayout
from admbench.bench.run.paces import paces
from admbench.bench.run.plan import Plan
from admbench.files import write_text_atomic


@dataclass(frozen=True)
class Total:
    """A run's needs."""

    seconds: float
    """From its beginning to its end."""
    busy_seconds: float
    """Of all jobs, one after the other."""
    peak_bytes: int
    """Of the jobs that run at the same time, at most."""
    disk_bytes: int
    """That it adds to its folder."""


@dataclass(frozen=True)
class Forecast:
    """What jobs, and the run, are expected to take."""

    expected: Mapping[str, Expected]
    """By key; without jobs of which nothing is known."""
    gauged: frozenset[str]
    """Keys of the jobs that no earlier run told of: a short calibration of this machine did."""
    unknown: tuple[str, ...]
    """Names of the jobs of which nothing is known; they are not in the total."""
    total: Total


def forecast(plan: Plan, workers: int) -> Forecast:
    """Return what a plan is going to take; generates a few captions of each model of which no earlier run tells."""
    untold = [job for job in plan.jobs if job.key not in plan.expected]
    cells = {cell.model: cell for cell in reversed(plan.cells) if any(_is_of(job, cell.model) for job in untold)}
    found = paces(cells, plan.captions) if cells else {}
    gauged = {}
    for job in untold:
        model = next(iter(found), None) if isinstance(job, ReferenceJob) else job.model
        if model in found:
            effort = plan.efforts.get(job.method, 0) if isinstance(job, QuantizeJob) else 0
            gauged[job.key] = found[model].expect(job, plan.captions, effort)
    expected = {**plan.expected, **gauged}
    unknown = tuple(job.name for job in plan.jobs if job.key not in expected)
    return Forecast(expected, frozenset(gauged), unknown, total_of(plan.tasks, expected, workers))


def total_of(tasks: Sequence[Task], expected: Mapping[str, Expected], workers: int) -> Total:
    """Lay tasks on workers; one of which nothing is known takes no time.

    Args:
        tasks: in their order.
        expected: what each takes, by its key.
        workers: tasks side by side.
    """
    waiting, ended = list(tasks), set[str]()
    running: list[tuple[float, str]] = []
    now, peak = 0.0, 0
    while waiting or running:
        free = workers - len(running)
        ready = [task for task in waiting if all(key in ended for key in task.after)][: max(0, free)]
        for task in ready:
            waiting.remove(task)
            took = expected[task.job.key].seconds if task.job.key in expected else 0.0
            heapq.heappush(running, (now + took, task.job.key))
        if not running:  # what is waited for is no task of this run
            break
        peak = max(peak, sum(expected[key].peak_bytes for _, key in running if key in expected))
        now, done = heapq.heappop(running)
        ended.add(done)
    known = [expected[task.job.key] for task in tasks if task.job.key in expected]
    return Total(now, sum(one.seconds for one in known), peak, sum(one.disk_bytes for one in known))


def keep(run: Path, told: Forecast) -> None:
    """Keep what was foreseen in the run folder, so that the run holds itself against it."""
    text = json.dumps({key: asdict(one) for key, one in told.expected.items()}, indent=2)
    run.mkdir(parents=True, exist_ok=True)
    write_text_atomic(RunLayout(run).forecast, text + "\n")


def cell_of(plan: Plan, job: Job) -> str | None:
    """Return the key of the cell that a job is a part of; None of those that cells share."""
    if isinstance(job, CellJob):
        return job.key
    if isinstance(job, PartJob) and job.method is not None:
        return job.whole
    if isinstance(job, QuantizeJob):
        return next((cell.key for cell in plan.cells if cell.checkpoint == job.key), None)
    return None


def _is_of(job: Job, model: str) -> bool:
    return isinstance(job, ReferenceJob) or job.model == model
