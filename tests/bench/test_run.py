"""A run: every cell leaves a record, nothing finished is done twice, and no cell takes another one down.

Jobs run in this process, which is quick; `test_local_executor` and `test_cli` run them as users do.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import soundfile
from torch import nn

from admbench import metrics
from admbench.bench.cli.app import main
from admbench.bench.cli.run import _finish
from admbench.bench.run.executors.local import LocalExecutor
from admbench.bench.run.grid import GridSpec
from admbench.bench.run.jobs import CalibrationJob, Job, QuantizeJob, job_from_json
from admbench.bench.run.layout import JobFolder, RunLayout
from admbench.bench.run.lock import hold
from admbench.bench.run.plan import Plan, make_plan
from admbench.bench.run.program import explain
from admbench.bench.run.pruning import prune_run
from admbench.bench.run.runner import CellResult, Events, run_grid
from admbench.bench.scoring.spec import JudgeSpec
from admbench.bench.suites import load_suite
from admbench.errors import BenchError
from admbench.files import read_json
from admbench.hashing import sha256_file
from admbench.leaderboard.comparison import compare
from admbench.leaderboard.gate import gate
from admbench.leaderboard.inference.board import conclude
from admbench.leaderboard.inference.contrasts import contrast
from admbench.leaderboard.per_caption import disagreements, read_per_caption
from admbench.leaderboard.reading import read_record, read_runs
from admbench.leaderboard.validating import validate
from admbench.methods import from_spec
from admbench.methods.core.processor import has_vnni
from admbench.metrics.features import Features
from admbench.metrics.intervals import Replicates
from admbench.metrics.keys import score_keys

from .in_process import JUDGES, Here

NAIVE = "naive@w4a8[prompts=2,timesteps=2,steps=2]"
MakeGrid = Callable[..., GridSpec]

pytestmark = pytest.mark.usefixtures("check_specs_here")


def run(grid: GridSpec, **options: Any) -> list[CellResult]:
    return run_grid(grid, command="bench run", judges=JUDGES, **{"executor": Here(), **options})


def cell_of(grid: GridSpec, method: str, repeat: int = 0) -> JobFolder:
    return RunLayout(grid.out).cell("fake-adm", method, repeat)


def record_of(grid: GridSpec, method: str) -> Any:
    return read_record(cell_of(grid, method).record)


def wavs(grid: GridSpec, method: str, repeat: int = 0) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in sorted(cell_of(grid, method, repeat).audio.iterdir())}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first finished run is kept for the tests that start from one."""
    return tmp_path_factory.mktemp("kept") / "run"


@pytest.fixture
def finished(make_grid: MakeGrid, kept: Path) -> GridSpec:
    """A finished run of two cells, in a folder of the test's own."""
    grid = make_grid()
    if not kept.exists():
        assert [result.reason for result in run(grid)] == [None, None]
        shutil.copytree(grid.out, kept)
    else:
        shutil.copytree(kept, grid.out)
    return grid


def test_every_cell_leaves_a_valid_record_and_all_its_products(finished: GridSpec) -> None:
    assert all(not checked.problems for checked in validate([finished.out]))
    for method in finished.methods:
        record = record_of(finished, method)
        assert record.status == "done"
        assert (record.model.name, record.method.spec, record.suite.n) == ("fake-adm", method, 4)
        assert (record.generation.steps, record.generation.guidance) == (2, 3.0)
        assert record.audio.clips == 4
        assert record.memory.peak_bytes > 50e6
        assert record.provenance.command == "bench run"
        cell = cell_of(finished, method)
        captions = json.loads(cell.captions.read_text())
        assert [entry["caption"] for entry in captions][:2] == ["a dog barks", "rain falls"]
        assert all((cell.path / entry["file"]).is_file() for entry in captions)
    assert not (finished.out / "work").exists()
    assert not (finished.out / "quantized").exists()
    assert {soundfile.info(path).subtype for path in finished.out.glob("cells/*/*/audio/*")} == {"PCM_16"}


def test_a_record_says_how_audio_came_to_the_networks(finished: GridSpec) -> None:
    reading = record_of(finished, NAIVE).audio.reading
    assert (reading["channels"], reading["resampler"], reading["cropped"]) == ("averaged", "soxr", False)
    assert set(reading["sample_rates"]) == {"band-tagger", "band-clap"}


def test_a_caption_file_with_clips_goes_through_every_stage_and_the_record_counts_the_missing(
    make_grid: MakeGrid, tmp_path: Path
) -> None:
    (tmp_path / "clips").mkdir()
    rows = ["audiocap_id,youtube_id,start_time,caption"]
    for number in range(5):
        rows += [f"{number}{other},clip-{number},30,rain {number} {other}" for other in range(2)]
        if number:
            soundfile.write(tmp_path / "clips" / f"Yclip-{number}.wav", [0.1 * number, -0.1] * 2000, 16_000)
    rows[-2] += " and on" * 10
    (tmp_path / "test.csv").write_text("\n".join(rows))
    table = {"file": str(tmp_path / "test.csv"), "audio": str(tmp_path / "clips"), "captions": "first"}
    grid = make_grid(suite=table, methods=["fp32"])
    plans: list[Plan] = []
    assert [result.reason for result in run(grid, events=Events(planned=plans.append))] == [None]
    assert plans[0].warnings == ("test.csv: no reference clip for 1 of 5 captions: clip-0_30",)
    assert all(job_from_json(job.model_dump_json()) == job for job in plans[0].jobs)
    record = record_of(grid, "fp32")
    assert (record.suite.name, record.suite.n, record.suite.captions) == ("test.csv", 5, "first")
    assert record.suite.references.model_dump() == {"found": 4, "missing": 1, "first_missing": ["clip-0_30"]}
    assert record.audio.captions_cut.model_dump() == {"n": 1, "first": ["clip-4_30"]}
    for key in ("fd", "kl"):
        assert record.scores[key].value is not None
        assert (record.scores[key].n, record.scores[key].without_partner) == (4, 1)


def test_a_record_comes_with_what_it_knows_of_each_caption(finished: GridSpec) -> None:
    for method in finished.methods:
        cell, record = cell_of(finished, method), record_of(finished, method)
        content = read_per_caption(finished.out, cell.per_caption)
        assert disagreements(content, record.scores) == []
        assert set(content.scores) == {key for key, score in record.scores.items() if score.ci95 is not None}
        assert content.captions == tuple(entry["id"] for entry in json.loads(cell.captions.read_text()))
        assert {f"{name}.wav": digest for name, digest in zip(content.captions, content.clip_sha256, strict=True)} == (
            wavs(finished, method)
        )
        counts = {fault: int(flags.sum()) for fault, flags in content.health.items()}
        assert counts == {fault: getattr(record.audio, fault) for fault in counts}
        assert counts["too_short"] == 0


def test_records_of_two_runs_are_compared_as_their_features_are(make_grid: MakeGrid, tmp_path: Path) -> None:
    many = tmp_path / "many.txt"
    many.write_text("\n".join(f"sound number {number} of a list" for number in range(12)))
    methods = {"one": NAIVE, "two": NAIVE.replace("w4a8", "w3a8")}
    grids = [
        make_grid(suite=str(many), methods=["fp32", spec], out=tmp_path / name, metrics__names=["fd", "kl", "clap"])
        for name, spec in methods.items()
    ]
    cells = []
    for grid, spec in zip(grids, methods.values(), strict=True):
        assert [result.reason for result in run(grid)] == [None, None]
        cells.append(cell_of(grid, spec))
    full = Features.load(RunLayout(grids[0].out).baseline("fake-adm").features)
    kept = [read_per_caption(cell.path, cell.per_caption) for cell in cells]
    embedded = [Features.load(cell.features) for cell in cells]
    for key in ("fd_vs_baseline", "kl_vs_baseline", "clap"):
        metric = metrics.registry.get(key.removesuffix("_vs_baseline"))()
        against = full if key.endswith("_vs_baseline") else None
        first, second = (Replicates.of(metric.statistic(own, against)) for own in embedded)
        expected = (first - second).interval()
        found = contrast(*(own.influence(key, full.ids) for own in kept)).interval()
        assert found == pytest.approx(expected, abs=0.01 * (expected[1] - expected[0]))
        assert expected[0] < first.value - second.value < expected[1]


def test_several_judges_are_in_the_record_per_caption_on_the_board_and_in_the_gate(finished: GridSpec) -> None:
    before = record_of(finished, NAIVE).scores
    several = JudgeSpec(tagger="band-tagger,band-clap", clap="band-clap")
    results = run_grid(finished, command="bench run", judges=several, executor=Here())
    assert [(result.reason, result.resumed) for result in results] == [(None, False)] * 2
    assert all(not checked.problems for checked in validate([finished.out]))
    record = record_of(finished, NAIVE)
    assert {key: record.scores[key] for key in before} == before
    key = "fd[band-clap]_vs_baseline"
    assert set(record.scores) - set(before) == {
        f"{name}[band-clap]{end}" for name in ("fd", "kl", "is") for end in ("", "_vs_baseline")
    } - {"is[band-clap]_vs_baseline"}
    assert (record.scores[key].backbone, record.scores[key].against) == ("band-clap", "baseline")
    content = read_per_caption(finished.out, cell_of(finished, NAIVE).per_caption)
    assert content.scores[key].influence.value == pytest.approx(record.scores[key].value)
    records = read_runs([finished.out])
    (model,) = conclude(records, key)
    assert list(model.cells) == [NAIVE]
    assert gate(records, [f"{key}=1000000"]).passed
    assert [one.metrics for one in compare(records, [key])] == [["fd_vs_baseline", key]]  # that of the order leads


def test_without_its_per_caption_results_a_cell_is_not_finished(finished: GridSpec) -> None:
    cell = cell_of(finished, NAIVE)
    before = cell.per_caption.read_bytes()
    cell.per_caption.unlink()
    assert [result.resumed for result in run(finished)] == [True, False]
    assert cell.per_caption.read_bytes() == before


def test_size_is_what_lies_on_disk(finished: GridSpec) -> None:
    size = record_of(finished, NAIVE).size
    folder = cell_of(finished, NAIVE).checkpoint
    assert size.checkpoint_bytes == sum(path.stat().st_size for path in folder.iterdir())
    assert size.baseline_bytes == record_of(finished, "fp32").size.checkpoint_bytes
    assert record_of(finished, "fp32").size.reduction == 0
    assert size.components == {"backbone": size.checkpoint_bytes, "text_encoder": 4 * (8 * 8 + 8)}


def test_scores_say_what_they_are_against(finished: GridSpec) -> None:
    scores = record_of(finished, NAIVE).scores
    assert set(scores) == {"fd", "kl", "is", "clap", "fd_vs_baseline", "kl_vs_baseline", "zimtohrli_vs_baseline"}
    assert (scores["clap"].backbone, scores["clap"].against) == ("band-clap", None)
    assert scores["fd"].value is None
    assert scores["fd"].reason == "no reference audio"
    assert scores["kl_vs_baseline"].against == "baseline"
    assert scores["kl_vs_baseline"].value > 0
    assert record_of(finished, "fp32").scores["kl_vs_baseline"].value == pytest.approx(0, abs=1e-9)


def test_a_method_with_kernels_is_timed_and_heard_through_them(finished: GridSpec) -> None:
    record = record_of(finished, NAIVE)
    latency = record.latency
    assert latency.kernel == " + ".join(latency.layers)
    assert sum(latency.layers.values()) == len(record.method.layers)
    assert set(latency.layers) == {"onednn-int8-conv2d", "onednn-int8-linear"} or not has_vnni()
    assert latency.speedup == pytest.approx(latency.baseline_step_ms.median / latency.step_ms.median)
    assert len(latency.step_ms.values) >= 3
    assert latency.real_time_factor > 0
    assert record.method.simulated is False


def test_what_no_kernel_computes_is_simulated_and_has_no_latency(make_grid: MakeGrid) -> None:
    grid = make_grid(methods=["fp32", "naive@w16a8[prompts=2,timesteps=2,steps=2]"])
    assert [result.reason for result in run(grid)] == [None, None]
    record = record_of(grid, grid.methods[1])
    assert (record.latency.kernel, record.latency.reason) == (None, "simulated")
    assert record.latency.step_ms is None
    assert "weights of 16 bits" in " ".join(record.latency.fallbacks)
    assert record.method.simulated is True


def test_full_precision_has_no_integers_and_a_time_of_its_own(finished: GridSpec) -> None:
    latency = record_of(finished, "fp32").latency
    assert (latency.kernel, latency.step_ms, latency.speedup) == (None, None, None)
    assert "no layer is quantized" in latency.reason
    assert len(latency.baseline_step_ms.values) >= 3


def test_full_precision_takes_its_audio_from_the_baseline(finished: GridSpec) -> None:
    baseline = finished.out / "baselines" / "fake-adm" / "audio"
    assert wavs(finished, "fp32") == {path.name: sha256_file(path) for path in baseline.iterdir()}
    assert wavs(finished, "fp32") != wavs(finished, NAIVE)


def test_a_finished_run_starts_nothing(finished: GridSpec) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.out.rglob("result.json")}
    started: list[Job] = []
    results = run(finished, events=Events(planned=lambda plan: started.extend(plan.jobs)))
    assert started == []
    assert all(result.resumed and result.reason is None for result in results)
    assert {path: path.stat().st_mtime_ns for path in finished.out.rglob("result.json")} == before


def test_the_same_command_gives_the_same_audio_and_record_but_for_times(
    finished: GridSpec, make_grid: MakeGrid, tmp_path: Path
) -> None:
    again = make_grid(out=tmp_path / "again")
    run(again)
    for method in again.methods:
        assert wavs(again, method) == wavs(finished, method)
        first, second = (json.loads(record_of(grid, method).model_dump_json()) for grid in (finished, again))
        for record in (first, second):
            for section in ("memory", "provenance"):
                del record[section]
            del record["method"]["seconds"]
            record["latency"] = {key: record["latency"].get(key) for key in ("kernel", "layers", "reason", "sqnr_db")}
            if record["calibration"]:
                del record["calibration"]["seconds"]
        assert first == second
    assert not (tmp_path / "cache" / "features").exists(), "what belongs to a run is in its folder"


def test_only_what_changed_is_run_again(finished: GridSpec, make_grid: MakeGrid) -> None:
    more = make_grid(methods=["fp32", NAIVE, "bf16"])
    assert [result.resumed for result in run(more)] == [True, True, False]
    before = wavs(more, NAIVE)
    changed = make_grid(methods=["fp32", NAIVE], generation__steps=3)
    assert [result.resumed for result in run(changed)] == [False, False]
    assert wavs(changed, NAIVE) != before
    assert record_of(changed, NAIVE).generation.steps == 3
    assert record_of(changed, "bf16").generation.steps == 2


def test_another_run_seed_gives_other_noise(finished: GridSpec, make_grid: MakeGrid, tmp_path: Path) -> None:
    other = make_grid(seed=1, methods=["fp32"], out=tmp_path / "other")
    run(other)
    assert not set(wavs(other, "fp32").values()) & set(wavs(finished, "fp32").values())
    assert record_of(other, "fp32").generation.seed == 1
    own = {item.seed for item in load_suite(finished.suite).items}
    assert {clip["seed"] for clip in read_json(cell_of(finished, "fp32").captions)} == own, "those of the suite"
    assert not {clip["seed"] for clip in read_json(cell_of(other, "fp32").captions)} & own


def test_repeats_are_added_to_a_finished_run_and_nothing_else_is_done(
    finished: GridSpec, make_grid: MakeGrid, tmp_path: Path
) -> None:
    repeated, planned = make_grid(repeats=2), list[Plan]()
    results = run(repeated, events=Events(planned=planned.append))
    assert [(one.job.method, one.job.repeat, one.resumed) for one in results] == [
        ("fp32", 0, True),
        (NAIVE, 0, True),
        (NAIVE, 1, False),
    ]
    assert (planned[0].once, [job.kind for job in planned[0].jobs]) == (("fp32",), ["calibration", "quantize", "cell"])
    assert GridSpec.model_validate(read_json(RunLayout(finished.out).grid)) == repeated
    assert all(not checked.problems for checked in validate([finished.out]))
    first, second = (read_record(results[place].job.target.record) for place in (1, 2))
    assert (first.method.repeat, second.method.repeat) == (0, 1)
    assert (first.suite, first.generation) == (second.suite, second.generation)
    seeds = [[clip["seed"] for clip in read_json(cell_of(finished, NAIVE, repeat).captions)] for repeat in (0, 1)]
    assert seeds[0] == seeds[1]
    assert not set(wavs(finished, NAIVE).values()) & set(wavs(finished, NAIVE, 1).values())
    again = make_grid(repeats=2, methods=[NAIVE], out=tmp_path / "again")
    run(again)
    for repeat in (0, 1):  # draw 0 is that of a run without repeats, and draw 1 is the same in any run
        assert wavs(again, NAIVE, repeat) == wavs(finished, NAIVE, repeat)
    assert len(list(RunLayout(again.out).calibration.iterdir())) == 2


def test_a_draw_is_the_same_however_many_there_are_and_comes_after_the_one_before_it_of_all_methods(
    make_grid: MakeGrid,
) -> None:
    methods = ["fp32", NAIVE, NAIVE.replace("w4a8", "w3a8")]

    def cells(**options: int) -> list[tuple[int, str, str]]:
        plan = make_plan(make_grid(methods=methods, **options), command="bench run", judges=JUDGES)
        assert [job.key for job in plan.jobs if job.kind == "cell"] == [cell.key for cell in plan.cells]
        return [(cell.repeat, cell.method, cell.key) for cell in plan.cells]

    one, two, three = cells(), cells(repeats=2), cells(repeats=3)
    assert [cell[:2] for cell in two] == [(0, name) for name in methods] + [(1, name) for name in methods[1:]]
    assert (two[:3], three[:5]) == (one, two)


def test_methods_that_ask_alike_share_a_set_that_none_of_them_drew(make_grid: MakeGrid) -> None:
    methods = [NAIVE, NAIVE.replace("w4a8", "w3a8"), NAIVE.replace("prompts=2", "prompts=3")]
    plan = make_plan(make_grid(methods=["fp32", *methods]), command="bench run", judges=JUDGES)
    drawn = [job.key for job in plan.jobs if isinstance(job, CalibrationJob)]
    taken = [job.calibration for job in plan.jobs if isinstance(job, QuantizeJob)]
    assert taken == [drawn[0], drawn[0], drawn[1]]
    assert all(job_from_json(job.model_dump_json()) == job for job in plan.jobs)


def test_scoring_again_does_not_generate_again(finished: GridSpec, make_grid: MakeGrid) -> None:
    audio = cell_of(finished, NAIVE).audio / "row-00001.wav"
    inode = audio.stat().st_ino
    grid = make_grid(metrics__names=["clap"])
    assert [result.resumed for result in run(grid)] == [False, False]
    assert audio.stat().st_ino == inode
    assert set(record_of(grid, NAIVE).scores) == {"clap"}


def test_fresh_does_everything_again(finished: GridSpec) -> None:
    audio = cell_of(finished, NAIVE).audio / "row-00001.wav"
    inode, jobs = audio.stat().st_ino, []
    results = run(finished, fresh=True, events=Events(planned=lambda plan: jobs.extend(job.kind for job in plan.jobs)))
    assert jobs == ["reference", "baseline", "cell", "calibration", "quantize", "cell"]
    assert [(result.resumed, result.reason) for result in results] == [(False, None)] * 2
    assert audio.stat().st_ino != inode


def test_a_cell_that_fails_leaves_a_record_and_is_tried_again(
    make_grid: MakeGrid, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = make_grid(methods=["raises", "cannot-import", "overflows", "fp32"])
    reasons = {result.job.method: result.reason for result in run(grid)}
    assert reasons["fp32"] is None
    assert reasons["overflows"] == (
        "fake-adm: 4 of 4 clips are not finite, and not written; all weights are finite: its layers overflow"
    )
    assert not list(cell_of(grid, "overflows").path.rglob("*.wav"))
    assert reasons["raises"] == "RuntimeError: the scale of layer 3 is not finite"
    assert 'method "cannot-import"' in str(reasons["cannot-import"])
    assert "fake_adm_missing" in str(reasons["cannot-import"])
    for method in ("raises", "cannot-import", "overflows"):
        record = record_of(grid, method)
        assert not cell_of(grid, method).per_caption.exists()
        assert (record.status, record.reason) == ("failed", reasons[method])
        assert set(record.scores) == set(score_keys(metrics.DEFAULT))
    assert len(read_runs([grid.out])) == 4

    import fake_adm

    monkeypatch.delattr(fake_adm.Raises, "quantize")
    assert [result.resumed for result in run(grid)] == [False, False, False, True]
    assert record_of(grid, "raises").status == "done"


def unknown_network(method: Any, model: Any, calibration: Any) -> Any:
    """What no checkpoint may hold."""
    return replace(from_spec("fp32").quantize(model, None), module=nn.Identity())


@pytest.mark.parametrize(
    ("quantize", "reason"),
    [
        (lambda *_: 1 / 0, "ZeroDivisionError: division by zero"),
        (unknown_network, "a Identity cannot be written to a checkpoint"),
    ],
    ids=["raises", "cannot be packed"],
)
def test_an_attempt_that_fails_replaces_no_result(
    quantize: Callable[..., Any],
    reason: str,
    finished: GridSpec,
    make_grid: MakeGrid,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    audio = wavs(finished, NAIVE)
    with monkeypatch.context() as broken:
        broken.setattr("admbench.methods.naive.Naive.quantize", quantize)
        results = run(make_grid(methods=[NAIVE], seed=5))
    assert results[0].kept
    assert reason in str(results[0].reason)
    cell = cell_of(finished, NAIVE)
    assert (read_record(cell.record).status, wavs(finished, NAIVE)) == ("done", audio)
    attempt = read_record(cell.attempt)
    assert (attempt.status, attempt.reason) == ("failed", results[0].reason)
    assert len(read_runs([finished.out])) == 2, "the attempt is no record of the board's"
    monkeypatch.setattr("admbench.bench.run.publishing.publish_site", lambda out: out / "site")
    assert _finish(results, finished.out, quiet=True) == 1
    assert capsys.readouterr().err.endswith(
        f"{results[0].reason} (the result of an earlier run stays; {cell.attempt})\n"
    )
    assert [(result.reason, result.resumed) for result in run(finished)] == [(None, True)] * 2


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: 8 bytes"),
        RuntimeError("CUDA out of memory"),
    ],
)
def test_a_job_that_runs_out_of_memory_says_so(error: Exception) -> None:
    assert explain(error) == f"out of memory: {str(error) or 'MemoryError'}"


def test_a_model_that_cannot_be_imported_fails_only_its_own_cells(make_grid: MakeGrid) -> None:
    grid = make_grid(models=["no-such-module", "fake-adm"], methods=["fp32"])
    broken, whole = run(grid)
    assert "fake_adm_missing" in str(broken.reason)
    assert whole.reason is None


@pytest.mark.parametrize("where", ["a weight", "the audio"])
def test_a_cell_whose_audio_is_not_finite_fails_with_the_cause(
    make_grid: MakeGrid, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    import fake_adm

    def spoil(latents: Any) -> Any:
        waveforms = spoil.decode(latents)  # type: ignore[attr-defined]
        waveforms[0, 100] = float("nan")
        return waveforms

    spoil.decode = fake_adm.decode  # type: ignore[attr-defined]
    if where == "the audio":
        monkeypatch.setattr(fake_adm, "decode", spoil)
        expected = "1 of 4 clips are not finite, and not written; all weights are finite: its layers overflow"
    else:
        load = fake_adm.FakeADM.load

        def damaged(*arguments: Any, **options: Any) -> Any:
            model = load(*arguments, **options)
            model.backbone.conv_in.weight.data[0, 0] = float("nan")
            return model

        monkeypatch.setattr(fake_adm.FakeADM, "load", damaged)
        expected = "conv_in.weight"
    grid = make_grid(methods=["fp32"])
    assert expected in str(run(grid)[0].reason)
    record = record_of(grid, "fp32")
    assert record.status == "failed"
    assert expected in str(record.reason)


def test_an_interrupted_run_goes_on_where_it_stopped(make_grid: MakeGrid) -> None:
    grid = make_grid(methods=["fp32", NAIVE])
    with pytest.raises(KeyboardInterrupt):
        run(grid, executor=Here(interrupt_at=NAIVE))
    assert record_of(grid, "fp32").status == "done"
    assert [(result.resumed, result.reason) for result in run(grid)] == [(True, None), (False, None)]


def test_ctrl_c_stops_the_children(make_grid: MakeGrid, monkeypatch: pytest.MonkeyPatch) -> None:
    plugins = str(Path(__file__).parent / "plugins")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([plugins, os.environ["PYTHONPATH"]]))
    grid = make_grid(methods=["hangs"])
    program = (
        "import signal, sys\n"
        "from admbench.bench.run import plan, runner\n"
        "from admbench.bench.run.executors.local import LocalExecutor\n"
        "from admbench.bench.run.grid import GridSpec\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background\n"
        "plan.ask = lambda *_: plan.Findings()\n"
        "plan.lay_out = lambda reference, baselines, cells, *_: tuple(plan.Task(cell) for cell, _ in cells)\n"
        "grid = GridSpec.model_validate_json(sys.argv[1])\n"
        "try: runner.run_grid(grid, command='test', executor=LocalExecutor(1, 600.0, 'fake_program'))\n"
        "except KeyboardInterrupt: sys.exit(130)\n"
    )
    run_process = subprocess.Popen([sys.executable, "-c", program, grid.model_dump_json()])
    try:
        deadline = time.monotonic() + 300
        while not (written := [file for file in grid.out.glob("work/*/child.txt") if file.read_text()]):
            assert run_process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        run_process.send_signal(signal.SIGINT)
        assert run_process.wait(timeout=60) == 130
    finally:
        run_process.kill()
    with pytest.raises(ProcessLookupError):
        os.killpg(int(written[0].read_text()), 0)


def test_a_job_that_ends_well_without_a_result_has_failed(make_grid: MakeGrid, monkeypatch: pytest.MonkeyPatch) -> None:
    plugins = str(Path(__file__).parent / "plugins")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([plugins, os.environ["PYTHONPATH"]]))
    grid = make_grid(methods=["fp32"])
    results = run(grid, executor=LocalExecutor(1, 60.0, "fake_program"))
    assert "ended without a result" in str(results[0].reason)
    assert record_of(grid, "fp32").status == "failed"


def test_what_is_pruned_is_gone_and_said_and_the_cell_stays_finished(
    finished: GridSpec, make_grid: MakeGrid, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["prune", str(finished.out), "--what", "audio,checkpoint", "--cells", "fake-adm/naive@*"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("1 cells, 0.")
    method = finished.methods[1]
    cell = cell_of(finished, method)
    assert not cell.audio.exists()
    assert not cell.checkpoint.exists()
    assert record_of(finished, method).provenance.pruned == ["audio", "checkpoint"]
    assert record_of(finished, finished.methods[0]).provenance.pruned == []
    assert cell_of(finished, finished.methods[0]).audio.is_dir()
    assert not RunLayout(finished.out).all_work.exists()
    assert cell.features.is_file()
    assert len(read_runs([finished.out])) == 2, "it is on the board"
    assert all(not checked.problems for checked in validate([finished.out]))
    assert [result.resumed for result in run(finished)] == [True, True]
    assert main(["prune", str(finished.out), "--what", "audio,checkpoint", "--cells", "fake-adm/naive@*"]) == 0
    assert capsys.readouterr().out == "0 cells, 0.00 MB freed\n"


def test_files_that_have_another_name_gain_no_room(finished: GridSpec) -> None:
    clips = sorted(cell_of(finished, "fp32").audio.iterdir())
    for path in clips:  # which they share in a run that was not copied
        path.unlink()
        os.link(RunLayout(finished.out).baseline("fake-adm").audio / path.name, path)
    size = sum(path.stat().st_size for path in clips)
    assert [(one.cell, one.freed) for one in prune_run(finished.out, ["audio"])] == [
        ("fake-adm/fp32", 0),
        (f"fake-adm/{NAIVE}", size),
    ]


def test_what_needs_pruned_clips_makes_them_again(finished: GridSpec, make_grid: MakeGrid) -> None:
    method = finished.methods[1]
    before = wavs(finished, method)
    assert main(["prune", str(finished.out), "--what", "audio,checkpoint"]) == 0
    again = make_grid(metrics__names=["fd"])
    assert [result.reason for result in run(again)] == [None, None]
    assert wavs(again, method) == before
    assert record_of(again, method).provenance.pruned == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--what", "audios"], '"audios" cannot be pruned. Did you mean "audio"? Expected: audio, checkpoint'),
        (["--what", "audio", "--cells", "no/such"], 'no finished cell is called "no/such"; there are: fake-adm/fp32'),
    ],
)
def test_a_prune_that_means_nothing_is_refused(
    finished: GridSpec, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main(["prune", str(finished.out), *arguments]) == 2
    assert said in capsys.readouterr().err


def test_two_runs_do_not_share_a_folder(finished: GridSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("admbench.bench.run.runner.make_plan", lambda *_, **__: pytest.fail("planned"))
    with hold(finished.out), pytest.raises(BenchError, match="another bench run is at work there"):
        run(finished)


def test_latents_are_compared_at_every_step(make_grid: MakeGrid) -> None:
    grid = make_grid(metrics__names=["clap", "latent_sqnr"], generation__steps=3)
    assert [result.reason for result in run(grid)] == [None, None]
    score = record_of(grid, NAIVE).scores["latent_sqnr_vs_baseline"]
    assert 5 < score.value < 60
    assert (score.n, len(score.steps)) == (4, 3)
    assert score.steps[-1]["db"] == pytest.approx(score.value)
    timesteps = [step["timestep"] for step in score.steps]
    assert timesteps == sorted(timesteps, reverse=True)
    baseline = record_of(grid, "fp32").scores["latent_sqnr_vs_baseline"]
    assert (baseline.value, baseline.reason) == (None, "this is full precision")


def test_the_record_says_what_the_calibration_prompts_were_and_cover(make_grid: MakeGrid) -> None:
    spec = "naive@w4a8[calibration=coverage-prompt+normal,prompts=3,timesteps=2,steps=2]"
    grid = make_grid(methods=["fp32", spec])
    assert [result.reason for result in run(grid)] == [None, None]
    calibration = record_of(grid, spec).calibration
    assert (calibration.prompts, calibration.sampler, calibration.prompt_source) == (3, "normal", "coverage-prompt")
    assert calibration.coverage_after.pairs > calibration.coverage_before.pairs
    assert all(not checked.problems for checked in validate([grid.out]))
