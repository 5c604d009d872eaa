"""Storage of a run, looked at and tidied from any machine: how its cells stand there, and what belongs to no job."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from admbench.bench.run.journal import CellEntry, Planned
from admbench.bench.run.lease import hold_lease, is_leased
from admbench.bench.run.standing import CellStanding, RunStanding
from admbench.bench.run.store import OBJECTS, Store, object_name
from admbench.errors import BenchError, DataError
from admbench.plain_text import visible

_PLANNED = "planned.json"
"""What the last run there had to do: the first line of its journal."""


def note_plan(store: Store, planned: Planned) -> None:
    """Leave at the storage what a run has to do, for `standing_at`; it costs the run nothing if that does not work."""
    with suppress(BenchError, OSError):
        store.write(_PLANNED, planned.model_dump_json().encode())


def standing_at(url: str) -> RunStanding:
    """Return how the run stands whose products are at a URL, as far as the storage tells.

    A cell is done whose job is finished there, and failed if one of its log is kept and it is not. Which of the others
    is at work is known where the run began. A run that was killed counts as at work until the next one begins.

    Raises:
        DataError: there is no run, or the storage does not answer.
        UsageError: it is no URL of storage.
    """
    store = Store(url)
    try:
        planned = Planned.model_validate_json(store.read(_PLANNED) or b"")
    except ValidationError:
        raise DataError(f"{store.url}: no run is there; expected what `bench run --out URL` left") from None
    finished, running = store.keys(), is_leased(store)
    return RunStanding(running, tuple(_standing(store, planned, finished, running)), None, None)


def _standing(store: Store, planned: Planned, finished: set[str], running: bool) -> Iterator[CellStanding]:
    said = {Path(name).stem for name in store.names("logs")}
    jobs: dict[str, list[str]] = {}
    for job in planned.jobs:
        jobs.setdefault(job.cell or "", []).append(job.key)
    for cell in planned.cells:
        if cell.key in finished:
            yield CellStanding(cell.name, "done")
        elif cell.state == "skipped":
            yield CellStanding(cell.name, "skipped", reason=cell.reason)
        elif failed := [key for key in jobs.get(cell.key, [cell.key]) if key in said - finished]:
            yield CellStanding(cell.name, "failed", reason=_last_line(store, failed[0]))
        else:
            yield _unfinished(cell, running)


def _unfinished(cell: CellEntry, running: bool) -> CellStanding:
    return CellStanding(cell.name, "waiting" if running else "stopped")


def _last_line(store: Store, key: str) -> str:
    lines = (store.log(key) or b"").decode("utf-8", "replace").split("\n")
    return next((shown for line in reversed(lines) if (shown := visible(line, 200))), "its log says nothing")


def prune_store(url: str) -> tuple[int, int]:
    """Remove objects at a URL that no finished job names: what was left by crashes, and by jobs that were replaced.

    Nothing else is touched. The lease of the run is held meanwhile. A node of a run that was killed may still be
    writing: what it then publishes without its objects counts as not done, and is done again.

    Returns:
        how many, and their bytes.

    Raises:
        UsageError: it is no URL of storage, or a run is at work there.
        DataError: there is no run, or the storage does not answer.
    """
    store = Store(url)
    if store.read(_PLANNED) is None and not store.keys():
        raise DataError(f"{store.url}: no run is there; expected what `bench run --out URL` left")
    with tempfile.TemporaryDirectory() as folder, hold_lease(store, Path(folder)) as lease:
        named = {object_name(one.sha256) for key in sorted(store.keys()) for one in (store.files(key) or {}).values()}
        leftover = {name: size for name, size in store.names(OBJECTS).items() if name not in named}
        for name in leftover:
            lease.require()
            store.remove(name)
    return len(leftover), sum(leftover.values())
