"""Carries out a run on a cluster: batches of tasks go to a scheduler, reports come back, what was lost is tried again.

The order of tasks, blocked cells, the number of attempts and the end of a run are the same for every scheduler and
are here; a `Backend` knows one of them. A node sees the run folder by the same path: that is where products go.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Protocol

from admbench.bench.run.answers import last_line
from admbench.bench.run.executors.base import PROGRAM, Outcome, Stage, Task, blocked
from admbench.bench.run.executors.batches import Batch, Lost, group, make_batch
from admbench.bench.run.jobs import Job


class Backend(Protocol):
    """A scheduler that takes batches; on its nodes `at_node.carry_out` does them."""

    def submit(self, batches: Sequence[Batch]) -> None:
        """Put batches into the queue, all at once.

        Raises:
            SubmissionError: the scheduler does not take some of them.
        """
        ...

    def reports(self) -> Iterator[Stage | Outcome | Lost]:
        """Yield what was said since the last call; wait a moment if there is nothing.

        A batch that is over is said to be `Lost`, after all that it said, also where nothing of it was lost.
        """
        ...

    def close(self) -> None:
        """Take every batch out of the queue and end those that run."""
        ...


class SubmissionError(Exception):
    """A scheduler does not take batches; the message is one line.

    Args:
        reason: what it says.
        batches: those that it did not take; the others are in the queue.
    """

    def __init__(self, reason: str, batches: Sequence[Batch]) -> None:
        super().__init__(reason)
        self.batches = tuple(batches)


class RemoteExecutor:
    """Nodes of a cluster, so many batches at a time as there are workers.

    Args:
        backend: the scheduler.
        workers: batches in the queue or at work.
        timeout: seconds after which a job is killed on its node.
        attempts: how many times a job is tried whose batch was lost under it; one that failed by itself is not.
        cells_per_batch: at most.
        program: module that does a job; see `LocalExecutor`.
    """

    def __init__(
        self,
        backend: Backend,
        workers: int,
        timeout: float,
        attempts: int,
        cells_per_batch: int = 1,
        program: str = PROGRAM,
    ) -> None:
        self.backend = backend
        self.workers = workers
        self._timeout = timeout
        self._attempts = attempts
        self._cells_per_batch = cells_per_batch
        self._program = program

    def run(self, tasks: Sequence[Task], on_stage: Callable[[Job, str], None]) -> Generator[Outcome, None, None]:
        """Yield outcomes as jobs end; see `admbench.bench.run.executors.base.Executor`."""
        standing = _Standing(tasks, self._attempts)
        try:
            while standing.unfinished:
                yield from standing.block()
                yield from self._submit(standing)
                if not standing.at_work:
                    continue  # all that was left is blocked
                for report in self.backend.reports():
                    if isinstance(report, Stage):
                        standing.begin(report.job.key)
                        on_stage(report.job, report.name)
                    elif isinstance(report, Outcome):
                        yield from standing.end(report)
                    else:
                        yield from standing.lose(report)
        finally:
            self.backend.close()

    def _submit(self, standing: _Standing) -> Iterator[Outcome]:
        """Fill the free places with batches; yield an outcome for each task that cannot be submitted."""
        free = self.workers - len(standing.at_work)
        if free <= 0:
            return
        groups = group(standing.waiting.values(), standing.ended, self._cells_per_batch, free)
        batches = [standing.place(tasks, self._timeout, self._program) for tasks in groups]
        if not batches:
            return
        try:
            self.backend.submit(batches)
        except SubmissionError as error:
            for batch in error.batches:
                yield from standing.refuse(batch, f"cannot be submitted: {error}")


class _Standing:
    """How the tasks of a run stand."""

    def __init__(self, tasks: Sequence[Task], attempts: int) -> None:
        self.waiting = {task.job.key: task for task in tasks}
        """By the job's key, in the order in which they should start."""
        self.at_work: dict[str, Batch] = {}
        """By the batch's id."""
        self.ended: dict[str, Outcome] = {}
        self._tasks = dict(self.waiting)
        self._order = {task.job.key: place for place, task in enumerate(tasks)}
        self._attempts = attempts
        self._begun: set[str] = set()
        self._tried: Counter[str] = Counter()
        self._batches = 0
        self._blockers = 0
        """How often something came up that may block waiting tasks since it was last looked for that."""

    @property
    def unfinished(self) -> bool:
        return bool(self.waiting or self.at_work)

    def block(self) -> Iterator[Outcome]:
        """End the waiting tasks of which a prerequisite failed; prerequisites come first, so one look tells all."""
        if not self._blockers:
            return
        self._blockers = 0
        for task in list(self.waiting.values()):
            ended = (self.ended[key] for key in task.after if key in self.ended)
            blocker = next((one for one in ended if one.failed), None)
            if blocker is not None:
                del self.waiting[task.job.key]
                yield from self.end(blocked(task, blocker))

    def place(self, tasks: Sequence[Task], timeout: float, program: str) -> Batch:
        """Make the batch of a group, which then is at work."""
        self._batches += 1
        batch = make_batch(tasks, self._batches, timeout, program)
        self.at_work[batch.id] = batch
        for task in tasks:
            del self.waiting[task.job.key]
        return batch

    def begin(self, key: str) -> None:
        """Note that a job is at work on its node."""
        self._begun.add(key)

    def end(self, outcome: Outcome) -> Iterator[Outcome]:
        """Note how a job ended; said twice, the first counts."""
        if outcome.job.key not in self.ended:
            self.ended[outcome.job.key] = outcome
            self._blockers += outcome.failed
            yield outcome

    def lose(self, lost: Lost) -> Iterator[Outcome]:
        """Let the tasks of a batch that is over which did not end in it wait again; after the last attempt, fail."""
        batch = self.at_work.pop(lost.batch)
        unfinished = [task for task in batch.tasks if task.job.key not in self.ended]
        keys = {task.job.key for task in unfinished}
        self._tried.update(keys & self._begun or keys)  # not those that only waited behind the one that was at work
        self._begun -= keys
        for task in unfinished:
            key = task.job.key
            if self._tried[key] < self._attempts:
                self.waiting[key] = self._tasks[key]
                continue
            said = last_line(task.job.work.log)
            reason = f"lost {self._attempts} times, at last as {lost.reason}; its log ends: {said}"
            yield from self.end(Outcome(task.job, reason, 0.0))
        if unfinished:
            self._blockers += 1  # what failed in the batch may block what waits again
            self.waiting = dict(sorted(self.waiting.items(), key=lambda item: self._order[item[0]]))

    def refuse(self, batch: Batch, reason: str) -> Iterator[Outcome]:
        """End all tasks of a batch that nobody takes."""
        del self.at_work[batch.id]
        for task in batch.tasks:
            yield from self.end(Outcome(task.job, reason, 0.0))
