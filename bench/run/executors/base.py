"""What an executor is: it takes jobs with their prerequisites and says how each ended.

Two kinds of it are here. `LocalExecutor` starts each job in a process of its own on this machine. `RemoteExecutor`
hands batches of jobs to a scheduler (a `Backend`: Slurm, Ray), and on the node that gets one a `LocalExecutor` carries
it out. So isolation, timeouts and the reason that a failed cell gives are the same wherever it ran: the code is one.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Protocol

from admbench.bench.run.jobs import CellJob, Job

PROGRAM = "admbench.bench.run.program"
"""The module that does a job."""


@dataclass(frozen=True)
class Resources:
    """What a job holds while it runs; a scheduler does not start what does not fit beside what runs."""

    cpus: int = 1
    gpus: int = 0
    memory_bytes: int | None = None
    """Of its process; None where nothing tells, and then a scheduler goes by its own default."""

    @classmethod
    def of(cls, job: Job, peak_bytes: int | None = None) -> Resources:
        """Return what a job needs: its threads, and a device of its own if it computes on one.

        Args:
            job: to be carried out.
            peak_bytes: memory that such a job had at most when it was carried out before.
        """
        return cls(job.threads, int(job.device == "cuda"), peak_bytes)


@dataclass(frozen=True)
class Task:
    """A job, the keys of the jobs that have to be done before it, and what it needs to run."""

    job: Job
    after: tuple[str, ...] = ()
    resources: Resources = Resources()


@dataclass(frozen=True)
class Stage:
    """A running job has begun a stage."""

    job: Job
    name: str


@dataclass(frozen=True)
class Outcome:
    """How a job ended."""

    job: Job
    reason: str | None
    """Why it failed, in one line; None if it is done."""
    seconds: float
    """Wall-clock time of the job; 0 if it never started."""
    before: float = 0.0
    """Of `seconds`, those of the job before it that is a part of it: the quantization of a cell."""

    @property
    def own_seconds(self) -> float:
        """Wall-clock time of the job alone."""
        return self.seconds - self.before

    @property
    def failed(self) -> bool:
        """Whether the job left nothing usable."""
        return self.reason is not None


def blocked(task: Task, blocker: Outcome) -> Outcome:
    """Return how a task ends that cannot be done because a job before it failed."""
    if isinstance(task.job, CellJob) and task.job.checkpoint == blocker.job.key:  # its own quantization
        return Outcome(task.job, blocker.reason, 0.0)
    why = (blocker.reason or "").removeprefix(f"{blocker.job.name}: ")  # an error in a model's files names it too
    return Outcome(task.job, f"{blocker.job.name} failed: {why}", 0.0)


class Executor(Protocol):
    """Carries out jobs, each in a process of its own. Closing the generator early stops what still runs.

    What a job does must not reach the next by any other way than the files that it publishes: a `QuantizeJob` runs
    other people's code, and what that changes in its process ends with it.
    """

    def run(self, tasks: Sequence[Task], on_stage: Callable[[Job, str], None]) -> Generator[Outcome, None, None]:
        """Yield an outcome for every task as it ends; a task whose prerequisite failed fails with that reason.

        Args:
            tasks: in the order in which they should start; a prerequisite comes before what needs it.
            on_stage: called with a running job and its stage when that changes.
        """
        ...
