"""A `bench run` as a process of its own that is killed again and again, and what has to be left of it each time."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from admbench import children
from admbench.bench.run.grid import GridSpec
from admbench.bench.run.layout import RunLayout
from admbench.bench.run.lock import is_held
from admbench.leaderboard.reading import read_record

from .clusters import wait_for

SECONDS = 600.0
"""That a run is waited for, on a busy machine."""


def outlive(grid: GridSpec, kills: int, kill: Callable[[Run, int], bool], tried: Callable[..., None]) -> None:
    """Carry out a grid through so many kills; a record that says that its cell is done has to stay, whatever dies.

    Args:
        grid: of cells that can be done.
        kills: that there have to be.
        kill: kills a process of a run as that number, when it sees fit, and returns whether there was one to kill.
        tried: counts them.
    """
    run, number, runs = Run(grid), 0, 1
    finished: dict[Path, bytes] = {}
    while number < kills:
        if kill(run, number):
            number += 1
            tried()
        over = run.ended()
        now = _done(grid)
        assert finished.keys() <= now.keys(), f"lost by kill {number}"
        finished = now
        if over:
            run, runs = Run(grid, fresh=len(finished) == len(grid.methods)), runs + 1
            assert runs < 10 + kills, "it is hardly ever there to be killed"
    run.finish(-signal.SIGKILL)
    if len(_done(grid)) < len(grid.methods):  # a job that was killed itself is a failed cell until the next run
        Run(grid).finish()


def _done(grid: GridSpec) -> dict[Path, bytes]:
    """The records that say that their cell is done, each of them valid."""
    found = {}
    for path in RunLayout(grid.out).records():
        with suppress(FileNotFoundError):  # replaced between the two
            if read_record(path).status == "done":
                found[path] = path.read_bytes()
    return found


class Run:
    """A `bench run` at work, as a process of its own.

    Args:
        grid: what it runs.
        fresh: whether finished cells are done again.
    """

    def __init__(self, grid: GridSpec, *, fresh: bool = False) -> None:
        self._out = grid.out
        self._journal = RunLayout(grid.out).journal
        wanted = grid.model_dump(mode="json")
        table = grid.out.with_name(f"{grid.out.name}.json")
        table.write_text(json.dumps(wanted))
        code = (
            "import json, sys\n"
            "from admbench.bench.run.grid import GridSpec\n"
            "from admbench.bench.run.runner import run_grid\n"
            "grid = GridSpec.model_validate(json.load(open(sys.argv[1])))\n"
            "run_grid(grid, command='bench run', fresh=sys.argv[2] == 'fresh')\n"
        )
        assert not is_held(grid.out)
        RunLayout(grid.out).journal.unlink(missing_ok=True)
        command = [*children.command("x")[:2], "-c", code, str(table), "fresh" if fresh else "resumed"]
        self._process = subprocess.Popen(command, start_new_session=True, stdin=subprocess.DEVNULL)
        self.pid = self._process.pid

    def ended(self) -> bool:
        """Return whether the run is over; then none of its processes is left that holds its lock."""
        if not self.is_over():
            return False
        self._process.wait(SECONDS)
        wait_for(lambda: not is_held(self._out), SECONDS)
        return True

    def finish(self, *codes: int) -> None:
        """Wait for its end, by itself or with one of some exit codes."""
        assert self._process.wait(SECONDS) in (0, *codes)
        assert self.ended()

    def is_over(self) -> bool:
        """Return whether its first process has ended, or is about to."""
        return self._process.poll() is not None or psutil.Process(self.pid).status() == psutil.STATUS_ZOMBIE

    def begun(self) -> int:
        """The stages that have begun."""
        try:
            return self._journal.read_bytes().count(b'"event":"stage"')
        except FileNotFoundError:
            return 0
