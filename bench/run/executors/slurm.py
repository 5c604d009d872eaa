"""Slurm as the scheduler of a run, by submitit: batches that are submitted together are one job array.

What a node says of its batch goes, line by line, to a file beside the batch in the run folder, which the cluster's
file system shows to whoever began the run. Of submitit's own files only the submitted pickle is read, by the node: it
names a class of this package and a path. Results are never read as pickles, as a plug-in could have written them.

A job that is preempted, or whose time is over, is put back into the queue by submitit and goes on with what it had not
done. What an earlier run of this folder left in the queue, because it was killed, is cancelled before another begins.
"""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any

import submitit
from submitit.core.utils import FailedJobError, FailedSubmissionError

from admbench.bench.run.answers import MOST_CHARACTERS, MOST_OF_A_STAGE, read_tail
from admbench.bench.run.executors.at_node import carry_out
from admbench.bench.run.executors.base import Outcome, Stage
from admbench.bench.run.executors.batches import Batch, Lost, understand
from admbench.bench.run.executors.remote import SubmissionError
from admbench.bench.run.executors.slurm_queue import Queue, SlurmQueue, StandIns
from admbench.bench.run.grid import SlurmSpec
from admbench.bench.run.layout import RunLayout
from admbench.errors import UsageError
from admbench.files import remove, write_json_atomic, write_text_atomic
from admbench.plain_text import visible

POLL_SECONDS = 0.5
"""Between two looks at the reports, which are small files."""
ASK_SECONDS = 10.0
"""Between two questions to Slurm's controller, which sites want to be seldom."""
SETTLING_SECONDS = 15.0
"""After the end of a job until its last reports are seen, whatever the network file system caches."""
CLOSING_SECONDS = 45.0
"""Until jobs that were cancelled are gone: Slurm's own default kills after 30."""
MOST_PAUSE_SECONDS = 8.0
"""Between two looks whether they are."""
MEMORY_MARGIN = 1.5
"""Memory that is asked for, by what such a job had before: its fork server and the cache of files come on top."""
_MOST_BYTES = 1 << 20
_JOB_ID = re.compile(r"[0-9]+(_[0-9]+)?")


class AtNode:
    """What a Slurm job runs: a batch, whose reports it appends to a file.

    Args:
        batch: file of the batch.
        reports: file of its reports.
    """

    def __init__(self, batch: str, reports: str) -> None:
        self.batch = batch
        self.reports = reports

    def __call__(self) -> None:
        """Do what is left of the batch."""
        batch = Path(self.batch).read_text(encoding="utf-8")
        asked, path = Batch.model_validate_json(batch), Path(self.reports)
        said = path.read_bytes().splitlines() if path.exists() else []
        ended = [report for line in said if isinstance(report := understand(line, asked), Outcome)]
        before = {outcome.job.key: outcome for outcome in ended}
        with open(path, "a", encoding="utf-8") as file, closing(carry_out(batch, before)) as lines:
            for line in lines:
                file.write(line + "\n")
                file.flush()
                os.fsync(file.fileno())  # to the server of the file system, where others see it

    def checkpoint(self) -> submitit.helpers.DelayedSubmission:
        """Return what submitit puts back into the queue when the job is preempted or its time is over."""
        return submitit.helpers.DelayedSubmission(self)


@dataclass
class _Submitted:
    batch: Batch
    job: Any
    """submitit's."""
    reports: Path
    unsaid: set[str]
    """Keys of the jobs that it has not said to have ended."""
    since: float
    """When it was submitted; as `over`, of `time.monotonic`."""
    read: int = 0
    """Bytes of the reports that were looked at."""
    over: float | None = None
    """When the job was first seen to be over; None if it is not."""
    state: str = ""
    """As what it is over."""


class Slurm:
    """A Slurm cluster, of which this machine can submit jobs.

    Args:
        spec: how jobs are asked for.
        run: the run folder.
        cluster: submitit's name of the scheduler: `slurm`, or `local` for processes of this machine in its place.
    """

    def __init__(self, spec: SlurmSpec, run: Path, cluster: str = "slurm") -> None:
        self._spec = spec
        self._folder = RunLayout(run).batches.absolute()
        self._cluster = cluster
        self._queue: Queue = SlurmQueue() if cluster == "slurm" else StandIns()
        self._submitted: dict[str, _Submitted] = {}
        self._ending: list[_Submitted] = []
        """Jobs that have said all and are about to end."""
        if cluster == "slurm" and submitit.SlurmExecutor.affinity() < 0:
            raise UsageError("--executor slurm: no srun here; expected a machine that can submit Slurm jobs")
        self._cancel_leftovers()

    def submit(self, batches: Sequence[Batch]) -> None:
        """Submit batches of equal needs as one job array each; see `Backend`."""
        arrays: dict[tuple[int, int, int | None], list[Batch]] = {}
        for batch in batches:
            arrays.setdefault((batch.cpus, batch.gpus, batch.memory_bytes), []).append(batch)
        left = list(arrays.values())
        while left:
            try:
                self._submit_array(left[0])
            except (FailedJobError, FailedSubmissionError, CalledProcessError, OSError) as error:
                said = visible(" ".join(str(error).split()), MOST_CHARACTERS)
                raise SubmissionError(said, [batch for array in left for batch in array]) from None
            del left[0]

    def _submit_array(self, batches: Sequence[Batch]) -> None:
        works = []
        for batch in batches:
            folder = self._folder / batch.id
            folder.mkdir(parents=True)
            write_text_atomic(folder / "batch.json", batch.model_dump_json(indent=2) + "\n")
            works.append(AtNode(str(folder / "batch.json"), str(folder / "reports.jsonl")))
        # -P: as for every child, the current folder may hold modules that hide ours
        python = {f"{self._cluster}_python": f"{shlex.quote(sys.executable)} -P"}
        executor = submitit.AutoExecutor(self._jobs, cluster=self._cluster, **python)
        executor.update_parameters(**self._parameters(batches[0]))
        jobs = executor.submit_array(works)
        for batch, work, job in zip(batches, works, jobs, strict=True):
            unsaid = {task.job.key for task in batch.tasks}
            self._submitted[batch.id] = _Submitted(batch, job, Path(work.reports), unsaid, time.monotonic())
        self._note_queue()

    def _parameters(self, batch: Batch) -> dict[str, Any]:
        """Return what a batch needs, in submitit's names."""
        spec = self._spec
        wanted: dict[str, Any] = {
            "name": "admbench",
            "timeout_min": spec.minutes,
            "cpus_per_task": batch.cpus,
            "tasks_per_node": 1,
            "nodes": 1,
        }
        if spec.gres is None and batch.gpus:
            wanted["gpus_per_node"] = batch.gpus
        if spec.memory_gb is not None:
            wanted["mem_gb"] = spec.memory_gb
        elif batch.memory_bytes is not None:
            wanted["mem_gb"] = math.ceil(batch.memory_bytes * MEMORY_MARGIN / 2**30)
        sites = {"partition": spec.partition, "account": spec.account, "qos": spec.qos, "constraint": spec.constraint}
        return wanted | {f"slurm_{name}": value for name, value in {**sites, "gres": spec.gres}.items() if value}

    def reports(self) -> Iterator[Stage | Outcome | Lost]:
        """Yield what was said; see `Backend`."""
        silent = True
        self._queue.ask(at_most_ago=ASK_SECONDS)
        for one in list(self._submitted.values()):
            settled = self._is_over(one)  # before its reports are read, so that the last of them are
            for report in _read(one):
                silent = False
                yield report
            if settled or not one.unsaid:
                silent = False
                del self._submitted[one.batch.id]
                self._ending.append(one)
                if one.unsaid:  # where Slurm would put it back into the queue after all, two would be at work
                    one.job.cancel(check=False)
                yield Lost(one.batch.id, f"Slurm job {one.job.job_id}, {one.state or 'which said that all is done'}")
        if silent:
            time.sleep(POLL_SECONDS)

    def close(self) -> None:
        """Cancel what is in the queue or runs, wait until it is gone, and remove what was written for it."""
        jobs = [*self._submitted.values()]
        for one in jobs:
            one.job.cancel(check=False)
        if self._wait_for([one.job for one in (*jobs, *self._ending)]):
            remove(self._folder)
        self._submitted.clear()
        self._ending.clear()

    @property
    def _jobs(self) -> Path:
        """Folder of submitit's own files, and of what the nodes print."""
        return self._folder / "jobs"

    @property
    def _noted(self) -> Path:
        return self._folder / "queue.json"

    def _note_queue(self) -> None:
        """Write which jobs there may be, for a run to come if this one is killed."""
        write_json_atomic(self._noted, [str(one.job.job_id) for one in self._submitted.values()])

    def _cancel_leftovers(self) -> None:
        """Cancel the jobs of an earlier run that was killed: two nodes at work on one cell would spoil each other."""
        ids = _job_ids(self._noted) if self._cluster == "slurm" else []
        jobs: list[submitit.SlurmJob[Any]] = [submitit.SlurmJob(self._jobs, number) for number in ids]
        for job in jobs:
            job.cancel(check=False)
        if not self._wait_for(jobs):
            listed = " ".join(ids)
            raise UsageError(f"--executor slurm: jobs of an earlier run do not end; expected: scancel {listed}")
        remove(self._folder)

    def _is_over(self, one: _Submitted) -> bool:
        """Return whether a job has been over for so long that all it said can be seen."""
        state = self._queue.over(one.job, one.since)
        if state is None:  # it may have been put back
            one.over = None
            return False
        one.state = visible(state, MOST_OF_A_STAGE)
        if one.over is None:
            one.over = time.monotonic()
        return time.monotonic() - one.over > SETTLING_SECONDS

    def _wait_for(self, jobs: Sequence[Any]) -> bool:
        """Wait until jobs that were submitted before are over, for a while; return whether they are."""
        began = time.monotonic()
        left, pause = list(jobs), POLL_SECONDS
        while left and time.monotonic() - began < CLOSING_SECONDS:
            self._queue.ask(at_most_ago=0.0)
            left = [job for job in left if self._queue.over(job, began) is None]
            if left:
                time.sleep(pause)
                pause = min(2 * pause, MOST_PAUSE_SECONDS)
        return not left


def _job_ids(queue: Path) -> list[str]:
    """Return the Slurm jobs that a run noted; what is no job id never reaches `scancel`."""
    said = read_tail(queue)
    try:
        ids = json.loads(said or b"[]")
    except (ValueError, RecursionError):
        return []
    return [one for one in ids if isinstance(one, str) and _JOB_ID.fullmatch(one)] if isinstance(ids, list) else []


def _read(one: _Submitted) -> Iterator[Stage | Outcome]:
    """Yield what a node said since the last look, of whole lines alone; each job's end once."""
    try:
        with open(one.reports, "rb") as file:
            file.seek(one.read)
            said = file.read(_MOST_BYTES)
    except OSError:
        return
    whole = said.rfind(b"\n") + 1
    if not whole and len(said) == _MOST_BYTES:  # no line of ours is so long
        whole = len(said)
    one.read += whole
    for line in said[:whole].splitlines():
        report = understand(line, one.batch)
        if isinstance(report, Outcome):
            one.unsaid.discard(report.job.key)
        if report is not None:
            yield report
