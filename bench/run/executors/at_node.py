"""On a node of a cluster: carries out a batch as a run on this machine carries out its jobs, and says how it goes."""

from __future__ import annotations

from collections.abc import Container, Generator
from contextlib import closing

from admbench.bench.run.executors.base import Task
from admbench.bench.run.executors.batches import Batch, say
from admbench.bench.run.executors.local import LocalExecutor


def carry_out(batch: str, done: Container[str] = ()) -> Generator[str, None, None]:
    """Do the tasks of a batch one after the other; yield a line for every stage that begins and every job that ends.

    Closing the generator, or the end of this process, ends what runs, with all that it started.

    Args:
        batch: JSON of a `Batch`.
        done: keys of jobs that ended when the same attempt ran before, and was put back into the queue.
    """
    asked = Batch.model_validate_json(batch)
    left = [one for one in asked.tasks if one.job.key not in done]
    keys = {one.job.key for one in left}
    tasks = [Task(one.job, tuple(key for key in one.after if key in keys)) for one in left]
    with closing(LocalExecutor(1, asked.timeout, asked.program).watch(tasks)) as reports:
        for report in reports:
            yield say(report)
