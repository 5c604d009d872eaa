"""A batch: tasks that one node carries out one after the other, as what travels to it and what it says of them.

A batch is one attempt, with an id that no other has: when a node is lost, its unfinished tasks go into a new batch, and
what the lost one still says is nobody's any more. All of it is JSON that is checked when it is read, and never a
pickle: it lies where the plug-ins of a run can write.
"""

from __future__ import annotations

import math
import os
import uuid
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from admbench.bench.run.answers import MOST_CHARACTERS, MOST_OF_A_STAGE
from admbench.bench.run.executors.base import Outcome, Stage, Task
from admbench.bench.run.jobs import CellJob, Job, QuantizeJob
from admbench.plain_text import visible


class _Json(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BatchTask(_Json):
    """A task of a batch; of its prerequisites those that lie in the same batch."""

    job: Annotated[Job, Field(discriminator="kind")]
    after: tuple[str, ...] = ()


class Batch(_Json):
    """What a node gets."""

    id: str
    """Of this attempt alone."""
    folder: str
    """Where the run was begun: the paths of its jobs may be relative to it."""
    tasks: tuple[BatchTask, ...]
    timeout: float
    """Seconds after which a job is killed."""
    program: str
    """Module that does a job."""
    cpus: int
    """That one of its tasks needs at most, as they run one after the other; so of the next two."""
    gpus: int
    memory_bytes: int | None

    @property
    def stored(self) -> bool:
        """Whether its products go to storage, so that the node need not see the run folder."""
        return any(task.job.store is not None for task in self.tasks)


class Said(_Json):
    """A line that a node says: a stage of a job that began, or how a job ended."""

    key: str
    stage: str | None = None
    """None if the job ended."""
    reason: str | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Lost:
    """The scheduler says that a batch is over; what it said nothing of was not done."""

    batch: str
    reason: str


def say(report: Stage | Outcome) -> str:
    """Return a report as one line of JSON."""
    if isinstance(report, Stage):
        return Said(key=report.job.key, stage=report.name).model_dump_json()
    return Said(key=report.job.key, reason=report.reason, seconds=report.seconds).model_dump_json()


def understand(line: str | bytes, batch: Batch) -> Stage | Outcome | None:
    """Return what a node said of a batch; None for what is no report, or of a job that is not in it."""
    try:
        said = Said.model_validate_json(line)
    except ValidationError:
        return None
    job = next((task.job for task in batch.tasks if task.job.key == said.key), None)
    if job is None or not math.isfinite(said.seconds) or said.seconds < 0:
        return None
    if said.stage is not None:
        return Stage(job, visible(said.stage, MOST_OF_A_STAGE))
    return Outcome(job, None if said.reason is None else visible(said.reason, MOST_CHARACTERS), said.seconds)


def group(waiting: Iterable[Task], ended: Container[str], most_cells: int, most: int) -> list[list[Task]]:
    """Return the tasks that may start now, in groups that are to go to one node each.

    A cell goes with its own quantization, so that it waits in the queue once. So many of them make a group as one batch
    may hold, of equal needs. What several cells wait for (real audio, a baseline, a calibration set) goes alone.

    Args:
        waiting: tasks that no node has, prerequisites before what needs them.
        ended: keys of the jobs that ended.
        most_cells: in a group.
        most: groups that are wanted; what would make more is not looked at, as thousands may wait.
    """
    groups: list[list[Task]] = []
    unfilled: dict[tuple[int, int], list[Task]] = {}
    """CPUs and GPUs -> the group to which the next cell of these needs goes."""
    filled_by: Counter[int] = Counter()
    placed: dict[str, list[Task]] = {}
    for task in waiting:
        if len(groups) > most:
            break
        unmet = [key for key in task.after if key not in ended]
        if unmet:
            if isinstance(task.job, CellJob) and unmet == [task.job.checkpoint] and unmet[0] in placed:
                placed[unmet[0]].append(task)
            continue
        if not isinstance(task.job, CellJob | QuantizeJob):
            groups.append([task])
            continue
        needs = (task.resources.cpus, task.resources.gpus)
        place = unfilled.get(needs)
        if place is None or filled_by[id(place)] == most_cells:
            place = unfilled[needs] = []
            groups.append(place)
        place.append(task)
        filled_by[id(place)] += 1
        placed[task.job.key] = place
    return groups[:most]


def make_batch(tasks: Sequence[Task], number: int, timeout: float, program: str) -> Batch:
    """Return the batch of a group, under an id that sorts by its number and that no other run gives."""
    keys = {task.job.key for task in tasks}
    known = [task.resources.memory_bytes for task in tasks if task.resources.memory_bytes is not None]
    return Batch(
        id=f"{number:05d}-{uuid.uuid4().hex[:12]}",
        folder=os.getcwd(),
        tasks=tuple(BatchTask(job=task.job, after=tuple(keys.intersection(task.after))) for task in tasks),
        timeout=timeout,
        program=program,
        cpus=max(task.resources.cpus for task in tasks),
        gpus=max(task.resources.gpus for task in tasks),
        memory_bytes=max(known, default=None),
    )
