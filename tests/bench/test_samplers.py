"""Samplers in place of a model's own: that they solve the same diffusion in fewer steps, for calibration too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from admbench import methods
from admbench.bench.cli.app import main
from admbench.bench.models import load_model, solved_by
from admbench.bench.models.samplers import DPM_SOLVER, solver_of
from admbench.bench.models.sampling import Sampling
from admbench.bench.run.grid import GridSpec, load_grid
from admbench.bench.run.jobs import BaselineJob, CalibrationJob, CellJob, QuantizeJob
from admbench.bench.run.layout import RunLayout
from admbench.bench.run.plan import make_plan
from admbench.bench.run.runner import run_grid
from admbench.errors import UsageError
from admbench.leaderboard.reading import read_record
from admbench.leaderboard.site.pages import again

from .in_process import JUDGES, Here

MEAN, SPREAD = 1.5, 0.4
"""Of the data whose diffusion is known in closed form."""
NAIVE = "naive@w4a8[prompts=2,timesteps=2]"


def exact(scheduler: Any, prediction: str, sample: Tensor, timestep: int) -> Tensor:
    """What a perfect network predicts of data from N(MEAN, SPREAD ** 2)."""
    power = scheduler.alphas_cumprod[timestep]
    signal, noise = power.sqrt(), (1 - power).sqrt()
    share = signal * SPREAD**2 / (power * SPREAD**2 + 1 - power)
    clean = MEAN + share * (sample - signal * MEAN)
    epsilon = (sample - signal * clean) / noise
    return {"epsilon": epsilon, "v_prediction": signal * epsilon - noise * clean, "sample": clean}[prediction]


def solved(scheduler: Any, prediction: str, steps: int) -> Tensor:
    """Where noise ends, (1000,)."""
    sampling = Sampling(scheduler, steps, [])
    latents = sampling.start(torch.randn(1000, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    for timestep in sampling.timesteps:
        predicted = exact(scheduler, prediction, latents, int(timestep))
        latents = sampling.step(predicted, timestep, latents)
    return latents


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("last_is_clean", [True, False])
def test_it_is_nearer_to_many_steps_of_ddim_than_as_many_of_ddim_are(prediction: str, last_is_clean: bool) -> None:
    options = {"clip_sample": False, "set_alpha_to_one": last_is_clean, "steps_offset": 1}
    betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    own = diffusers.DDIMScheduler(**betas, **options, prediction_type=prediction)
    end = solved(own, prediction, 500)

    def apart(scheduler: Any, steps: int) -> float:
        return float((solved(scheduler, prediction, steps) - end).square().mean().sqrt())

    fast = solver_of(own, DPM_SOLVER, "a model")
    assert apart(fast, 12) < apart(own, 12)
    assert apart(fast, 50) < apart(own, 50) / 2


@pytest.mark.parametrize(
    ("scheduler", "reason"),
    [
        (diffusers.FlowMatchEulerDiscreteScheduler, "its FlowMatchEulerDiscreteScheduler is none"),
        (diffusers.EDMDPMSolverMultistepScheduler, "its EDMDPMSolverMultistepScheduler is none"),
        (lambda: diffusers.DDIMScheduler(clip_sample=True), "its DDIMScheduler, which clips its predictions"),
    ],
)
def test_what_it_does_not_solve_is_refused_in_one_line(scheduler: Callable[[], Any], reason: str) -> None:
    with pytest.raises(UsageError, match=rf"^a model: dpm-solver\+\+ .*{reason}$"):
        solver_of(scheduler(), DPM_SOLVER, "a model")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--models", "tiny-tango,tiny-dit"], 'tiny-dit has no sampler "dpm-solver++"; expected its own alone'),
        (["--models", "audioldm-s-full-authors"], 'audioldm-s-full-authors has no sampler "dpm-solver++"'),
        (["--sampler", "dpm"], "--sampler: input should be 'dpm-solver++'; found 'dpm'"),
    ],
)
def test_a_run_refuses_it_before_anything_runs(
    flags: list[str], message: str, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--sampler", DPM_SOLVER, "--methods", "fp32", "--out", str(tmp_path / "run")]
    assert main(["run", *asked, *flags]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_in_the_embedded_grid_the_flow_has_its_own_and_the_others_have_it(
    tmp_path: Path, check_specs_here: None
) -> None:
    grid = load_grid(None, {"limit": 2, "methods": ["fp32", NAIVE], "out": tmp_path / "run"})
    jobs = make_plan(grid, command="bench run", judges=grid.metrics.judges).jobs
    clips = {(job.kind, job.model, job.generation.sampler) for job in jobs if isinstance(job, BaselineJob | CellJob)}
    drawn = {(job.kind, job.model, job.sampler) for job in jobs if isinstance(job, CalibrationJob | QuantizeJob)}
    having = {"tiny-audioldm": DPM_SOLVER, "tiny-tango": DPM_SOLVER, "tiny-dit": None}
    assert clips == {(kind, *pair) for kind in ("baseline", "cell") for pair in having.items()}
    assert drawn == {(kind, *pair) for kind in ("calibration", "quantize") for pair in having.items()}


def test_which_models_have_it_is_known_without_loading_them() -> None:
    having = [name for name in ("tiny-audioldm", "tiny-tango", "tiny-make-an-audio", "tango") if solved_by(name)]
    assert len(having) == 4
    assert solved_by("tiny-flow") == solved_by("tiny-dit") == solved_by("stable-audio-open-1.0") == ()


def test_a_calibration_set_is_drawn_from_the_trajectories_that_are_asked_for() -> None:
    own, fast = load_model("tiny-audioldm"), load_model("tiny-audioldm", sampler=DPM_SOLVER)
    assert (own.default_steps, fast.default_steps) == (25, 12)
    method, prompts = methods.from_spec(NAIVE), ["a dog barks", "rain falls"]
    keys = [method.calibration_key(model, prompts, seed=0) for model in (own, fast)]
    drawn = method.calibrate(fast, prompts, seed=0)
    taken = {timestep for timestep, _ in fast.denoise(prompts[:1], [0], steps=12, guidance=1.0)}
    assert keys[0] != keys[1]
    assert (drawn.recipe["solver"], drawn.recipe["steps"]) == (DPM_SOLVER, 12)
    assert set(drawn.timestep.tolist()) == {max(taken), min(taken)}


def test_the_record_names_it_and_the_page_tells_how_to_ask_for_it(
    make_grid: Callable[..., GridSpec], check_specs_here: None
) -> None:
    grid = make_grid(methods=["fp32"], limit=2, generation__sampler=DPM_SOLVER, generation__steps=None)
    results = run_grid(grid, command="bench run", judges=JUDGES, executor=Here())
    assert [result.reason for result in results] == [None]
    record = read_record(RunLayout(grid.out).cell("fake-adm", "fp32").record)
    made = record.generation
    assert (made.sampler, made.scheduler, made.steps) == (DPM_SOLVER, "DPMSolverMultistepScheduler", 12)
    assert "--sampler dpm-solver++" in again(record)
