"""In which order the jobs of a run are carried out, and which has to wait for which."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from admbench.bench.run.executors.base import Task
from admbench.bench.run.jobs import BaselineJob, CellJob, Job, PartJob, ReferenceJob


def lay_out(
    reference: ReferenceJob,
    baselines: Sequence[BaselineJob],
    cells: Sequence[tuple[CellJob, Sequence[Job]]],
    needed: Callable[[Job], bool],
    parts: Mapping[str, Sequence[PartJob]] | None = None,
) -> tuple[Task, ...]:
    """Put cells behind what they need, a model's baseline before its cells, and jobs that several need only once.

    Args:
        reference: of all cells.
        baselines: one for each model.
        cells: those to be carried out, each with the jobs that make its checkpoint, in the order in which each needs
            those before it.
        needed: whether a job that cells need has to be carried out; not asked of cells.
        parts: key of a baseline or cell -> the jobs that make its clips, where it does not do so itself.
    """
    tasks: dict[str, Task] = {}
    cut = parts or {}

    def put(job: Job, after: Sequence[Job]) -> None:
        if job.key not in tasks and (isinstance(job, CellJob) or needed(job)):
            tasks[job.key] = Task(job, tuple(one.key for one in after if one.key in tasks))

    if cells:
        put(reference, ())
    for baseline in baselines:
        own = [(cell, before) for cell, before in cells if cell.model == baseline.model]
        if own and needed(baseline):
            pieces = cut.get(baseline.key, ())
            for piece in pieces:
                put(piece, ())
            put(baseline, pieces)
        for cell, before in own:
            if before and needed(before[-1]):  # a checkpoint that is there needs no calibration set
                for place, job in enumerate(before):
                    put(job, before[:place])
            for piece in (pieces := cut.get(cell.key, ())):
                put(piece, before)
            put(cell, (reference, baseline, *before, *pieces))
    return tuple(tasks.values())
