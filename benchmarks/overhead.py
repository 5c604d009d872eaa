"""What a grid costs beside the work of its cells: planning, processes, records, progress.

    python -m benchmarks.overhead [--cells 10,1000] [--workers 1] [--model tiny-tango]

One real cell is made first. Then grids of so many cells of the same model are run whose jobs do nothing but leave that
cell's results under their own names (`benchmarks.stub_program`), each cell with a job for its quantization and one for
the rest, each in a process of its own. A line a grid is printed: seconds until it was planned and until it ended, by
the clock; seconds of processor time of all its processes, user and system; of both, milliseconds a cell beyond a grid
of one cell, whose time is that of starting; and the parent's memory at its end. Then `bench run` is called on what is
finished, as a user would, twice: seconds by the clock, first with the leaderboard yet to be written, then with nothing
left to do, and the memory that each of the two had at most. Processor time is what tells where others use the machine
too; the load is printed with it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from admbench import children
from admbench.bench.run.executors.local import LocalExecutor
from admbench.bench.run.grid import GridSpec, load_grid
from admbench.bench.run.layout import RunLayout
from admbench.bench.run.runner import Events, run_grid
from benchmarks import TEMPLATE

METHOD = "hqq@w4a16[iterations={}]"
"""A method without calibration data, and an option that makes as many of it as are wanted."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overhead")
    parser.add_argument("--cells", default="10,1000", help="sizes of the grids")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--model", default="tiny-tango")
    options = parser.parse_args()
    root = Path(__file__).resolve().parents[1]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    with tempfile.TemporaryDirectory() as folder:
        sizes = [int(size) for size in options.cells.split(",")]
        grids = [_grid(options.model, size, options.workers, Path(folder) / str(size)) for size in sizes]
        real = _grid(options.model, 1, options.workers, Path(folder) / "real")
        assert [result.reason for result in run_grid(real, command="benchmark")] == [None]
        os.environ[TEMPLATE] = str(RunLayout(real.out).cell(options.model, real.methods[0]).path)
        starting = _timed(_grid(options.model, 1, options.workers, Path(folder) / "start"))
        print(f"starting: {starting.ended:.1f} s, {starting.processor:.1f} s of processor time, once a run")
        print(
            "cells  planned_s  run_s  cpu_s  ms_a_cell  cpu_ms_a_cell  parent_MB"
            "  board_s  board_MB  again_s  again_MB  load"
        )
        for size, grid in zip(sizes, grids, strict=True):
            ran = _timed(grid)
            memory = psutil.Process().memory_info().rss / 1e6
            board, again = _command(grid), _command(grid)
            more = max(1, size - 1)
            print(
                f"{size:5}  {ran.planned:9.2f}  {ran.ended:5.1f}  {ran.processor:5.1f}"
                f"  {1000 * (ran.ended - starting.ended) / more:9.1f}"
                f"  {1000 * (ran.processor - starting.processor) / more:13.1f}  {memory:9.0f}"
                f"  {board.seconds:7.1f}  {board.megabytes:8.0f}  {again.seconds:7.1f}  {again.megabytes:8.0f}"
                f"  {os.getloadavg()[0]:4.1f}",
                flush=True,
            )


@dataclass(frozen=True)
class Timed:
    """Seconds of a run."""

    planned: float
    ended: float
    processor: float
    """User and system, of this process and all that it started."""


def _grid(model: str, cells: int, workers: int, out: Path) -> GridSpec:
    methods = [METHOD.format(number + 1) for number in range(cells)]
    wanted = {"models": [model], "methods": methods, "limit": 2, "metrics.names": ["fd"], "generation.steps": 2}
    return load_grid(None, {**wanted, "out": out, "execution.workers": workers})


def _timed(grid: GridSpec) -> Timed:
    """Run a grid."""
    planned = []
    began, used = time.perf_counter(), _processor_seconds()
    executor = LocalExecutor(grid.execution.workers, 600.0, "benchmarks.stub_program")
    events = Events(planned=lambda plan: planned.append(time.perf_counter()))
    results = run_grid(grid, command="benchmark", executor=executor, events=events)
    failed = [result for result in results if result.reason is not None]
    if failed:
        sys.exit(f"{failed[0].job.name}: {failed[0].reason}")
    return Timed(planned[0] - began, time.perf_counter() - began, _processor_seconds() - used)


@dataclass(frozen=True)
class Called:
    """A command's time by the clock, and the memory that it, or this process when it started it, had at most."""

    seconds: float
    megabytes: float


def _command(grid: GridSpec) -> Called:
    """Call `bench run` on a grid."""
    table = grid.out.with_suffix(".toml")
    values = {
        "models": grid.models,
        "methods": grid.methods,
        "limit": grid.limit,
        "out": str(grid.out),
        "metrics.names": grid.metrics.names,
        "generation.steps": grid.generation.steps,
        "execution.workers": grid.execution.workers,
    }
    table.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()))
    began = time.perf_counter()
    command = [*children.command("admbench"), "run", str(table), "--quiet"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - began
    if process.returncode:
        sys.exit(f"{' '.join(command)}: exit code {process.returncode}")
    return Called(seconds, used.ru_maxrss * 1024 / 1e6)


def _processor_seconds() -> float:
    found = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in found)


if __name__ == "__main__":
    main()
