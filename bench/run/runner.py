"""Carries out a plan: what is done is left alone, what fails is recorded, and nothing finished is ever lost."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from admbench.bench.run import records
from admbench.bench.run.executors.base import Executor, Outcome
from admbench.bench.run.executors.local import LocalExecutor
from admbench.bench.run.grid import GridSpec
from admbench.bench.run.jobs import CellJob, Job
from admbench.bench.run.layout import RunLayout
from admbench.bench.run.lock import hold, unwritable
from admbench.bench.run.plan import Plan, is_done, make_plan
from admbench.bench.scoring.spec import JudgeSpec
from admbench.files import write_text_atomic

_PROBE_BYTES = 1 << 20


@dataclass(frozen=True)
class CellResult:
    """How a cell of the grid stands after a run."""

    job: CellJob
    reason: str | None
    """Why it failed or was skipped; None if it is done."""
    seconds: float
    """Time it took in this run."""
    resumed: bool
    """Whether it was finished before this run."""
    skipped: bool = False
    """Whether it cannot run here, because of what is not installed; not an error."""


@dataclass(frozen=True)
class Events:
    """Callbacks of a run, for whoever shows its progress."""

    planned: Callable[[Plan], None] = lambda plan: None
    stage: Callable[[Job, str], None] = lambda job, stage: None
    ended: Callable[[Outcome], None] = lambda outcome: None


def run_grid(
    grid: GridSpec,
    *,
    command: str,
    fresh: bool = False,
    judges: JudgeSpec | None = None,
    executor: Executor | None = None,
    events: Events | None = None,
) -> list[CellResult]:
    """Run every cell of a grid that is not finished, and return how all of them stand, in the grid's order.

    A cell that fails leaves a record that says why, and the others go on; so does one that is skipped, because its
    method needs what is not installed, which every run tries again. Interrupting a run (KeyboardInterrupt) stops its
    child processes; running it again goes on where it stopped.

    Args:
        grid: what to run.
        command: command line, for the records.
        fresh: do finished cells again; their old results stay until the new ones are ready.
        judges: judge of each role; None is those that the grid names.
        executor: who carries out the jobs; None is the one that the grid names.
        events: callbacks for progress.

    Raises:
        BenchError: a bad name, spec or caption file, or an output folder that cannot be written; before anything runs.
    """
    events = events or Events()
    plan = make_plan(grid, command=command, judges=judges or _judges_of(grid), fresh=fresh)
    ended: dict[str, Outcome] = {}
    with hold(grid.out):
        _check_writable(grid.out)
        write_text_atomic(RunLayout(grid.out).grid, grid.model_dump_json(indent=2) + "\n")
        if fresh:
            _forget(plan)
        for cell in plan.cells:
            if cell.key in plan.skipped:
                _write_cell(cell, records.skipped_record(cell, plan.skipped[cell.key]))
        events.planned(plan)
        executor = executor or LocalExecutor(grid.execution.workers, grid.execution.cell_timeout)
        with closing(executor.run(plan.tasks, events.stage)) as outcomes:
            for outcome in outcomes:
                outcome = _settled(outcome)
                ended[outcome.job.key] = outcome
                events.ended(outcome)
        _remove_empty(RunLayout(grid.out).all_work)
    return [_result(cell, ended.get(cell.key), plan.skipped.get(cell.key)) for cell in plan.cells]


def _judges_of(grid: GridSpec) -> JudgeSpec:
    return grid.metrics.judges


def _settled(outcome: Outcome) -> Outcome:
    """Make sure that a job which ended well left its product, and that a failed cell leaves a record."""
    job = outcome.job
    if not outcome.failed and not is_done(job):
        outcome = Outcome(job, f"ended without a result in {job.target.path}", outcome.seconds)
    if outcome.failed and isinstance(job, CellJob):
        try:
            _record_failure(job, str(outcome.reason), outcome.seconds)
        except OSError as error:
            reason = f"{outcome.reason} (and its record could not be written: {error.strerror})"
            return Outcome(job, reason, outcome.seconds)
    return outcome


def _record_failure(job: CellJob, reason: str, seconds: float) -> None:
    """Put a failed record and the log in the cell's folder. Products of an earlier success stay for a later reuse."""
    _write_cell(job, records.failed_record(job, reason, seconds))
    if job.work.log.exists():
        job.target.log.unlink(missing_ok=True)  # it may be a link to the log of a run that was merged into this one
        shutil.copyfile(job.work.log, job.target.log)


def _write_cell(job: CellJob, record: records.Section) -> None:
    job.target.per_caption.unlink(missing_ok=True)  # of an earlier success
    records.write_record(job.target.record, record)
    write_text_atomic(job.target.job, job.model_dump_json(indent=2) + "\n")


def _result(cell: CellJob, outcome: Outcome | None, skipped: str | None) -> CellResult:
    if skipped is not None:
        return CellResult(cell, skipped, 0.0, resumed=False, skipped=True)
    if outcome is None:
        return CellResult(cell, None, 0.0, resumed=True)
    return CellResult(cell, outcome.reason, outcome.seconds, resumed=False)


def _forget(plan: Plan) -> None:
    """Make the jobs of a fresh run start from nothing; old results stay until the new ones are there."""
    for job in plan.jobs:
        shutil.rmtree(job.work.path, ignore_errors=True)
        shutil.rmtree(job.target.stages, ignore_errors=True)


def _check_writable(out: Path) -> None:
    """Write, flush and remove a megabyte, so that a full disk is found before an hour of computing."""
    probe = out / f".probe-{os.getpid()}"
    try:
        with open(probe, "wb") as file:
            file.write(bytes(_PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise unwritable(out, error) from None
    finally:
        probe.unlink(missing_ok=True)


def _remove_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
