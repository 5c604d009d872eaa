"""What a process left that ended while a folder took the place of another: it is put back, or removed."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from admbench.bench.run.answers import read_tail
from admbench.bench.run.finished import is_done
from admbench.bench.run.jobs import CellJob, Job, PartJob, QuantizeJob, job_from_json
from admbench.bench.run.layout import RunLayout
from admbench.files import inside, put_all_back, remove

_MOST_JOB_BYTES = 1 << 20


def put_back(run: Path) -> None:
    """Give published folders their names again that had stepped aside for others that did not come.

    To be called before anything looks at what is done, and with the run held.

    Raises:
        OSError: the disk refuses.
    """
    for parent in RunLayout(run).published_in():
        if inside(run, parent):  # where a link leads is not the run's
            put_all_back(parent)


def remove_replaced(run: Path) -> None:
    """Remove folders at work that are what a finished job replaced, or of a job that is done; others go on.

    What cannot be removed stays: that takes nothing from results that are there.
    """
    for work in RunLayout(run).all_work.glob("*"):
        job = _said_in(work / "job.json", run)
        if job is not None and (work != job.work.path or is_done(job) or _has_served(job, run)):
            with suppress(OSError):
                remove(work)


def _has_served(job: Job, run: Path) -> bool:
    """Whether what a job makes is in its finished cell: its own folder went when the cell was done."""
    if isinstance(job, PartJob):
        whole = _said_in(job.of.job, run)
        return whole is not None and whole.key == job.whole and is_done(whole)
    if not isinstance(job, QuantizeJob):
        return False
    cell = _said_in(job.cell.job, run)
    return isinstance(cell, CellJob) and cell.checkpoint == job.key and is_done(cell)


def _said_in(path: Path, run: Path) -> Job | None:
    """Return the job that a file says, in a run; None if it says none."""
    said = read_tail(path, _MOST_JOB_BYTES)
    try:
        return job_from_json((said or b"").decode("utf-8")).model_copy(update={"run": run})
    except (ValidationError, ValueError):
        return None  # nothing that a job left
