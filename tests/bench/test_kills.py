"""`kill -9` at many moments of a run, of any of its processes: nothing finished is lost, the records are the same."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

import psutil
import pytest

from admbench import children
from admbench.bench.run.executors.forked import SERVER
from admbench.bench.run.grid import GridSpec
from admbench.bench.run.layout import RunLayout
from admbench.bench.run.lock import is_held
from admbench.errors import DataError
from admbench.leaderboard.reading import read_record

from .clusters import wait_for
from .in_process import JUDGES
from .settled import settled

KILLS = 50
SEED = 20
METHODS = ["fp32", *(f"naive@w{bits}a8[prompts=2,timesteps=2,steps=2]" for bits in (4, 8))]
MOST_STAGES = 6
"""Stages that begin, at most, between two kills."""
SECONDS = 600.0
"""That a run is waited for, on a busy machine."""

Victim = Literal["run", "server", "guard", "job"]
VICTIMS: tuple[Victim, ...] = ("job", "server", "job", "guard", "run")
"""In this order, again and again: the last ends the run, and the next begins."""


@pytest.mark.slow(330)
@pytest.mark.attack("kill -9 of a process of a run")
@pytest.mark.usefixtures("plugins")
def test_kills_at_many_moments_lose_nothing_and_the_records_are_those_of_an_undisturbed_run(
    make_grid: Callable[..., GridSpec], tmp_path: Path, tried: Callable[..., None]
) -> None:
    options = {"methods": METHODS, "limit": 2, "metrics__names": ["clap"], "metrics__clap": JUDGES.clap}
    undisturbed = make_grid(out=tmp_path / "undisturbed", **options)
    Run(undisturbed).finish()
    grid = make_grid(out=tmp_path / "killed", **options)
    rng = random.Random(SEED)
    run, kills, runs = Run(grid), 0, 1
    finished: dict[Path, bytes] = {}
    while kills < KILLS:
        victim = VICTIMS[kills % len(VICTIMS)]
        if run.kill(victim, rng.randint(0, MOST_STAGES), rng.random()):
            kills += 1
            tried()
        over = run.ended()
        now = done(grid)
        lost = [path for path in finished if path not in now]
        assert not lost, f"{victim} killed as number {kills} of seed {SEED}"
        finished = now
        if over:
            run, runs = Run(grid, fresh=len(finished) == len(METHODS)), runs + 1
            assert runs < KILLS, "it is hardly ever there to be killed"
    run.stop()
    Run(grid).finish()
    assert settled(grid) == settled(undisturbed)
    assert not RunLayout(grid.out).all_work.exists()


def done(grid: GridSpec) -> dict[Path, bytes]:
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
        self._read = 0
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

    def kill(self, victim: Victim, stages: int, share: float) -> bool:
        """Kill a process of the run after so many stages have begun; return whether there was one to kill.

        Args:
            victim: which; of several that which lies at `share` of all.
            stages: that begin first.
            share: from 0 to 1.
        """
        wait_for(lambda: self._begun() >= self._read + stages or self._process.poll() is not None, SECONDS)
        self._read = self._begun()
        pids = self._pids(victim)
        if not pids:
            return False
        with suppress(ProcessLookupError):
            os.kill(pids[int(share * len(pids))], signal.SIGKILL)
            return True
        return False

    def ended(self) -> bool:
        """Return whether the run is over; then none of its processes is left that holds its lock."""
        if self._process.poll() is None and not self._is_dying():
            return False
        self._process.wait(SECONDS)
        wait_for(lambda: not is_held(self._out), SECONDS)
        return True

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait(SECONDS)
        assert self.ended()

    def finish(self) -> None:
        """Wait for its end."""
        assert self._process.wait(SECONDS) == 0
        assert self.ended()

    def _is_dying(self) -> bool:
        return psutil.Process(self._process.pid).status() == psutil.STATUS_ZOMBIE

    def _begun(self) -> int:
        """The stages that have begun."""
        try:
            return self._journal.read_bytes().count(b'"event":"stage"')
        except FileNotFoundError:
            return 0

    def _pids(self, victim: Victim) -> list[int]:
        try:
            run = psutil.Process(self._process.pid)
            if victim == "run":
                return [run.pid]
            servers = [child for child in run.children() if SERVER in child.cmdline()]
            if victim == "server":
                return [one.pid for one in servers]
            guards = [guard for one in servers for guard in one.children()]
            if victim == "guard":
                return [one.pid for one in guards]
            return [one.pid for guard in guards for one in guard.children()]
        except (psutil.Error, DataError):
            return []
