"""On a node of a cluster: carries out a batch as a run on this machine carries out its jobs, and says how it goes."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from contextlib import closing, suppress
from types import MappingProxyType

from admbench.bench.run.executors.base import Outcome, Task, blocked
from admbench.bench.run.executors.batches import Batch, say
from admbench.bench.run.executors.local import LocalExecutor, Servers
from admbench.bench.run.store import Store
from admbench.bench.run.storing import at_this_node, tidy_node
from admbench.errors import BenchError

_KEPT: dict[str, Servers] = {}
"""Program -> its fork servers, in a process that carries out one batch after another."""


def carry_out(
    batch: str, before: Mapping[str, Outcome] = MappingProxyType({}), *, keep: bool = False
) -> Generator[str, None, None]:
    """Do the tasks of a batch one after the other; yield a line for every stage that begins and every job that ends.

    Closing the generator, or the end of this process, ends what runs, with all that it started.

    Args:
        batch: JSON of a `Batch`.
        before: how jobs ended, by key, when the same attempt ran before and was put back into the queue.
        keep: let the fork server wait for the next batch in this process, which then imports nothing; with a device
            it goes all the same, as the next batch may get another.

    Raises:
        OSError: the folder where the run was begun is not on this node.
    """
    asked = Batch.model_validate_json(batch)
    if asked.stored:
        with suppress(OSError):  # captions may be given by a path; if they are not here, the job says so
            os.chdir(asked.folder)
    else:
        os.chdir(asked.folder)
    tasks = []
    for one in asked.tasks:
        if one.job.key in before:
            continue
        blocker = next((before[key] for key in one.after if key in before and before[key].failed), None)
        if blocker is not None:
            yield say(blocked(Task(one.job), blocker))
            continue
        tasks.append(Task(at_this_node(one.job), tuple(key for key in one.after if key not in before)))
    servers = _KEPT.setdefault(asked.program, Servers(asked.program)) if keep and not asked.gpus else None
    with closing(LocalExecutor(1, asked.timeout, asked.program, servers=servers).watch(tasks)) as reports:
        for report in reports:
            if isinstance(report, Outcome) and report.job.store is not None:
                _leave(report, Store(report.job.store))
            yield say(report)


def _leave(outcome: Outcome, store: Store) -> None:
    """Leave at the storage what a job said that failed, and nothing on this node of a cell that is done."""
    if not outcome.failed:
        tidy_node(outcome.job)
        return
    with suppress(BenchError):
        store.keep_log(outcome.job.key, outcome.job.work.log)
