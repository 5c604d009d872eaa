"""Does one job, from serializable inputs to files; knows nothing of who started it.

`python -m admbench.bench.run.program JOB.json` is the same as a program: exit code 0 when the job's folder has been
published, 1 when it failed, with the reason in `failure.json` beside the job file.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from admbench import arithmetic
from admbench.bench.run.cell import Cell
from admbench.bench.run.groundwork import Baseline, Reference
from admbench.bench.run.jobs import (
    BaselineJob,
    CalibrationJob,
    CellJob,
    Job,
    PartJob,
    QuantizeJob,
    ReferenceJob,
    job_from_json,
)
from admbench.bench.run.layout import JobFolder
from admbench.bench.run.parts import Part
from admbench.bench.run.plugins import Inherited, check_made_by
from admbench.bench.run.products import is_sealed, seal_folder
from admbench.bench.run.quantizing import Calibration, Quantization
from admbench.bench.run.stages import publish
from admbench.bench.run.step_timer import StepTimer, forked_timer
from admbench.bench.run.store import Store
from admbench.bench.run.storing import fetch_inputs
from admbench.bench.run.work import ClipWork
from admbench.errors import BenchError, is_out_of_memory
from admbench.files import write_json_atomic
from admbench.leaderboard.tidy import tidied_score
from admbench.progress import set_quiet
from admbench.versions import git_state

PRELOADED = ("admbench.methods.base", "diffusers.models.autoencoders.autoencoder_kl", "scipy.signal")
"""What most jobs import later; a fork server imports it with this module, once for all of them."""


_inherited: Inherited | None = None
"""What the fork server of this process found out for its children; None in a process of another kind."""


def prepare() -> None:
    """Find out once what every job asks; a fork server does it before it forks."""
    global _inherited
    _inherited = Inherited()
    git_state()
    tidied_score({})  # the schema of records, which takes a fifth of a second to write down


def check_environment(job: Job) -> None:
    """Refuse a job that was planned for another environment than this process has.

    Raises:
        UsageError: the first difference.
    """
    check_made_by(job, _inherited)


def run_job(job: Job, timer: StepTimer | None = None) -> None:
    """Do a job and publish its folder at `job.target` and, where its run has one, at the store.

    Args:
        job: what to do.
        timer: that times a step of a cell apart; None is a new process.

    Raises:
        BenchError: a user's mistake, a broken input, or other code than the job was planned with; anything else that a
            model or a method raises passes through.
    """
    check_environment(job)
    if job.store is None:
        _carry_out(job, timer)
        return
    store = Store(job.store)
    if job.fresh or not is_sealed(job.target, job.key, whole=True):  # else it was done here, and could not be stored
        fetch_inputs(job, store)
        _carry_out(job, timer)
    store.push(job.target.path, job.key)


def _carry_out(job: Job, timer: StepTimer | None) -> None:
    torch.set_num_threads(job.threads)
    job.work.path.mkdir(parents=True, exist_ok=True)
    work = _work(job, timer)
    work.run()
    work.times.write(job, len(work.items) if isinstance(work, ClipWork) else 0)
    job.work.current_stage.unlink(missing_ok=True)
    seal_folder(job.work, job.key)
    publish(job.work.path, job.target.path)


def _work(job: Job, timer: StepTimer | None) -> Reference | Baseline | Calibration | Quantization | Part | Cell:
    match job:
        case ReferenceJob():
            return Reference(job)
        case BaselineJob():
            return Baseline(job)
        case CalibrationJob():
            return Calibration(job)
        case QuantizeJob():
            return Quantization(job)
        case PartJob():
            return Part(job)
        case CellJob():
            return Cell(job, timer)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do the job in a JSON file; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m admbench.bench.run.program")
    parser.add_argument("job", type=Path, help="JSON file of the job")
    parser.add_argument("--time-step", type=Path, help="only time a step of the cell's checkpoint, into this JSON file")
    options = parser.parse_args(arguments)
    set_quiet(True)
    job = job_from_json(options.job.read_text(encoding="utf-8"))
    if options.time_step is not None and isinstance(job, CellJob):
        _time_step(job, options.time_step)
        return 0
    try:
        if isinstance(job, CellJob) and arithmetic.slowed():
            with forked_timer(partial(_time_step, job, job.work.step_timing)) as timer:  # before anything is computed
                run_job(job, timer)
        else:
            run_job(job)
    except BaseException as error:  # whatever ends a job is its result: the reason goes to whoever reads it
        traceback.print_exc()
        reason = explain(error)
        print(reason, file=sys.stderr, flush=True)
        write_json_atomic(JobFolder(options.job.parent).failure, {"reason": reason})
        return 1
    return 0


def _time_step(job: CellJob, file: Path) -> None:
    torch.set_num_threads(job.threads)
    write_json_atomic(file, Cell(job).time_step())


def explain(error: BaseException) -> str:
    """Return one line on why a job failed."""
    text = " ".join(str(error).split())
    if isinstance(error, BenchError):
        return text
    if is_out_of_memory(error):
        return f"out of memory: {text or type(error).__name__}"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


if __name__ == "__main__":
    sys.exit(main())
