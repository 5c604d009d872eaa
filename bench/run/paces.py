"""How fast the models of a plan go on this machine: gauged once, and kept in the user's cache.

A pace belongs to all that the jobs are made by which gauge it: code, plug-ins, packages, processor, threads, device,
the model's weights, and what of its settings has a part in how long a step, a caption or its features take. One is
believed for `DAYS`, because a machine changes in ways that no key knows (its clock, its cooling, who else works on it).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from admbench import cache
from admbench.bench.run import gauging
from admbench.bench.run.answers import read_tail
from admbench.bench.run.executors.base import PROGRAM
from admbench.bench.run.executors.local import Servers
from admbench.bench.run.gauging import Pace
from admbench.bench.run.jobs import BaselineJob, CellJob
from admbench.bench.run.plugins import made_by
from admbench.bench.run.times import Machine
from admbench.errors import BenchError
from admbench.files import write_text_atomic
from admbench.hashing import sha256_json

DAYS = 7
KIND = "paces"
_VERSION = 2
"""Raised when what is measured, or the layout of what is kept, changes."""
_MOST_BYTES = 1 << 16
_SECONDS_A_DAY = 86_400
_AHEAD = 60.0
"""Seconds that a note may come from the future: clocks are set."""


class _Kept(BaseModel):
    """A pace, and when it was measured."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    measured: float
    """Seconds since 1970."""
    pace: Pace


_KEPT: TypeAdapter[_Kept] = TypeAdapter(_Kept)


def paces(cells: Mapping[str, CellJob], captions: int) -> dict[str, Pace]:
    """Return the pace of each model that can be gauged.

    Args:
        cells: a cell of each model.
        captions: of the run.
    """
    found = {}
    with closing(Servers(PROGRAM)) as servers:
        for model, cell in cells.items():
            try:
                pace = pace_of(cell, captions, servers)
            except (BenchError, OSError):  # no room for a temporary folder: the plan goes without
                pace = None
            if pace is not None:
                found[model] = pace
    return found


def pace_of(cell: CellJob, captions: int, servers: Servers | None = None) -> Pace | None:
    """Return the pace of a cell's model, as `gauging.gauge` does; remembered where it was gauged in the last days.

    Args:
        cell: of the model; one that is to be done afresh has its model gauged anew.
        captions: of the run.
        servers: as `gauging.gauge` takes them.
    """
    place = cache.path(KIND, _key(cell, captions), ".json")
    known = None if cell.fresh else _read(place)
    if known is not None:
        return known
    found = gauging.gauge(cell, captions, servers)
    if found is not None:
        with suppress(OSError):  # a cache that cannot be written costs the next plan its time again
            write_text_atomic(place, _Kept(measured=time.time(), pace=found).model_dump_json() + "\n")
    return found


def _read(place: Path) -> Pace | None:
    try:
        kept = _KEPT.validate_json(read_tail(place, _MOST_BYTES) or b"")
    except ValidationError:  # not there, or not what this version writes
        return None
    age = time.time() - kept.measured
    return kept.pace if -_AHEAD <= age <= DAYS * _SECONDS_A_DAY else None


def _key(cell: CellJob, captions: int) -> str:
    fields = {name: getattr(cell, name) for name in BaselineJob.model_fields if name != "kind"}
    job = BaselineJob(**fields)
    settings = job.generation.model_dump(exclude={"steps"})
    content = [job.model, job.model_sha256, settings, sorted(job.extractors), job.judges.model_dump(mode="json")]
    machine = Machine.of(job).model_dump()
    made = made_by(job).model_dump(mode="json")
    return sha256_json([_VERSION, content, machine, made, min(captions, gauging.MORE)])
