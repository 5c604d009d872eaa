"""Room on the disk: clips and checkpoints of finished cells are removed, and their records say so.

A cell stays finished: its record, its per-caption results and its features are there. What other work needs again, of
a changed metric say, is made again by `bench run`. Files may have several names (full precision's clips are those of
the baseline, merged runs share what is equal); room is gained when the last is removed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from admbench.bench.run.attempts import has_result
from admbench.bench.run.layout import CHECKPOINT, JobFolder, RunLayout
from admbench.bench.run.lock import hold
from admbench.bench.run.products import Sealed, products_of, read_sealed, seal
from admbench.bench.run.records import write_record
from admbench.bench.run.stages import publish
from admbench.errors import DataError, UsageError, nearest
from admbench.files import link, remove
from admbench.leaderboard.run_folder import AUDIO, CELLS, RECORD_FILE
from admbench.leaderboard.untrusted import read_json

PRUNABLE = (AUDIO, CHECKPOINT)


@dataclass(frozen=True)
class Pruned:
    """What was removed from a cell."""

    cell: str
    """MODEL SPEC."""
    parts: tuple[str, ...]
    freed: int
    """Bytes that no other name holds."""


def prune_run(run: Path, parts: Sequence[str], pattern: str = "*") -> list[Pruned]:
    """Remove clips or checkpoints of the finished cells whose name a pattern matches.

    A cell is replaced as a whole by one without them, so that it is at any moment one or the other.

    Args:
        run: run folder.
        parts: of `PRUNABLE`.
        pattern: of `MODEL/SPEC`, with `*` and `?`; a bracket, as specs have them, stands for itself.

    Raises:
        UsageError: an unknown part, no cell matches, or a run is at work there.
        DataError: no run is there, or a record cannot be read or written.
    """
    for part in parts:
        if part not in PRUNABLE:
            raise UsageError(f'"{part}" cannot be pruned.{nearest(part, PRUNABLE)} Expected: {", ".join(PRUNABLE)}')
    if not (run / CELLS).is_dir():
        raise DataError(f"{run}: no run is there; expected the folder of `bench run`")
    with hold(run):
        cells = dict(_finished(run))
        chosen = [name for name in cells if fnmatchcase(name, pattern.replace("[", "[[]"))]
        if not chosen:
            raise UsageError(f'no finished cell is called "{pattern}"; there are: {"; ".join(cells) or "none"}')
        done = [_prune(run, name, cells[name], parts) for name in chosen]
        with suppress(OSError):  # there is none, or another job's work lies there
            RunLayout(run).all_work.rmdir()
    return [one for one in done if one.parts]


def _finished(run: Path) -> Iterator[tuple[str, JobFolder]]:
    for path in sorted(run.glob(f"{CELLS}/*/*")):
        folder = JobFolder(path)
        if not path.name.startswith(".") and has_result(folder):
            record = read_json(run, folder.record)
            repeat = record["method"].get("repeat")
            yield (
                f"{record['model']['name']}/{record['method']['spec']}" + (f"+repeat-{repeat}" if repeat else ""),
                folder,
            )


def _prune(run: Path, name: str, folder: JobFolder, parts: Sequence[str]) -> Pruned:
    there = tuple(part for part in PRUNABLE if part in parts and (folder.path / part).is_dir())
    if not there:
        return Pruned(name, (), 0)
    removed = [path for part in there for path in (folder.path / part).rglob("*") if path.is_file()]
    freed = sum(status.st_size for status in (path.stat() for path in removed) if status.st_nlink == 1)
    made = JobFolder(RunLayout(run).all_work / f"prune-{folder.path.parent.name}-{folder.path.name}")
    remove(made.path)
    made.path.mkdir(parents=True)
    for child in folder.path.iterdir():
        if child.name not in (*there, RECORD_FILE, folder.sealed.name):
            link(child, made.path / child.name)
    record = read_json(run, folder.record)
    provenance = record["provenance"]
    provenance["pruned"] = sorted({*provenance.get("pruned", ()), *there})
    write_record(made.record, record)
    if folder.sealed.is_file():
        _seal_without(there, read_sealed(folder.sealed), made)
    publish(made.path, folder.path)
    return Pruned(name, there, freed)


def _seal_without(parts: Sequence[str], sealed: Sealed, made: JobFolder) -> None:
    """Seal a cell again: without what was removed, and with its record as it is now."""
    inside = tuple(f"{part}/" for part in parts)
    files = {name: product for name, product in sealed.files.items() if not name.startswith(inside)}
    record = products_of(made.path, [RECORD_FILE])
    seal(made.sealed, Sealed(sealed.key, sealed.facts, {**files, **record}))
