"""`bench run --plan`: what would run, and what it is expected to take."""

from __future__ import annotations

from admbench.bench.cli.durations import duration
from admbench.bench.cli.tables import megabytes, print_table
from admbench.bench.run.expecting import Expected
from admbench.bench.run.forecast import Forecast, cell_of, forecast, keep
from admbench.bench.run.grid import GridSpec
from admbench.bench.run.jobs import Job
from admbench.bench.run.lock import unwritable
from admbench.bench.run.plan import Plan, make_plan
from admbench.bench.run.store import Store
from admbench.bench.run.storing import Finished

HEADER = ("cell", "state", "expected", "memory", "disk", "by")


def show_plan(grid: GridSpec, *, command: str, fresh: bool, cost_per_hour: float | None) -> None:
    """Print a row for what cells share and for every cell, then the whole; keep it for the run to be held against.

    Args:
        grid: what would run.
        command: command line.
        fresh: whether finished cells would be done again.
        cost_per_hour: price of an hour of this machine.

    Raises:
        BenchError: as `make_plan`; or the run's folder cannot be written.
    """
    finished = Finished(None if grid.store is None else Store(grid.store))
    plan = make_plan(grid, command=command, judges=grid.metrics.judges, fresh=fresh, finished=finished)
    if plan.jobs:
        try:
            grid.out.mkdir(parents=True, exist_ok=True)  # where the forecast is kept; before the minutes that it takes
        except OSError as error:
            raise unwritable(grid.out, error) from None
    workers = grid.execution.workers
    told = forecast(plan, workers)
    print_table(HEADER, rows_of(plan, told))
    for line in lines_of(plan, told, workers, cost_per_hour):
        print(line)
    if plan.jobs:
        keep(grid.out, told)


def rows_of(plan: Plan, told: Forecast) -> list[tuple[str, ...]]:
    """Return a row for each job that cells share, then one for each cell, its quantization with it."""
    parts: dict[str, list[Job]] = {}
    shared = []
    for job in plan.jobs:
        owner = cell_of(plan, job)
        if owner is None:
            shared.append(_row(job.name, "to run", [job], told))
        else:
            parts.setdefault(owner, []).append(job)
    rows: list[tuple[str, ...]] = []
    for cell in plan.cells:
        if cell.key in plan.skipped:
            rows.append((cell.name, "skipped", "-", "-", "-", plan.skipped[cell.key]))
        elif cell.key in parts:
            rows.append(_row(cell.name, "to run", parts[cell.key], told))
        else:
            rows.append((cell.name, "cached", "-", "-", "-", "-"))
    return [*shared, *rows]


def lines_of(plan: Plan, told: Forecast, workers: int, cost_per_hour: float | None) -> list[str]:
    """Return the whole in words."""
    pending = {cell_of(plan, job) for job in plan.jobs} - {None}
    cached = len(plan.cells) - len(pending) - len(plan.skipped)
    lines = [f"{len(plan.cells)} cells: {cached} cached, {len(pending)} to run, {len(plan.skipped)} skipped"]
    if plan.jobs:
        total = told.total
        lines.append(
            f"expected: {duration(total.seconds)} with {workers} workers ({duration(total.busy_seconds)} of work),"
            f" {megabytes(total.peak_bytes)} of memory at once, {megabytes(total.disk_bytes)} more on disk"
        )
        if cost_per_hour is not None:
            lines.append(f"cost: {total.seconds / 3600 * cost_per_hour:.2f} at {cost_per_hour:g} per hour")
    if told.unknown:
        lines.append(f"not in it, as nothing is known of them: {', '.join(told.unknown)}")
    return lines


def _row(name: str, state: str, jobs: list[Job], told: Forecast) -> tuple[str, ...]:
    known: list[Expected] = [told.expected[job.key] for job in jobs if job.key in told.expected]
    if len(known) < len(jobs):
        return (name, state, "-", "-", "-", "nothing is known")
    by = "this machine, calibrated" if any(job.key in told.gauged for job in jobs) else "earlier runs"
    disk = sum(one.disk_bytes for one in known)
    peak = max(one.peak_bytes for one in known)
    return (name, state, duration(sum(one.seconds for one in known)), megabytes(peak), megabytes(disk), by)
