"""Several runs, made in parts or on several machines, as one: `bench merge`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from admbench.bench.run.layout import JobFolder, RunLayout
from admbench.bench.run.lock import hold
from admbench.errors import DataError
from admbench.files import atomic_directory, link, read_json
from admbench.leaderboard.run_folder import BASELINES, CELLS, REFERENCE


@dataclass(frozen=True)
class Conflict:
    """Two runs have something of one name that is not the same."""

    place: str
    """In a run folder, such as `cells/tiny-tango/fp32`."""
    kept: Path
    left: Path
    """Folder that was not taken."""

    def __str__(self) -> str:
        return f"{self.left}: not the same as {self.kept}, which was kept; nothing was overwritten"


@dataclass(frozen=True)
class Merged:
    """What a merge did."""

    added: tuple[str, ...]
    """Places in the run folder that were linked into it."""
    known: tuple[str, ...]
    """Places that were there already, with the same key."""
    conflicts: tuple[Conflict, ...]


def merge_runs(runs: Sequence[Path], out: Path) -> Merged:
    """Link the finished work of some runs into one run folder, where `bench run` goes on from it.

    A cell that failed or was skipped is not finished: whoever has it done gives it, else `bench run` tries it again.

    Cells, baselines, reference audio and calibration sets are the same if their keys are: hashes over all that
    determines them. Of the same cell from two machines the first stays, with its times. What has another key is named
    and left where it is. Files are hard links where the file system has them: nothing changes in place.

    Args:
        runs: run folders; the first that has a cell gives it.
        out: a run folder, or a new one.

    Raises:
        DataError: one of them holds no finished work, or cannot be read.
        UsageError: a run is at work in `out`.
    """
    places = {run: list(_finished(run)) for run in runs}
    for run, found in places.items():
        if not found:
            raise DataError(f"{run}: no finished cells; expected a run folder")
    added, known, conflicts = [], [], []
    with hold(out):
        for run, found in places.items():
            for place in found if run.resolve() != out.resolve() else ():
                source, target = run / place, out / place
                if not target.exists() or not _is_finished(target):
                    _link_whole(source, target)
                    added.append(place)
                elif _key(source) == _key(target):
                    known.append(place)
                else:
                    conflicts.append(Conflict(place, target, source))
    return Merged(tuple(added), tuple(known), tuple(conflicts))


def _finished(run: Path) -> Iterator[str]:
    """Yield the places of a run that hold finished work, relative to it; hidden names are work in progress."""
    cells = [path for path in run.glob(f"{CELLS}/*/*") if _is_finished(path)]
    if not cells:
        return
    others = (*run.glob(f"{REFERENCE}/*"), *run.glob(f"{BASELINES}/*"), *RunLayout(run).calibration.glob("*"))
    for path in [*cells, *others]:
        relative = path.relative_to(run)
        if not any(part.startswith(".") for part in relative.parts) and not path.is_symlink():
            yield relative.as_posix()


def _is_finished(path: Path) -> bool:
    """Return whether a published folder holds finished work: not a cell whose record is of a failure, or damaged."""
    try:
        return path.parent.parent.name != CELLS or read_json(JobFolder(path).record)["status"] == "done"
    except (DataError, KeyError, TypeError):
        return False


def _key(path: Path) -> str:
    """Return what determines a finished piece of work: its job's key; a calibration set is called by its own."""
    job = JobFolder(path).job
    return str(read_json(job)["key"]) if job.is_file() else path.name


def _link_whole(source: Path, target: Path) -> None:
    """Link a file or folder so that it is there whole or not at all."""
    if not source.is_dir():
        link(source, target)
        return
    with atomic_directory(target) as made:
        for child in source.iterdir():
            if not child.is_symlink():
                link(child, made / child.name)
