"""Whether a job need not be carried out, because what it leaves is there."""

from __future__ import annotations

from admbench.bench.run.jobs import CellJob, Job
from admbench.bench.run.products import is_sealed


def is_done(job: Job, *, whole: bool = False) -> bool:
    """Return whether the published folder of a job has its key and holds what was written; of a cell, a result.

    Args:
        job: what is to be done.
        whole: read every file again, as other work is going to; else size and date tell, except of a cell's numbers.
    """
    if not is_sealed(job.target, job.key, whole=whole):
        return False
    # only a cell that is done is sealed, with its record as it was then: there is no need to read it
    return not isinstance(job, CellJob) or (job.target.record.is_file() and job.target.per_caption.is_file())
