"""What a run is going to take: from what jobs took before, or from a short calibration of this machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from admbench import cache
from admbench.bench.cli.app import main
from admbench.bench.cli.run_plan import lines_of, rows_of
from admbench.bench.run.executors.base import Task
from admbench.bench.run.expecting import Expected, History
from admbench.bench.run.forecast import Forecast, forecast, keep, total_of
from admbench.bench.run.gauging import FEW_STEPS, MORE_STEPS, Pace, Ratios, fit
from admbench.bench.run.grid import GridSpec
from admbench.bench.run.jobs import BaselineJob, CalibrationJob, CellJob, Job, QuantizeJob
from admbench.bench.run.paces import paces
from admbench.bench.run.plan import Plan, make_plan
from admbench.bench.run.times import JobTimes, Machine, StageTimes, read_times
from admbench.bench.scoring.spec import JudgeSpec

NAIVE = "naive@w4a8[prompts=2,timesteps=2,steps=2]"
PACE = Pace(start=2.0, step=0.1, caption=0.5, features=0.25, peak_bytes=10, checkpoint_bytes=3200, clip_bytes=100)
MakePlan = Callable[..., Plan]


@pytest.fixture
def make(make_grid: Callable[..., GridSpec], check_specs_here: None) -> MakePlan:
    def plan(**overrides: object) -> Plan:
        judges = JudgeSpec(tagger="band-tagger", clap="band-clap")
        return make_plan(make_grid(methods=["fp32", NAIVE], **overrides), command="bench run", judges=judges)

    return plan


def write_times(job: Job, seconds: dict[str, float], captions: int = 4, *, cores: int = 0) -> None:
    machine = Machine.of(job)
    times = JobTimes(
        machine=machine.model_copy(update={"cores": machine.cores + cores}),
        seconds=seconds,
        peak_bytes=1000,
        captions=captions,
    )
    job.target.path.mkdir(parents=True)
    job.target.job.write_text(job.model_dump_json())
    job.target.times.write_text(times.model_dump_json())


def baseline_of(plan: Plan) -> BaselineJob:
    return next(job for job in plan.jobs if isinstance(job, BaselineJob))


def test_a_job_is_expected_to_take_what_it_took_beside_scaled_by_captions_and_steps(
    make: MakePlan, tmp_path: Path
) -> None:
    earlier = make(out=tmp_path / "earlier")
    (tmp_path / "earlier" / "cells").mkdir(parents=True)
    write_times(baseline_of(earlier), {"load": 1.0, "generate": 8.0, "features": 2.0})
    later = make(out=tmp_path / "later", limit=2, generation__steps=4)
    assert later.expected[baseline_of(later).key].seconds == pytest.approx(1.0 + 8.0 * 2 / 4 * 4 / 2 + 2.0 * 2 / 4)
    assert later.expected[baseline_of(later).key].peak_bytes == 1000
    assert [job.key for job in later.jobs if job.key in later.expected] == [baseline_of(later).key]


def test_another_class_of_machine_tells_nothing(make: MakePlan, tmp_path: Path) -> None:
    earlier = make(out=tmp_path / "earlier")
    (tmp_path / "earlier" / "cells").mkdir(parents=True)
    write_times(baseline_of(earlier), {"generate": 8.0}, cores=1)
    assert make(out=tmp_path / "later").expected == {}


def test_a_calibration_set_is_expected_of_one_that_was_asked_for_alike(make: MakePlan, tmp_path: Path) -> None:
    plan = make(out=tmp_path / "run")
    job = next(job for job in plan.jobs if isinstance(job, CalibrationJob))
    write_times(job, {"calibrate": 5.0}, captions=0)
    more = job.model_copy(update={"request": job.request.model_copy(update={"prompts": 3})})
    assert History(plan.run).expect([job], captions=4)[job.key].seconds == 5.0
    assert History(plan.run).expect([more], captions=4) == {}


def test_stage_times_add_up_and_keep_those_of_stages_that_were_not_built_again(make: MakePlan) -> None:
    job = baseline_of(make())
    write_times(job, {"generate": 8.0, "features": 2.0})
    job.work.path.mkdir(parents=True)
    times, said = StageTimes(lambda stage: said.append(stage)), list[str]()
    for stage in ("load", "features", "load"):
        times(stage)
    times.write(job, 4)
    assert said == ["load", "features", "load"]
    noted = read_times(job.work.times)
    assert noted is not None
    assert noted.seconds["generate"] == 8.0
    assert noted.seconds["features"] < 1.0
    assert noted.seconds.keys() == {"start", "load", "features", "generate"}
    assert read_times(job.work.path / "none.json") is None


def test_a_run_takes_as_long_as_its_jobs_on_its_workers(make: MakePlan) -> None:
    cell = make().cells[0]
    first, second, third = (cell.model_copy(update={"key": key}) for key in "abc")
    tasks = [Task(first), Task(second), Task(third, after=("a",))]
    expected = {"a": Expected(10.0, 5, 1), "b": Expected(3.0, 7, 1), "c": Expected(4.0, 9, 1)}
    total = total_of(tasks, expected, workers=2)
    assert (total.seconds, total.busy_seconds, total.peak_bytes, total.disk_bytes) == (14.0, 17.0, 12, 3)
    assert total_of(tasks, expected, workers=1).seconds == 17.0


def test_a_calibrated_machine_is_reckoned_in_passes_through_the_backbone(make: MakePlan) -> None:
    plan = make(generation__steps=10)
    by_kind = {job.kind: job for job in plan.jobs}
    cell = next(job for job in plan.jobs if isinstance(job, CellJob) and job.method == NAIVE)
    assert PACE.expect(by_kind["baseline"], 4, 0) == Expected(2.0 + 4 * (10 * 0.1 + 0.75), 10, 3600)
    assert PACE.expect(by_kind["calibration"], 4, 0).seconds == pytest.approx(2.0 + 2 * 2 * 0.1)
    searching = PACE.expect(by_kind["quantize"], 4, 0).seconds
    assert searching == pytest.approx(2.0 + 120 * 0.1)
    assert PACE.expect(by_kind["quantize"], 4, 100).seconds == pytest.approx(searching + 550 * 0.1)
    floats = by_kind["quantize"].model_copy(update={"method": "bf16"})
    assert PACE.expect(floats, 4, 0).seconds == 2.0
    aware = by_kind["calibration"].request.model_copy(update={"sampler": "activation-aware"})
    calibration = by_kind["calibration"].model_copy(update={"request": aware})
    assert PACE.expect(calibration, 4, 0).seconds == pytest.approx(2.0 + 2 * 2 * 2 * 0.1)
    compared = by_kind["baseline"].model_copy(update={"extractors": ("latents",)})
    assert PACE.expect(compared, 4, 0).seconds == pytest.approx(2.0 + 4 * (10 * 0.1 + 0.75) + 4 * 10 * 0.1)
    told = PACE.expect(cell, 4, 0)
    assert "zimtohrli" in cell.metrics
    assert told.seconds == pytest.approx(9.0 + 24 * 0.1 + 0.5 + 4 * 0.05)
    silent = PACE.expect(cell.model_copy(update={"metrics": ("fd",)}), 4, 0)
    assert silent.seconds == pytest.approx(told.seconds - 4 * 0.05)
    assert told.disk_bytes == 3200 * 4 // 32 + 400


def test_what_a_processor_gains_from_kernels_and_from_bfloat16_is_reckoned_where_it_is_known(make: MakePlan) -> None:
    """On processors whose kernels and bfloat16 were timed beside full precision."""
    plan = make(generation__steps=10)
    cell = next(job for job in plan.jobs if isinstance(job, CellJob) and job.method == NAIVE)
    pace = replace(PACE, ratios=Ratios(search=90, sample=3.0, measuring=1.5, kernels=0.25, bf16=0.5))

    def seconds(method: str, device: str = "cpu") -> float:
        return pace.expect(cell.model_copy(update={"method": method, "device": device}), 4, 0).seconds

    whole = seconds("naive@w4a16")
    assert seconds(NAIVE) == pytest.approx(whole - 4 * 10 * 0.1 * 0.75)
    assert seconds("bf16") == pytest.approx(whole - 4 * 10 * 0.1 * 0.5)
    assert seconds("naive@mxfp8") == seconds(NAIVE, "cuda") == whole
    quantize = next(job for job in plan.jobs if isinstance(job, QuantizeJob))
    assert pace.expect(quantize, 4, 100).seconds == pytest.approx(2.0 + (90 + 100 * 3.0) * 0.1)


@pytest.mark.parametrize(("few", "once"), [(4, 0.7), (16, 0.0)])
def test_a_first_batch_a_step_and_a_caption_are_told_from_three_times(few: int, once: float) -> None:
    asked = [(few, FEW_STEPS), (16, FEW_STEPS), (16, MORE_STEPS)]
    took = {(captions, steps): once + captions * (steps * 0.02 + 0.05) for captions, steps in asked}
    assert fit(took) == pytest.approx((once, 0.02, 0.05))
    assert min(fit(dict.fromkeys(asked, 1.0))) == 0.0, "times that noise made equal"


def test_how_fast_a_model_goes_is_gauged_once_a_week_on_a_machine(
    make: MakePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gauged: list[str] = []
    monkeypatch.setattr(
        "admbench.bench.run.gauging.gauge", lambda cell, captions, servers: gauged.append(cell.model) or PACE
    )
    now = time.time()
    cell = make().cells[0]
    asked = [cell, cell, make(limit=1).cells[0], make(out=tmp_path / "other", seed=3).cells[0]]
    assert [paces({"fake-adm": one}, 4) for one in asked] == [{"fake-adm": PACE}] * 4
    assert len(gauged) == 1, "other runs of the model on this machine"
    paces({"fake-adm": cell.model_copy(update={"threads": 3})}, 4)
    paces({"fake-adm": cell.model_copy(update={"model_sha256": "0" * 64})}, 4)
    paces({"fake-adm": cell.model_copy(update={"fresh": True})}, 4)
    assert len(gauged) == 4, "other threads, other weights, and once more"
    for later, more in ((6, 0), (8, 1)):
        monkeypatch.setattr("time.time", lambda later=later: now + later * 86_400)
        paces({"fake-adm": cell}, 4)
        assert len(gauged) == 4 + more
    for file in (cache.root() / "paces").iterdir():
        file.write_text("{}")
    paces({"fake-adm": cell}, 4)
    assert len(gauged) == 6, "what is damaged is gauged anew"


def test_the_plan_has_a_row_a_cell_and_the_whole_and_is_what_the_run_is_held_against(
    make: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("admbench.bench.run.forecast.paces", lambda cells, captions: dict.fromkeys(cells, PACE))
    plan = make(generation__steps=10)
    told = forecast(plan, workers=2)
    assert told.unknown == ()
    rows = rows_of(plan, told)
    assert [(row[0], row[1], row[5]) for row in rows[-2:]] == [
        ("fake-adm fp32", "to run", "this machine, calibrated"),
        (f"fake-adm {NAIVE}", "to run", "this machine, calibrated"),
    ]
    lines = lines_of(plan, told, 2, cost_per_hour=3600.0)
    assert lines[0] == "2 cells: 0 cached, 2 to run, 0 skipped"
    assert lines[2] == f"cost: {told.total.seconds:.2f} at 3600 per hour"
    keep(plan.run, told)
    assert make(generation__steps=10).expected == told.expected


def test_what_nothing_is_known_of_is_named(make: MakePlan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("admbench.bench.run.forecast.paces", lambda cells, captions: {})
    plan = make()
    told: Forecast = forecast(plan, workers=2)
    assert told.expected == {}
    quantize = next(job for job in plan.jobs if isinstance(job, QuantizeJob))
    assert quantize.name in told.unknown
    assert lines_of(plan, told, 2, None)[-1].startswith("not in it, as nothing is known of them: reference audio")
    assert {row[5] for row in rows_of(plan, told)} == {"nothing is known"}


def test_a_price_without_a_plan_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--cost-per-hour", "2"]) == 2
    assert capsys.readouterr().err == "error: --cost-per-hour: says nothing without --plan\n"


@pytest.mark.slow
def test_the_plan_of_a_model_that_never_ran_here_is_calibrated_and_runs_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = ["--models", "tiny-tango", "--methods", "fp32,naive@w8a8", "--limit", "4", "--metrics", "fd,clap"]
    assert main(["run", *grid, "--out", str(tmp_path / "run"), "--plan"]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    cells = {row[0]: row for row in rows if row[0].startswith("tiny-tango ")}
    assert {row[5] for row in cells.values()} == {"this machine, calibrated"}
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["forecast.json"]
