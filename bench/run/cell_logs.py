"""What a cell said, or says while it runs: first its quantization, then the rest."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pydantic import ValidationError

from admbench.bench.run.answers import read_tail
from admbench.bench.run.jobs import job_from_json
from admbench.bench.run.journal import JobStanding, read_journal
from admbench.bench.run.layout import JobFolder, RunLayout
from admbench.bench.run.lock import is_held
from admbench.errors import DataError, UsageError, nearest
from admbench.leaderboard.run_folder import CELLS
from admbench.plain_text import visible

POLL_SECONDS = 0.2
MOST_OF_A_LINE = 4000
MOST_BYTES = 1 << 20
"""Of a log that are shown, its last ones."""


class CellLogs:
    """The logs of a cell.

    Args:
        run: run folder.
        name: `MODEL METHOD` or `MODEL/METHOD`, as typed in the grid or as the folder is called.

    Raises:
        DataError: there is no run, or its journal is damaged.
        UsageError: the run has no such cell; names the nearest.
    """

    def __init__(self, run: Path, name: str) -> None:
        self._run = run
        self._place = _find(run, name)
        self._given = [0, 0]
        """Bytes of each log that were given already."""

    def lines(self) -> Iterator[str]:
        """Yield what there is and was not given yet, a printable line each; a line that is not whole waits."""
        for number, path in enumerate(self._files()):
            if path is not None:
                yield from self._new_lines(number, path)

    def follow(self, sleep: Callable[[float], None] = time.sleep) -> Iterator[str]:
        """Yield lines until the cell has ended, or the run."""
        while True:
            over = not is_held(self._run) or not self._unended()
            yield from self.lines()  # after that question, so that nothing said before the end is missed
            if over:
                return
            sleep(POLL_SECONDS)

    def _jobs(self) -> list[JobStanding]:
        """Return the jobs that the last run had to do for the cell, in their order."""
        journal = read_journal(self._run)
        if journal is None:
            return []
        keys = {cell.key for cell in journal.planned.cells if cell.place == self._place}
        return [job for job in journal.jobs.values() if job.entry.cell in keys]

    def _unended(self) -> bool:
        jobs = self._jobs()
        return bool(jobs) and jobs[-1].ended is None

    def _files(self) -> tuple[Path | None, Path | None]:
        """Return the log of the quantization and that of the rest, where they lie now; None for one that is not there.

        While a cell is at work, what an earlier run left in its folder is not meant.
        """
        layout, jobs = RunLayout(self._run), self._jobs()
        left = JobFolder(self._run / self._place)
        at_work = {job.entry.kind: layout.work(job.entry.key).log for job in jobs}
        waits = JobFolder(layout.all_quantized / Path(self._place).relative_to(CELLS)).log
        first, second = [at_work.get("quantize"), waits], [at_work.get("cell")]
        if not (jobs and jobs[-1].ended is None) and not any(_there(path) for path in (*first, *second)):
            if _there(left.attempt_log):
                return None, left.attempt_log
            first, second = [left.quantization_log], [left.log]
        return next(filter(_there, first), None), next(filter(_there, second), None)

    def _new_lines(self, number: int, path: Path) -> Iterator[str]:
        data, size = read_tail(path, MOST_BYTES) or b"", path.stat().st_size
        unread = max(0, size - self._given[number])
        whole, end, _ = data[len(data) - min(unread, len(data)) :].rpartition(b"\n")
        if end:
            self._given[number] = size - min(unread, len(data)) + len(whole) + 1
            for line in whole.decode("utf-8", "replace").split("\n"):
                yield visible(line, MOST_OF_A_LINE)


def _there(path: Path | None) -> bool:
    return path is not None and path.is_file()


def _find(run: Path, name: str) -> str:
    """Return the place of a cell in a run folder."""
    places = _places(run)
    wanted = " ".join(name.strip().strip("/").removeprefix(f"{CELLS}/").split())
    for known, place in places.items():
        if wanted in (known, known.replace(" ", "/", 1), place.removeprefix(f"{CELLS}/")):
            return place
    if not places:
        raise DataError(f"{run}: no run is there; expected the folder of `bench run`")
    raise UsageError(f'{run}: no cell "{name}".{nearest(name, list(places))} Expected one of: {"; ".join(places)}')


def _places(run: Path) -> dict[str, str]:
    """Return the place of each cell by its name; of cells that the last run did not know, by their folders'."""
    journal = read_journal(run)
    known = {} if journal is None else {cell.name: cell.place for cell in journal.planned.cells}
    others = [path.relative_to(run) for path in sorted(run.glob(f"{CELLS}/*/*")) if not path.name.startswith(".")]
    named = set(known.values())
    return known | {_name(run, path): path.as_posix() for path in others if path.as_posix() not in named}


def _name(run: Path, place: Path) -> str:
    """Return the name of the cell in a folder, as its job says it, else as the folder is called."""
    try:
        return job_from_json((read_tail(JobFolder(run / place).job) or b"").decode("utf-8", "replace")).name
    except ValidationError:
        return " ".join(place.parts[1:])
