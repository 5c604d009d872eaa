"""What a run on a cluster costs beside the work of its cells: measured here, and reckoned from that for many workers.

    python -m benchmarks.cluster measure [--cells 40]
    python -m benchmarks.cluster simulate [--cells 10000] [--workers 64,256,1024] [--work 60]

`measure` carries out one grid of stub cells (as `benchmarks.overhead`) by one worker, by two, and by two Ray nodes of
one core on loopback, and prints cells an hour, the processor time of whoever began the run (planning, journal,
records), and the load of the machine; then what 10,000 tasks cost whoever began the run, with a scheduler
that answers at once.

`simulate` draws a run event by event. A cell takes its work (lognormal, and some stragglers), the overhead of its
processes and its files on storage that all nodes share: a latency each, one after the other, and a bandwidth that all
share. Whoever began the run handles submissions and ends one at a time. A lost node's cell is done again.
"""

from __future__ import annotations

import argparse
import heapq
import os
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from admbench.bench.run.executors.base import Executor, Outcome, Stage, Task
from admbench.bench.run.executors.batches import Batch, Lost
from admbench.bench.run.executors.local import LocalExecutor
from admbench.bench.run.executors.remote import RemoteExecutor
from admbench.bench.run.grid import GenerationSpec, GridSpec, load_grid
from admbench.bench.run.jobs import CellJob, QuantizeJob
from admbench.bench.run.layout import RunLayout
from admbench.bench.run.made_by import MadeBy
from admbench.bench.run.runner import run_grid
from admbench.bench.scoring.spec import JudgeSpec
from benchmarks import TEMPLATE

MODEL = "tiny-tango"
PROGRAM = "benchmarks.stub_program"
TIMEOUT = 600.0


class Instant:
    """A scheduler whose nodes take no time: each batch has begun and ended when it is asked for."""

    def __init__(self) -> None:
        self._batches: list[Batch] = []

    def submit(self, batches: Sequence[Batch]) -> None:
        """Take batches."""
        self._batches += batches

    def reports(self) -> Iterator[Stage | Outcome | Lost]:
        """Yield the end of all."""
        batches, self._batches = self._batches, []
        for batch in batches:
            for task in batch.tasks:
                yield Stage(task.job, "stub")
                yield Outcome(task.job, None, 0.0)
            yield Lost(batch.id, "")

    def close(self) -> None:
        """Do nothing."""


def grid_of(cells: int, workers: int, out: Path) -> GridSpec:
    """Return a grid of so many cells, each of a spec of its own."""
    methods = [f"hqq@w4a16[iterations={number + 1}]" for number in range(cells)]
    wanted = {"models": [MODEL], "methods": methods, "limit": 2, "metrics.names": ["fd"], "generation.steps": 2}
    return load_grid(None, {**wanted, "out": out, "execution.workers": workers, "execution.cpus": 1})


def measure(cells: int) -> None:
    """Print cells an hour of stubs on one worker, two workers and two Ray nodes."""
    root = Path(__file__).resolve().parents[1]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        real = grid_of(1, 1, folder / "real")
        assert [result.reason for result in run_grid(real, command="benchmark")] == [None]
        os.environ[TEMPLATE] = str(RunLayout(real.out).cell(MODEL, real.methods[0]).path)
        print("executor        cells  seconds  cells_an_hour  parent_ms  load", flush=True)
        for workers in (1, 2):
            local = LocalExecutor(workers, TIMEOUT, PROGRAM)
            _print_rate(f"local, {workers}", grid_of(cells, workers, folder / f"local-{workers}"), local)
        with _TwoRayNodes() as address:
            from admbench.bench.run.executors.ray_cluster import RayCluster

            remote = RemoteExecutor(RayCluster(address), 2, TIMEOUT, 2, program=PROGRAM)
            _print_rate("ray, 2 nodes", grid_of(cells, 2, folder / "ray"), remote)
    for size in (1000, 10000):
        print(f"driver: {1000 * driver_seconds(size) / size:.2f} ms a cell of {size}")


def _print_rate(name: str, grid: GridSpec, executor: Executor) -> None:
    began, worked = time.perf_counter(), time.process_time()
    failed = [result.reason for result in run_grid(grid, command="benchmark", executor=executor) if result.reason]
    seconds = time.perf_counter() - began
    assert not failed, failed[0]
    cells = len(grid.methods)
    parent = 1000 * (time.process_time() - worked) / cells
    rate = 3600 * cells / seconds
    print(f"{name:14}  {cells:5}  {seconds:7.1f}  {rate:13.0f}  {parent:9.0f}  {os.getloadavg()[0]:4.1f}", flush=True)


class _TwoRayNodes:
    def __enter__(self) -> str:
        from ray.cluster_utils import Cluster

        node = {"num_cpus": 1, "object_store_memory": 80_000_000, "node_ip_address": "127.0.0.2"}
        os.environ["RAY_agent_register_timeout_ms"] = "120000"  # noqa: SIM112 (Ray's own spelling)
        self._cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
        self._cluster.add_node(**node)
        return str(self._cluster.address)

    def __exit__(self, *_: object) -> None:
        self._cluster.shutdown()


def driver_seconds(cells: int) -> float:
    """Return what it takes to hand out so many cells and to hear of them, beside journal and records."""
    with tempfile.TemporaryDirectory() as folder:
        tasks = _tasks(cells, Path(folder))
        executor = RemoteExecutor(Instant(), 256, TIMEOUT, 2, program=PROGRAM)
        began = time.perf_counter()
        ended = sum(1 for _ in executor.run(tasks, lambda job, stage: None))
        assert ended == len(tasks)
        return time.perf_counter() - began


def _tasks(cells: int, run: Path) -> list[Task]:
    """Return quantizations and cells, each cell after its quantization."""
    shared = {"run": run, "seed": 0, "device": "cpu", "threads": 1, "made_by": MadeBy()}
    of_model = {"model": MODEL, "model_sha256": "f" * 64}
    clips = {"suite": "s", "suite_name": "s", "limit": 2, "generation": GenerationSpec(), "judges": JudgeSpec()}
    tasks = []
    for number in range(cells):
        method, made, key = f"hqq@w4a16[iterations={number + 1}]", f"q{number:063}", f"c{number:063}"
        tasks.append(Task(QuantizeJob(key=made, method=method, **shared, **of_model)))
        cell = CellJob(
            key=key,
            method=method,
            checkpoint=made,
            extractors=(),
            metrics=("fd",),
            command="",
            **clips,
            **shared,
            **of_model,
        )
        tasks.append(Task(cell, (made,)))
    return tasks


IDLE, MADE = 0, 1


@dataclass(frozen=True)
class Costs:
    """What is there beside the work of a cell; where the defaults are from is in docs/clusters.md."""

    overhead: float = 2.5
    """Seconds of processes a cell, where the fork server is kept."""
    start: float = 0.0
    """Seconds until a node has imported what a cell needs, before each cell; of Slurm, with one cell a job."""
    queue: float = 0.0
    """Seconds in the scheduler's queue, before each cell."""
    driver: float = 0.016
    """Seconds of whoever began the run a cell: submitting it, its reports, journal and records."""
    files: int = 113
    """Files that a cell writes to storage, one after the other."""
    latency: float = 0.002
    """Seconds of storage a file."""
    megabytes: float = 15.0
    """Of a cell's files."""
    bandwidth: float = 1000.0
    """Megabytes a second of storage, which all nodes share."""


@dataclass(frozen=True)
class Work:
    """How long cells take."""

    median: float
    """Seconds."""
    spread: float = 0.3
    """Standard deviation of its logarithm."""
    stragglers: float = 0.01
    """Share of cells that take `slower` times as long."""
    slower: float = 5.0
    lost: float = 0.001
    """Share of cells whose node is lost, half-way; they are done again."""


@dataclass(frozen=True)
class Ran:
    """How a run went."""

    seconds: float
    ideal: float
    """Seconds, if workers did nothing but the work of cells and ended together."""
    driver: float
    """Share of the time that whoever began the run was at work."""
    storage: float
    """The same of storage's bandwidth."""
    tail: float
    """Share of the time after the last cell had begun."""


def simulate(cells: int, workers: int, work: Work, costs: Costs, seed: int = 0) -> Ran:
    """Draw a run."""
    rng = random.Random(seed)
    waiting = []
    for _ in range(cells):
        seconds = work.median * rng.lognormvariate(0.0, work.spread)
        waiting.append(seconds * (work.slower if rng.random() < work.stragglers else 1.0))
    ideal = sum(waiting) / workers
    driver = storage = began = end = 0.0
    handled = 0
    events = [(0.0, IDLE)] * workers
    """When, and what then: a worker is idle, or has made a cell and publishes it."""
    while events:
        now, what = heapq.heappop(events)
        if what == MADE:
            storage = max(storage, now) + costs.megabytes / costs.bandwidth
            end = max(end, storage)
            heapq.heappush(events, (storage, IDLE))
        elif waiting:
            seconds = waiting.pop()
            handled += 1
            driver = max(driver, now) + costs.driver
            began = driver + costs.queue + costs.start
            if rng.random() < work.lost:
                waiting.append(seconds)
                heapq.heappush(events, (began + seconds / 2, IDLE))
            else:
                made = began + costs.overhead + seconds + costs.files * costs.latency
                heapq.heappush(events, (made, MADE))
    moved = cells * costs.megabytes / costs.bandwidth
    return Ran(end, ideal, handled * costs.driver / end, moved / end, (end - began) / end)


SCENARIOS = {
    "as measured": {},
    "Slurm, a cell a job": {"start": 7.6, "queue": 5.0},
    "slow storage": {"latency": 0.02, "bandwidth": 100.0},
    "slow driver": {"driver": 0.2},
}


def reckon(cells: int, workers: Sequence[int], median: float) -> None:
    """Print how runs of so many cells go on so many workers, and how if one cost were another."""
    print("scenario             workers    hours  efficiency  driver  storage  tail")
    for name, change in SCENARIOS.items():
        for count in workers:
            ran = simulate(cells, count, Work(median), replace(Costs(), **change))
            shares = f"{ran.ideal / ran.seconds:10.0%}  {ran.driver:6.0%}  {ran.storage:7.0%}  {ran.tail:4.0%}"
            print(f"{name:20} {count:7}  {ran.seconds / 3600:7.2f}  {shares}")


def main() -> None:
    """Measure or simulate."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster")
    commands = parser.add_subparsers(dest="command", required=True)
    measuring = commands.add_parser("measure")
    measuring.add_argument("--cells", type=int, default=40)
    simulating = commands.add_parser("simulate")
    simulating.add_argument("--cells", type=int, default=10000)
    simulating.add_argument("--workers", default="64,256,1024")
    simulating.add_argument("--work", type=float, default=60.0, help="median seconds of a cell's work")
    options = parser.parse_args()
    if options.command == "measure":
        measure(options.cells)
    else:
        reckon(options.cells, [int(count) for count in options.workers.split(",")], options.work)


if __name__ == "__main__":
    main()
