"""What a grid costs beside the work of its cells: planning, processes, records, progress.

    python -m benchmarks.overhead [--cells 10,1000] [--workers 1] [--model tiny-tango]

One real cell is made first. Then grids of so many cells of the same model are run whose jobs do nothing but leave that
cell's results under their own names (`benchmarks.stub_program`), each cell with a job for its quantization and one for
the rest, each in a process of its own. A line a grid is printed: seconds of planning and of all, milliseconds a cell;
seconds of the same again with everything finished; and the parent's memory at its end.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import psutil

from admbench.bench.run.executors.local import LocalExecutor
from admbench.bench.run.grid import GridSpec, load_grid
from admbench.bench.run.layout import RunLayout
from admbench.bench.run.runner import Events, run_grid
from benchmarks.stub_program import TEMPLATE

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
        print("cells  planning_s  run_s  ms_a_cell  again_s  memory_MB")
        for size, grid in zip(sizes, grids, strict=True):
            planning, first = _timed(grid)
            _, again = _timed(grid)
            memory = psutil.Process().memory_info().rss / 1e6
            per_cell = 1000 * first / size
            print(f"{size:5}  {planning:10.2f}  {first:5.1f}  {per_cell:9.1f}  {again:7.2f}  {memory:9.0f}", flush=True)


def _grid(model: str, cells: int, workers: int, out: Path) -> GridSpec:
    methods = [METHOD.format(number + 1) for number in range(cells)]
    wanted = {"models": [model], "methods": methods, "limit": 2, "metrics.names": ["fd"], "generation.steps": 2}
    return load_grid(None, {**wanted, "out": out, "execution.workers": workers})


def _timed(grid: GridSpec) -> tuple[float, float]:
    """Run a grid; return the seconds until it was planned, and until it ended."""
    planned = []
    began = time.perf_counter()
    executor = LocalExecutor(grid.execution.workers, 600.0, "benchmarks.stub_program")
    events = Events(planned=lambda plan: planned.append(time.perf_counter()))
    results = run_grid(grid, command="benchmark", executor=executor, events=events)
    ended = time.perf_counter()
    failed = [result for result in results if result.reason is not None]
    if failed:
        sys.exit(f"{failed[0].job.name}: {failed[0].reason}")
    return planned[0] - began, ended - began


if __name__ == "__main__":
    main()
