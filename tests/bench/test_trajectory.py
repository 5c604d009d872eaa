"""Latents are compared while they are made, or once more afterwards: to the same bits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from admbench.bench.measurement.trajectory import Against, AlongTheWay, is_first_batch, latents_apart
from admbench.bench.run.grid import GridSpec
from admbench.bench.run.layout import RunLayout
from admbench.bench.run.runner import run_grid
from admbench.files import read_json, remove

from .in_process import JUDGES, Here

NAIVE = "naive@w4a8[prompts=2,timesteps=2,steps=2]"


@pytest.mark.usefixtures("check_specs_here")
@pytest.mark.parametrize("again", ["one model", "both models"])
def test_a_cell_that_denoises_once_more_finds_what_it_saw_while_it_generated(
    make_grid: Callable[..., GridSpec], again: str
) -> None:
    asked = {"metrics.names": ["fd", "latent_sqnr"], "generation.batch_size": 8, "generation.steps": 3}
    grid = make_grid(methods=[NAIVE], **asked)
    assert [one.reason for one in run_grid(grid, command="", judges=JUDGES, executor=Here())] == [None]
    layout = RunLayout(grid.out)
    cell, baseline = layout.cell("fake-adm", NAIVE), layout.baseline("fake-adm")
    seen = read_json(cell.stage("trajectory"))["facts"]
    assert len(seen["timesteps"]) == 3
    assert baseline.along.is_file()
    if again == "both models":
        for path in (baseline.along, baseline.stage("latents")):
            remove(path)
    remove(cell.stage("trajectory"))
    remove(cell.sealed)
    run_grid(grid, command="", judges=JUDGES, executor=Here())
    assert read_json(cell.stage("trajectory"))["facts"] == seen


def test_what_was_kept_is_read_step_by_step_and_a_step_of_another_time_is_no_match(tmp_path: Path) -> None:
    import torch

    full = [(9 - step, torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(step))) for step in range(4)]
    near = [(step, latents + 0.1) for step, latents in full]
    along = AlongTheWay()
    for one in full:
        along(*one)
    along.save(tmp_path / "along.safetensors")
    against, short, other = (Against(tmp_path / "along.safetensors") for _ in range(3))
    for one in near:
        against(*one)
    assert against.apart == latents_apart(iter(full), iter(near))
    short(*near[0])
    assert short.apart is None
    other(3, near[0][1])
    assert other.apart == {"reason": "step 0 is of time 3, which is not full precision's"}
    near[2][1][0, 0, 0] = float("nan")
    assert latents_apart(iter(full), iter(near)) == {"reason": "not every latent is finite"}


def test_only_a_whole_first_batch_is_what_is_compared() -> None:
    assert is_first_batch(48, 8)
    assert is_first_batch(3, 8)
    assert not is_first_batch(48, 16)
    assert not is_first_batch(48, 4)
