"""Stands in for `admbench.bench.run.program` in `benchmarks.overhead`: does no work, and leaves what a job leaves.

The environment is checked as in any job. A cell gets the record and the per-caption results of a finished one, under
its own name. It is validated, sealed and published as any other; nothing is loaded, generated or scored.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from admbench.bench.run import program
from admbench.bench.run.jobs import CellJob, job_from_json
from admbench.bench.run.layout import JobFolder
from admbench.bench.run.products import seal_folder
from admbench.bench.run.records import method_identity, write_record
from admbench.bench.run.stages import StageReport, publish
from admbench.bench.run.times import StageTimes
from admbench.files import link, read_json
from benchmarks import TEMPLATE

PRELOADED = program.PRELOADED
prepare = program.prepare


def main(arguments: Sequence[str]) -> int:
    """Do the job in a JSON file."""
    job = job_from_json(Path(arguments[0]).read_text(encoding="utf-8"))
    program.check_environment(job)
    times = StageTimes(StageReport(job.work))
    times("stub")
    if isinstance(job, CellJob):
        finished = JobFolder(Path(os.environ[TEMPLATE]))
        record = read_json(finished.record)
        record["method"] |= method_identity(job)
        link(finished.per_caption, job.work.per_caption)
        write_record(job.work.record, record)
    times.write(job, 0)
    job.work.current_stage.unlink(missing_ok=True)
    seal_folder(job.work, job.key)
    publish(job.work.path, job.target.path)
    return 0
