"""What an executor is: it takes jobs with their prerequisites and says how each ended."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Protocol

from admbench.bench.run.jobs import CellJob, Job


@dataclass(frozen=True)
class Task:
    """A job and the keys of the jobs that have to be done before it."""

    job: Job
    after: tuple[str, ...] = ()


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
    return Outcome(task.job, f"{blocker.job.name} failed: {blocker.reason}", 0.0)


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
