"""A cell whose clips are made in parts, each a job of its own: it comes to what the undivided cell comes to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from admbench.bench.cli.app import main
from admbench.bench.run.executors.local import LocalExecutor
from admbench.bench.run.grid import GridSpec
from admbench.bench.run.jobs import BaselineJob, CellJob, Job, PartJob
from admbench.bench.run.layout import RunLayout
from admbench.bench.run.plan import make_plan
from admbench.bench.run.runner import run_grid
from admbench.bench.run.splitting import parts_of

from .in_process import JUDGES, Here
from .settled import settled

METHOD = "naive@w4a16[prompts=2,timesteps=2,steps=2]"
CAPTIONS = 20
PARTS = [(0, 8), (8, 8), (16, 4)]


@pytest.fixture
def make(make_grid: Callable[..., GridSpec], check_specs_here: None, tmp_path: Path) -> Callable[..., GridSpec]:
    """A grid of twenty captions, whose batches of four are decoded eight at a time."""
    file = tmp_path / "twenty.txt"
    file.write_text("".join(f"a dog barks , {number} times\n" for number in range(CAPTIONS)))
    shared = {"suite": str(file), "generation__batch_size": 4, "methods": ["fp32", METHOD]}
    shared["metrics__names"] = ["clap", "fd", "latent_sqnr"]

    def made(**more: Any) -> GridSpec:
        return make_grid(**shared | more)

    return made


@pytest.mark.parametrize("executor", ["here", pytest.param("local", marks=pytest.mark.slow(40))])
def test_in_three_parts_it_comes_to_the_record_and_the_clips_of_the_undivided_cell(
    make: Callable[..., GridSpec], tmp_path: Path, executor: str
) -> None:
    assert parts_of(CAPTIONS, 8) == PARTS
    whole, split = make(out=tmp_path / "whole"), make(out=tmp_path / "split", execution__split=8)
    for grid in (whole, split):
        carries = Here() if executor == "here" else LocalExecutor(2, 300.0)
        results = run_grid(grid, command="bench run", judges=JUDGES, executor=carries)
        assert [result.reason for result in results] == [None, None]
        if isinstance(carries, LocalExecutor):
            carries.close()
    assert settled(split) == settled(whole)
    assert not RunLayout(split.out).all_parts.exists()
    assert planned(split) == planned(whole.model_copy(update={"out": split.out})) == [], "cut or not, it is finished"


def planned(grid: GridSpec) -> list[Job]:
    return list(make_plan(grid, command="bench run", judges=JUDGES).jobs)


def test_each_part_is_a_job_behind_the_checkpoint_and_before_the_cell(make: Callable[..., GridSpec]) -> None:
    tasks = make_plan(make(execution__split=8), command="bench run", judges=JUDGES).tasks
    by_key = {task.job.key: task for task in tasks}
    assert len(by_key) == len(tasks)
    parts = [task for task in tasks if isinstance(task.job, PartJob)]
    assert [(task.job.method, task.job.first, task.job.count) for task in parts] == [
        (method, *part) for method in (None, METHOD) for part in PARTS
    ]
    for task in tasks:
        if isinstance(task.job, (BaselineJob, CellJob)):
            before = [by_key[key].job for key in task.after]
            own = [job.first for job in before if isinstance(job, PartJob)]
            assert own == ([] if isinstance(task.job, CellJob) and task.job.method == "fp32" else [0, 8, 16])
    assert all(task.after[-1] == task.job.checkpoint for task in parts if task.job.method is not None)


def test_a_run_that_is_stopped_goes_on_with_the_parts_that_are_left(make: Callable[..., GridSpec]) -> None:
    grid = make(execution__split=8)
    with pytest.raises(KeyboardInterrupt):
        run_grid(grid, command="bench run", judges=JUDGES, executor=Here(interrupt_at=METHOD))
    assert [job.kind for job in planned(grid)] == ["cell"], "its parts are done"
    results = run_grid(grid, command="bench run", judges=JUDGES, executor=Here())
    assert [result.reason for result in results] == [None, None]
    assert not RunLayout(grid.out).all_parts.exists()
    again = make(execution__split=8, metrics__names=["clap", "fd", "is", "latent_sqnr"])
    clips = settled_clips(grid)
    assert {job.kind for job in planned(again)} >= {"part", "cell"}
    results = run_grid(again, command="bench run", judges=JUDGES, executor=Here())
    assert [result.reason for result in results] == [None, None]
    assert settled_clips(again) == clips, "taken from the finished cell"


def settled_clips(grid: GridSpec) -> dict[str, int]:
    return {str(path): path.stat().st_ino for path in grid.out.glob("cells/*/*/audio/*.wav")}


def test_parts_that_would_cut_a_batch_are_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--models", "tiny-tango", "--methods", "fp32", "--batch-size", "6", "--split", "16"]
    assert main(["run", *asked, "--out", str(tmp_path / "run")]) == 2
    assert "execution.split: expected a multiple of 24, so that batches stay whole; found 16" in capsys.readouterr().err
