"""`kill -9` at many moments of a run, of any of its processes: nothing finished is lost, the records are the same."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

import psutil
import pytest

from admbench.bench.run.executors.forked import SERVER
from admbench.bench.run.grid import GridSpec
from admbench.bench.run.layout import RunLayout
from admbench.errors import DataError

from .clusters import wait_for
from .in_process import JUDGES
from .killed_run import SECONDS, Run, outlive
from .settled import settled

KILLS = 41
"""With those of `test_ray_kills.py` 50."""
SEED = 20
METHODS = ["fp32", *(f"naive@w{bits}a8[prompts=2,timesteps=2,steps=2]" for bits in (4, 8))]
MOST_STAGES = 6
"""Stages that begin, at most, between two kills."""

Victim = Literal["run", "server", "guard", "job"]
VICTIMS: tuple[Victim, ...] = ("job", "server", "job", "guard", "run")
"""In this order, again and again: the last ends the run, and the next begins."""


@pytest.mark.slow(270)
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

    def kill(run: Run, number: int) -> bool:
        stages, share = run.begun() + rng.randint(0, MOST_STAGES), rng.random()
        wait_for(lambda: run.begun() >= stages or run.is_over(), SECONDS)
        pids = pids_of(run, VICTIMS[number % len(VICTIMS)])
        if not pids:
            return False
        with suppress(ProcessLookupError):
            os.kill(pids[int(share * len(pids))], signal.SIGKILL)
            return True
        return False

    outlive(grid, KILLS, kill, tried)
    assert settled(grid) == settled(undisturbed)
    assert not RunLayout(grid.out).all_work.exists()


def pids_of(run: Run, victim: Victim) -> list[int]:
    """The processes of a run that are of one kind."""
    try:
        first = psutil.Process(run.pid)
        if victim == "run":
            return [first.pid]
        servers = [child for child in first.children() if SERVER in child.cmdline()]
        if victim == "server":
            return [one.pid for one in servers]
        guards = [guard for one in servers for guard in one.children()]
        if victim == "guard":
            return [one.pid for one in guards]
        return [one.pid for guard in guards for one in guard.children()]
    except (psutil.Error, DataError):
        return []
