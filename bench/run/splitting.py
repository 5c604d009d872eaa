"""How the captions of a large cell are cut into parts, whose clips together are those of the whole, bit for bit.

The noise of a clip comes from its own seed, but the sums of a network may be ordered by how many rows a batch has. So a
part begins and ends where batches do (`admbench.bench.models.batching`).
"""

from __future__ import annotations

from admbench.bench.run.jobs import BaselineJob, CellJob, PartJob
from admbench.bench.run.keys import Keys


def parts_of(captions: int, part: int | None) -> list[tuple[int, int]]:
    """Return first caption and number of captions of each part; none where all are no more than one.

    >>> parts_of(40, 16), parts_of(16, 16), parts_of(40, None)
    ([(0, 16), (16, 16), (32, 8)], [], [])
    """
    if part is None or captions <= part:
        return []
    return [(first, min(part, captions - first)) for first in range(0, captions, part)]


def cut(job: BaselineJob | CellJob, captions: int, keys: Keys) -> list[PartJob]:
    """Return the jobs that make the clips of a job in parts; none where it makes them itself."""
    method = job.method if isinstance(job, CellJob) else None
    shared = {name: getattr(job, name) for name in PartJob.model_fields if name in type(job).model_fields}
    shared |= {"kind": "part", "method": method, "whole": job.key, "extractors": (), "reads": {}}
    if isinstance(job, CellJob) and job.store is not None:
        shared["reads"] = {job.quantized.path.relative_to(job.run).as_posix(): job.checkpoint}
    parts = []
    for first, count in parts_of(captions, job.split):
        key = keys.part(job.model, job.model_sha256, job.checkpoint, first, count)
        parts.append(PartJob(**(shared | {"key": key, "first": first, "count": count})))
    return parts
