"""`kill -9` of whoever began a run on Ray, of a worker and of a node, at many moments: the records are the same."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from admbench.bench.run.grid import GridSpec

from .clusters import add_ray_node, ray_cluster, ray_workers_at_work, wait_for
from .in_process import JUDGES
from .killed_run import SECONDS, Run, outlive
from .settled import settled

KILLS = 3 * ["driver", "worker", "node"]
"""In an order that is drawn; with those of `test_kills.py` 50."""
SEED = 9
METHODS = ["fp32", *(f"naive@w{bits}a8[prompts=2,timesteps=2,steps=2]" for bits in (4, 6, 8))]
MOST_STAGES = 4
"""Stages that begin, at most, between two kills."""
ATTEMPTS = 20
"""Of a job, which may be the one that is at work at every kill."""


@pytest.mark.slow(150)
@pytest.mark.attack("kill -9 of a process of a run")
@pytest.mark.usefixtures("plugins")
def test_kills_of_driver_worker_and_node_lose_nothing_and_the_records_are_those_of_an_undisturbed_run(
    make_grid: Callable[..., GridSpec], tmp_path: Path, tried: Callable[..., None]
) -> None:
    options = {
        "methods": METHODS,
        "limit": 2,
        "metrics__names": ["clap"],
        "metrics__clap": JUDGES.clap,
        "execution__cpus": 1,
    }
    undisturbed = make_grid(out=tmp_path / "undisturbed", **options)
    Run(undisturbed).finish()
    rng = random.Random(SEED)
    order = rng.sample(KILLS, len(KILLS))
    with ray_cluster() as cluster:
        on_ray = {"execution__executor": "ray", "execution__ray__address": cluster.address}
        grid = make_grid(out=tmp_path / "killed", **options, **on_ray, execution__ray__attempts=ATTEMPTS)

        def kill(run: Run, number: int) -> bool:
            victim, stages, share = order[number], run.begun() + rng.randint(0, MOST_STAGES), rng.random()
            (other,) = cluster.worker_nodes
            nodes = [other] if victim == "node" else [cluster.head_node, other]
            found: list[psutil.Process] = []

            def is_there() -> bool:
                found[:] = [process for node in nodes for process in ray_workers_at_work(node)]
                return run.begun() >= stages and bool(found)

            wait_for(lambda: run.is_over() or is_there(), SECONDS)
            if run.is_over():
                return False
            if victim == "node":
                cluster.remove_node(other, allow_graceful=False)
                add_ray_node(cluster, {})
                return True
            with suppress(ProcessLookupError):
                os.kill(run.pid if victim == "driver" else found[int(share * len(found))].pid, signal.SIGKILL)
                return True
            return False

        outlive(grid, len(KILLS), kill, tried)
    assert settled(grid) == settled(undisturbed)
