"""Carries out a plan: what is done is left alone, what fails is recorded, and nothing finished is ever lost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from admbench.bench.run import records, recovery
from admbench.bench.run.attempts import has_result, write_attempt
from admbench.bench.run.disk import probe
from admbench.bench.run.executors.base import Executor, Outcome
from admbench.bench.run.executors.choosing import make_executor
from admbench.bench.run.executors.local import LocalExecutor
from admbench.bench.run.expecting import seconds_of
from admbench.bench.run.finished import is_done
from admbench.bench.run.grid import GridSpec
from admbench.bench.run.jobs import BaselineJob, CellJob, Job
from admbench.bench.run.journal import Journal, Planned, planned
from admbench.bench.run.layout import RunLayout
from admbench.bench.run.lease import Lease, hold_lease
from admbench.bench.run.lock import hold, unwritable
from admbench.bench.run.plan import Plan, make_plan
from admbench.bench.run.store import Store
from admbench.bench.run.store_upkeep import note_plan
from admbench.bench.run.storing import Finished
from admbench.bench.scoring.spec import JudgeSpec
from admbench.errors import BenchError, DataError
from admbench.files import inside, remove, write_text_atomic


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
    kept: bool = False
    """Whether an earlier result of the cell stands where this attempt would have put its own."""


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
    method needs what is not installed, which every run tries again. Where the cell has a result of an earlier run, that
    stays, and the record of the attempt lies beside it. Interrupting a run (KeyboardInterrupt) stops its child
    processes; running it again goes on where it stopped.

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
    execution = grid.execution
    with hold(grid.out) as held, ExitStack() as ending:
        _put_back(grid.out)
        asking = None
        if executor is None and execution.executor == "local":
            executor = make_executor(execution, grid.out, held=[held.file.fileno()])
        if isinstance(executor, LocalExecutor):
            ending.callback(executor.close)
            asking = executor.ask
        store = None if grid.store is None else Store(grid.store)
        leases = [] if held.lease is None else [held.lease]
        if store is not None:
            leases.append(ending.enter_context(hold_lease(store, grid.out)))
        finished = Finished(store)
        judges = judges or _judges_of(grid)
        plan = make_plan(grid, command=command, judges=judges, fresh=fresh, asking=asking, finished=finished)
        _check_inside(grid.out, plan)
        executor = executor or make_executor(execution, grid.out)  # a cluster is reached when all names are known
        try:
            _prepare(grid, plan, fresh=fresh)
            listed = _listed(plan, execution.workers)
            journal = Journal(plan.run, listed)
        except OSError as error:
            raise unwritable(grid.out, error) from None
        if store is not None:
            note_plan(store, listed)
        events.planned(plan)
        ended = _carry_out(plan, executor, events, journal, finished, leases)
        _tidy(plan, ended)
    return [_result(cell, ended.get(cell.key), plan.skipped.get(cell.key)) for cell in plan.cells]


def _put_back(out: Path) -> None:
    try:
        recovery.put_back(out)
    except OSError as error:
        raise unwritable(out, error) from None


def _carry_out(
    plan: Plan, executor: Executor, events: Events, journal: Journal, finished: Finished, leases: Sequence[Lease]
) -> dict[str, Outcome]:
    """Return how each job ended, by its key."""

    def on_stage(job: Job, stage: str) -> None:
        journal.stage(job, stage)
        events.stage(job, stage)

    ended: dict[str, Outcome] = {}
    with closing(journal), closing(executor.run(plan.tasks, on_stage)) as outcomes:
        for outcome in outcomes:
            for lease in leases:
                lease.require()
            before = ended.get(outcome.job.checkpoint) if isinstance(outcome.job, CellJob) else None
            outcome = _settled(outcome, 0.0 if before is None else before.seconds, finished)
            ended[outcome.job.key] = outcome
            journal.ended(outcome)
            events.ended(outcome)
        journal.run_ended()
    return ended


def _listed(plan: Plan, workers: int) -> Planned:
    return planned(workers, plan.cells, plan.jobs, plan.skipped, seconds_of(plan.expected))


def _judges_of(grid: GridSpec) -> JudgeSpec:
    return grid.metrics.judges


def _settled(outcome: Outcome, seconds_before: float, finished: Finished) -> Outcome:
    """Make sure that a job which ended well left its product, and that a failed cell leaves a record.

    Args:
        outcome: as the executor gave it.
        seconds_before: that the quantization of the cell took, which are the cell's too.
        finished: says what is there.
    """
    job, reason = outcome.job, outcome.reason
    outcome = Outcome(job, reason, outcome.seconds + seconds_before, seconds_before)
    try:
        if reason is None and not finished.settle(job):
            outcome = replace(outcome, reason=f"ended without a result in {job.store or job.target.path}")
    except DataError as error:  # it is done, and the next run fetches it
        outcome = replace(outcome, reason=str(error))
    if outcome.failed:
        finished.fetch_log(job)
    if isinstance(job, CellJob | BaselineJob) and not outcome.failed:
        with suppress(OSError):  # the next run tidies it
            remove(job.parts)
    if not isinstance(job, CellJob):
        return outcome
    if not outcome.failed:
        with suppress(OSError):
            remove(job.quantized.path)
        return outcome
    try:
        write_attempt(job, records.failed_record(job, str(outcome.reason), outcome.seconds), log=True)
    except (BenchError, OSError) as error:  # on a full disk, say: no reason to end the cells to come
        return replace(outcome, reason=f"{outcome.reason} (and its record could not be written: {error})")
    return outcome


def _result(cell: CellJob, outcome: Outcome | None, skipped: str | None) -> CellResult:
    if skipped is not None:
        return CellResult(cell, skipped, 0.0, resumed=False, skipped=True, kept=has_result(cell.target))
    if outcome is None:
        return CellResult(cell, None, 0.0, resumed=True)
    kept = outcome.failed and has_result(cell.target)
    return CellResult(cell, outcome.reason, outcome.seconds, resumed=False, kept=kept)


def _prepare(grid: GridSpec, plan: Plan, *, fresh: bool) -> None:
    """Find a full disk before an hour of computing, and write what is known before any job runs."""
    probe(grid.out)
    write_text_atomic(RunLayout(grid.out).grid, grid.model_dump_json(indent=2) + "\n")
    if fresh:
        _forget(plan)
    for cell in plan.cells:
        if cell.key in plan.skipped:
            write_attempt(cell, records.skipped_record(cell, plan.skipped[cell.key]))


def _forget(plan: Plan) -> None:
    """Make the jobs of a fresh run start from nothing; old results stay until the new ones are there."""
    for job in plan.jobs:
        remove(job.work.path)


def _check_inside(out: Path, plan: Plan) -> None:
    """Refuse a run folder from which a link leads out: what lies there is not the run's to replace or to remove."""
    for path in (path for job in (*plan.cells, *plan.jobs) for path in (job.work.path, job.target.path)):
        if not inside(out, path):
            raise DataError(f"{path}: a link out of the run folder; expected a folder of the run")


def _tidy(plan: Plan, ended: Mapping[str, Outcome]) -> None:
    """Remove what a run that was stopped had no time to: checkpoints that their cells have, replaced and empty folders.

    A node that was taken for lost may have gone on with a job that another did meanwhile: what it wrote goes too.
    What cannot be removed stays: that takes nothing from results that are there.
    """
    layout = RunLayout(plan.run)
    for job in (job for job in plan.jobs if job.key in ended and not ended[job.key].failed):
        with suppress(OSError):
            remove(job.work.path)
    for cell in plan.cells:
        left = (cell.quantized.path, cell.parts, layout.parts(cell.model, None))
        if any(folder.is_dir() for folder in left) and is_done(cell):
            for folder in left:
                with suppress(OSError):
                    remove(folder)
    recovery.remove_replaced(plan.run)
    parts = (*layout.all_parts.glob("*/*"), *layout.all_parts.glob("*"), layout.all_parts)
    for folder in (*layout.all_quantized.glob("*"), layout.all_quantized, *parts, layout.all_work):
        with suppress(OSError):
            _remove_empty(folder)


def _remove_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
