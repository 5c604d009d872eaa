"""How a run stands, while it is at work or after: of every cell its state, its stage, and how long it takes.

It is read from the journal, which whoever carries the run out writes, and from the lock, which its processes hold.
Where a run has no journal (it was merged, or made by an older version), records alone say how cells stand.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from admbench.bench.run.journal import CellEntry, JobStanding, Read, read_journal
from admbench.bench.run.layout import RunLayout
from admbench.bench.run.lock import is_held
from admbench.errors import DataError
from admbench.leaderboard.untrusted import read_json
from admbench.plain_text import visible

State = Literal["done", "failed", "skipped", "running", "waiting", "stopped"]
_PARTS = {"quantize": "quantization"}


@dataclass(frozen=True)
class CellStanding:
    """How a cell, or a job that cells share, stands."""

    name: str
    state: State
    """`waiting`: its turn has not come. `stopped`: it was at work when the run was stopped."""
    stage: str | None = None
    """What runs now, or ran when it was stopped."""
    elapsed: float | None = None
    """Seconds since it began, or that it took; None where it did not begin in the last run."""
    expected: float | None = None
    """Seconds that all its jobs of the last run were expected to take; None where nothing was known."""
    reason: str | None = None
    """Why it failed or was skipped."""
    shared: bool = False
    """Whether it is no cell, but what several need."""


@dataclass(frozen=True)
class RunStanding:
    """How a run stands."""

    running: bool
    """Whether its processes are at work."""
    rows: tuple[CellStanding, ...]
    """What cells share and is not done, then all cells, in the order of the grid."""
    elapsed: float | None
    """Seconds since the last run began, or that it took; None without a journal."""
    left: float | None
    """Seconds that the run is expected to go on; None where it does not run, or where nothing is known."""

    @property
    def cells(self) -> tuple[CellStanding, ...]:
        """The cells alone."""
        return tuple(row for row in self.rows if not row.shared)


def standing_of(run: Path) -> RunStanding:
    """Return how a run stands at this moment; what is running is asked of its lock, without getting in its way.

    Raises:
        DataError: the folder holds no run, or its journal is damaged.
    """
    running, journal = is_held(run), read_journal(run)
    if journal is None:
        rows = tuple(_recorded(run))
        if not rows and not running:
            raise DataError(f"{run}: no run is there; expected the folder of `bench run`")
        return RunStanding(running, rows, None, None)
    now = time.time() if running else journal.last
    rows = (*_shared(journal, running, now), *_cells(journal, running, now))
    return RunStanding(running, rows, max(0.0, now - journal.planned.at), _left(journal, now) if running else None)


def _recorded(run: Path) -> Iterator[CellStanding]:
    for path in RunLayout(run).records():
        name = "/".join(path.relative_to(run).parts[1:3])
        try:
            record = read_json(run, path)
            name = f"{record['model']['name']} {record['method']['spec']}"
            status = record["status"]
        except (DataError, KeyError, TypeError) as error:
            yield CellStanding(name, "failed", reason=visible(f"its record cannot be read: {error}"))
            continue
        state: State = "done" if status == "done" else "skipped" if status == "skipped" else "failed"
        yield CellStanding(visible(name), state, reason=record.get("reason"))


def _shared(journal: Read, running: bool, now: float) -> Iterator[CellStanding]:
    """What several cells need, as long as it is not done."""
    for job in journal.jobs.values():
        if job.entry.cell is None and (job.ended is None or job.ended.reason is not None):
            yield _of(job.entry.name, [job], running, now, shared=True)


def _cells(journal: Read, running: bool, now: float) -> Iterator[CellStanding]:
    jobs: dict[str, list[JobStanding]] = {}
    for job in journal.jobs.values():
        if job.entry.cell is not None:
            jobs.setdefault(job.entry.cell, []).append(job)
    for cell in journal.planned.cells:
        if cell.state == "to do":
            yield _of(cell.name, jobs[cell.key], running, now, shared=False)
        else:
            yield _at_rest(cell)


def _at_rest(cell: CellEntry) -> CellStanding:
    return CellStanding(cell.name, "skipped" if cell.state == "skipped" else "done", reason=cell.reason)


def _of(name: str, jobs: Sequence[JobStanding], running: bool, now: float, *, shared: bool) -> CellStanding:
    """Put together how the jobs of one cell stand, in their order."""
    expected = [job.entry.expected for job in jobs]
    whole = sum(one for one in expected if one is not None) if all(one is not None for one in expected) else None
    last = jobs[-1]
    if last.ended is not None:
        state: State = "failed" if last.ended.reason is not None else "done"
        taken = sum(job.ended.seconds for job in jobs if job.ended is not None)
        return CellStanding(name, state, None, taken, whole, last.ended.reason, shared)
    begun = [job for job in jobs if job.began is not None]
    if not begun:
        return CellStanding(name, "waiting", expected=whole, shared=shared)
    at_work = next((job for job in begun if job.ended is None), None)
    elapsed = sum(_seconds(job, now) for job in begun)
    if at_work is None:  # its checkpoint is there; the rest of it has not begun
        return CellStanding(name, "waiting", None, elapsed, whole, shared=shared)
    part = _PARTS.get(at_work.entry.kind)
    stage = f"{part}: {at_work.stage}" if part and at_work.stage != part else at_work.stage
    return CellStanding(name, "running" if running else "stopped", stage, elapsed, whole, shared=shared)


def _seconds(job: JobStanding, now: float) -> float:
    if job.ended is not None:
        return job.ended.seconds
    return 0.0 if job.began is None else max(0.0, now - job.began)  # clocks are set back


def _left(journal: Read, now: float) -> float | None:
    """Return the seconds to go if all workers stay busy; None where a job's are not known."""
    left = 0.0
    for job in journal.jobs.values():
        if job.ended is not None:
            continue
        if job.entry.expected is None:
            return None
        left += max(0.0, job.entry.expected - _seconds(job, now))
    return left / journal.planned.workers
