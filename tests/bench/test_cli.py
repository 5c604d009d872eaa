"""The command line: quick, plain without a terminal, and one line per mistake with exit code 2."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import admbench
from admbench.bench.cli.app import main
from admbench.bench.cli.checks import check_writable_file
from admbench.bench.run.grid import GridSpec
from admbench.bench.scoring.clips import write_clips
from admbench.bench.scoring.spec import JudgeSpec
from admbench.errors import UsageError
from admbench.metrics import embedders

ROOT = Path(admbench.__file__).resolve().parents[1]
COMMANDS = (
    "run",
    "list",
    "calibrate",
    "quantize",
    "generate",
    "export",
    "score",
    "latency",
    "leaderboard",
    "validate",
    "ladder",
    "stress",
    "doctor",
    "selftest",
    "new-method",
    "new-metric",
    "new-model",
    "check-plugin",
    "table",
    "gate",
    "choose",
    "zoo",
    "cache",
    "results",
    "merge",
)


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """The single line on standard error, which every mistake has to be."""
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    return lines[0].removeprefix("error: ")


def test_help_imports_neither_torch_nor_a_plugin() -> None:
    program = (
        "import sys; from admbench.bench.cli.app import main; code = main(['--help']);"
        "heavy = {'torch', 'numpy', 'diffusers', 'pydantic', 'admbench.methods.naive', 'rich'};"
        "print(sorted(heavy & set(sys.modules)));"
        "sys.exit(code)"
    )
    child = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert child.returncode == 0, child.stderr
    assert child.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "package",
    [
        "admbench",
        "admbench.methods",
        "admbench.metrics",
        "admbench.leaderboard",
        "admbench.bench.cli.app",
        "admbench.bench.run.plan",
    ],
)
def test_packages_import_without_torch(package: str) -> None:
    program = f"import sys, {package}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 0


def test_help_lists_every_command_plainly(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    text = capsys.readouterr().out
    assert all(f"\n  {name} " in text for name in COMMANDS)
    assert text.isascii(), "no boxes, no colour"
    for name in COMMANDS:
        assert main([name, "--help"]) == 0
        assert capsys.readouterr().out.isascii()


def test_a_mistyped_command_or_flag_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rnu"]) == 2
    assert "Did you mean 'run'?" in one_line(capsys)
    assert main(["run", "--limt", "3"]) == 2
    assert "--limit" in one_line(capsys)


RUN_MISTAKES = {
    "model": (["--models", "tiny-tangoo"], 'unknown model "tiny-tangoo". Did you mean "tiny-tango"?'),
    "method": (["--methods", "naife@w4a8"], 'unknown method "naife". Did you mean "naive"?'),
    "bits": (["--methods", "naive@w9"], 'method "naive@w9": weight bits "w9" are not possible'),
    "no bits": (["--methods", "naive"], 'method "naive": the bits are missing: expected wXaY'),
    "option": (["--methods", "naive@w4a8[weigths=tensor]"], 'unknown option "weigths". Did you mean "weights"?'),
    "bits of fp32": (["--methods", "fp32@w4a8"], 'method "fp32@w4a8": fp32 takes no bits'),
    "metric": (["--metrics", "fdd"], 'unknown metric "fdd". Did you mean "fd"?'),
    "suite": (["--suite", "folley"], 'unknown suite "folley". Did you mean "foley"?'),
    "no captions": (["--suite", "no/such.csv"], "no/such.csv: no such caption file"),
    "no grid": (["none.toml"], "none.toml: no such grid file"),
    "limit": (["--limit", "0"], "--limit: input should be greater than or equal to 1"),
    "device": (["--device", "tpu"], "--device: input should be 'cpu' or 'cuda'; found 'tpu'"),
    "executor": (["--executor", "pbs"], "--executor: input should be 'local', 'slurm' or 'ray'; found 'pbs'"),
    "executor without cores": (["--executor", "ray"], "executor ray: expected cpus, the cores of each cell"),
    "out is a file": (["--out", "/dev/null"], "/dev/null: cannot be written"),
    "out below a file": (["--out", "/dev/null/run"], "/dev/null/run: cannot be written (Not a directory)"),
}


@pytest.mark.usefixtures("check_specs_here")
@pytest.mark.parametrize(("arguments", "message"), RUN_MISTAKES.values(), ids=RUN_MISTAKES)
def test_a_mistake_is_refused_before_anything_runs(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    given = arguments if "--out" in arguments else [*arguments, "--out", str(out)]
    known = [] if "--models" in arguments or ".toml" in arguments[0] else ["--models", "tiny-tango"]
    chosen = [] if "--methods" in arguments or ".toml" in arguments[0] else ["--methods", "fp32"]
    assert main(["run", *given, *known, *chosen]) == 2
    assert message in one_line(capsys)
    assert not out.exists()


def test_a_broken_caption_file_is_named_with_its_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "captions.csv"
    path.write_text("id,caption\na,a dog barks\na,rain falls\n")
    assert main(["run", "--suite", str(path), "--methods", "fp32", "--out", str(tmp_path / "run")]) == 2
    assert f'{path}:3: id "a" is already that of line 2' in one_line(capsys)


@pytest.mark.usefixtures("check_specs_here")
def test_a_full_disk_is_found_before_anything_runs(
    make_grid: Callable[..., GridSpec],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("admbench.bench.run.disk.os.fsync", full)
    out = tmp_path / "full"
    captions = make_grid().suite
    assert main(["run", "--models", "fake-adm", "--methods", "fp32", "--suite", captions, "--out", str(out)]) == 2
    assert one_line(capsys).startswith(f"{out}: the disk is full")
    assert not out.exists()


def test_run_prints_plain_lines_and_ends_with_where_to_look(
    make_grid: Callable[..., GridSpec],
    fake_judges: None,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    grid = make_grid()
    command = ["run", "--models", "fake-adm", "--methods", "fp32,raises,meddles", "--steps", "2"]
    command += ["--workers", "2"]
    command += ["--suite", grid.suite, "--out", str(grid.out)]
    assert main(command) == 1
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0] == "3 cells, 0 of them already done"
    assert any(line.startswith("done fake-adm fp32 (") for line in lines)
    assert any(line.startswith("failed fake-adm raises (") for line in lines)
    assert lines[-1] == f"leaderboard: {grid.out / 'site' / 'index.html'}"
    assert (grid.out / "site" / "index.html").is_file()
    (log,) = grid.out.glob("cells/*/raises*/log.txt")
    assert log.read_text().endswith("RuntimeError: the scale of layer 3 is not finite\n")
    assert captured.err.splitlines() == ["failed: fake-adm raises: RuntimeError: the scale of layer 3 is not finite"]
    clips = [
        {path.name: path.read_bytes() for path in grid.out.glob(f"cells/*/{name}/audio/*")}
        for name in ("fp32", "meddles")
    ]
    assert clips[0] == clips[1], "what a method changes in its process ends with it"
    assert "\x1b" not in captured.out + captured.err
    assert main([*command, "--methods", "fp32", "--quiet"]) == 0
    assert capsys.readouterr().out.splitlines() == [lines[-1]]


def test_list_is_one_line_per_plugin_with_the_reason_of_a_broken_one(
    plugins: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["list", "methods"]) == 0
    rows = {line.split("\t")[1]: line.split("\t") for line in capsys.readouterr().out.splitlines()}
    assert rows["naive"][2] == "available"
    assert rows["naive"][5:7] == ["post-training", "rounding"]
    assert rows["efficientdm"][5:7] == ["fine-tuned", "fine-tuning"]
    assert rows["raises"][4] == "fake-adm"
    assert rows["cannot-import"][2].startswith("unavailable: ")
    assert "fake_adm_missing" in rows["cannot-import"][2]
    assert main(["list", "method"]) == 2


def test_extractors_are_listed_with_what_they_give(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "extractors"]) == 0
    rows = {line.split("\t")[1]: line.split("\t") for line in capsys.readouterr().out.splitlines()}
    assert rows["embedding"][0::5] == ["extractor", "One vector a clip, of the tagger"]
    assert {row[2] for row in rows.values()} == {"available"}


@pytest.mark.parametrize(
    ("flag", "judge", "reason"),
    [
        ("--tagger", "tiny-taggr", 'unknown judge "tiny-taggr". Did you mean "tiny-tagger"'),
        ("--clap", "tiny-clep", 'unknown judge "tiny-clep". Did you mean "tiny-clap"'),
        ("--clap", "tiny-tagger", 'clap "tiny-tagger": this judge can be a tagger only'),
    ],
)
def test_a_judge_that_is_unknown_or_cannot_take_its_role_is_refused_before_a_run(
    flag: str, judge: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--models", "tiny-tango", "--out", str(tmp_path / "run"), "--metrics", "fd", flag, judge]) == 2
    assert reason in capsys.readouterr().err


def test_quantize_and_generate_give_the_audio_of_the_model_in_memory(
    plugins: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, checkpoint, clip, again = "naive@w4a8[prompts=2,timesteps=2,steps=2]", *(tmp_path / name for name in "abc")
    assert main(["quantize", "--model", "fake-adm", "--method", spec, "--out", str(checkpoint)]) == 0
    assert {path.name for path in checkpoint.iterdir()} == {"model.safetensors", "quantization.json"}
    command = ["generate", "--checkpoint", str(checkpoint), "--prompt", "a dog barks", "--seed", "3", "--steps", "2"]
    assert main([*command, "--out", str(clip)]) == 0
    assert main([*command, "--out", str(again)]) == 0
    assert clip.read_bytes() == again.read_bytes()

    model = admbench.quantize(admbench.load_model("fake-adm"), spec).model
    from admbench.bench.scoring.clips import write_wav

    write_wav(tmp_path / "memory.wav", admbench.generate(model, ["a dog barks"], [3], steps=2)[0], model.sample_rate)
    assert (tmp_path / "memory.wav").read_bytes() == clip.read_bytes()


def test_a_checkpoint_that_is_none_or_damaged_is_refused(
    plugins: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, clip = tmp_path / "checkpoint", tmp_path / "x.wav"
    command = ["generate", "--checkpoint", str(folder), "--prompt", "rain", "--out", str(clip)]
    assert main(command) == 2
    assert "not a packed checkpoint" in one_line(capsys)
    admbench.save_checkpoint(admbench.quantize(admbench.load_model("fake-adm"), "fp32"), folder)
    file = folder / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    assert main(command) == 2
    assert "tensor" in one_line(capsys)
    file.write_bytes(data[: len(data) // 2])
    assert main(command) == 2
    assert str(file) in one_line(capsys)
    assert not clip.exists()


def test_a_folder_below_dev_takes_files_where_a_device_or_a_link_does_not() -> None:
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK):
        pytest.skip("no shared memory that can be written to")
    check_writable_file(shared / "dog.wav")
    with pytest.raises(UsageError, match="is no regular file"):
        check_writable_file(Path("/dev/fd/1"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["generate", "--prompt", "x", "--out", "x.wav"], "expected --model or --checkpoint"),
        (["generate", "--model", "tiny-tangoo", "--prompt", "x", "--out", "x.wav"], 'Did you mean "tiny-tango"?'),
        (["generate", "--model", "tiny-tango", "--prompt", " ", "--out", "x.wav"], "--prompt: expected some text"),
        (["generate", "--model", "tiny-tango", "--prompt", "x", "--out", "/no/where/x.wav"], "there is no folder"),
        (["generate", "--model", "tiny-tango", "--prompt", "x\udcff", "--out", "x.wav"], "--prompt: the caption holds"),
        (["generate", "--model", "tiny-tango", "--prompt", "x", "--out", "/dev/stdout"], "stdout: is no regular file"),
        (["score", "--generated", ".", "--json", "/proc/self/fd/1"], "is no regular file; expected a file name"),
        (["run", "--plan", "--models", "tiny-tango", "--methods", "fp32", "--out", "/dev/null/x"], "cannot be written"),
        (["quantize", "--model", "tiny-tango", "--method", "naive@w4a8", "--out", "/dev/null"], "is a file"),
        (["quantize", "--model", "tiny-tango", "--method", "naive@w4", "--out", "x"], "activation bits are missing"),
        (["score", "--generated", "no-such-folder"], "no-such-folder: no such folder"),
        (["score", "--generated", ".", "--metrics", "fdd"], 'Did you mean "fd"?'),
        (["leaderboard", "no-such-run"], "no-such-run"),
        (["validate", "no-such-record.json"], "no-such-record.json"),
    ],
)
def test_bad_input_of_every_command_is_one_line(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert message in one_line(capsys)
    assert list(tmp_path.iterdir()) == []


def test_quantize_does_not_replace_a_folder_with_other_files(
    plugins: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    assert main(["quantize", "--model", "fake-adm", "--method", "fp32", "--out", str(tmp_path)]) == 2
    assert "holds other files" in one_line(capsys)
    assert (tmp_path / "thesis.tex").read_text() == "mine"


def test_score_prints_a_line_per_score_and_writes_them_as_json(
    plugins: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    judges = JudgeSpec(tagger="band-tagger", clap="band-clap")
    monkeypatch.setattr("admbench.bench.cli.options.judge_spec", lambda **_: judges)
    noise = np.random.default_rng(0).normal(scale=0.1, size=(2, 5, 2048)).astype(np.float32)
    ids = [f"clip-{number}" for number in range(5)]
    for name, waveforms in zip(("made", "real"), noise, strict=True):
        write_clips(tmp_path / name, ids, [f"caption of {one}" for one in ids], range(5), waveforms, 16_000)
    command = [
        "score",
        "--generated",
        str(tmp_path / "made"),
        "--metrics",
        "kl,clap",
        "--json",
        str(tmp_path / "s.json"),
    ]
    assert main(command) == 0
    rows = {line.split("\t")[0]: line.split("\t") for line in capsys.readouterr().out.splitlines()}
    assert rows["kl"][1] == "-"
    assert rows["kl"][-1] == "no reference audio"
    scores = json.loads((tmp_path / "s.json").read_text())["scores"]
    assert scores["kl"] == {"value": None, "reason": "no reference audio"}
    assert rows["clap"][1] == f"{scores['clap']['value']:.4f}"
    per_clip = tmp_path / "clips.csv"
    assert main([*command, "--reference", str(tmp_path / "real"), "--per-clip", str(per_clip)]) == 0
    assert "5 generated clips against 5 reference clips, in 5 pairs of one name" in capsys.readouterr().err
    rows_of_clips = list(csv.DictReader(per_clip.read_text().splitlines()))
    assert list(rows_of_clips[0]) == ["clip", "caption", "silent", "clipped", "too_short", "nan", "kl", "clap"]
    assert [row["clip"] for row in rows_of_clips] == ids
    assert [row["caption"] for row in rows_of_clips] == [f"caption of {name}" for name in ids]
    assert {(row["silent"], row["too_short"]) for row in rows_of_clips} == {("0", "1")}
    scores = json.loads((tmp_path / "s.json").read_text())["scores"]
    assert (scores["kl"]["against"], scores["kl"]["n"]) == ("reference", 5)
    assert np.mean([float(row["kl"]) for row in rows_of_clips]) == pytest.approx(scores["kl"]["value"])
    assert main([*command, "--per-clip", str(tmp_path / "clips.json")]) == 0
    assert [row["clap"] for row in json.loads((tmp_path / "clips.json").read_text())] == pytest.approx(
        [float(row["clap"]) for row in rows_of_clips]
    )
    assert main([*command, "--per-clip", str(tmp_path / "clips.xlsx")]) == 2
    assert "ends in .csv or .json" in capsys.readouterr().err
    assert main(["score", "--generated", str(tmp_path / "made"), "--metrics", "fd"]) == 2


def test_doctor_says_of_everything_whether_it_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADMBENCH_WEIGHTS", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    code = main(["doctor"])
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    told = {"cpu", "instruction sets", "torch", "reproducibility", "tiny-tango", "disk"}
    assert told <= {what for _, what, _ in rows}
    assert {state for state, _, _ in rows} <= {"ok", "slow", "missing"}
    assert code == (2 if any(state == "missing" for state, _, _ in rows) else 0)
    judges = {what: detail for _, what, detail in rows if detail.startswith("judge (")}
    assert set(judges) == set(embedders.BUILTIN)
    assert judges["tiny-clap"].startswith("judge (clap or tagger): ")
    assert judges["tiny-clap"].endswith("weights.safetensors; licence Apache-2.0")
    assert "not here: " in judges["mert"]
    assert "hf download m-a-p/MERT-v1-95M" in judges["mert"]
    assert "pip install" in judges["msclap"] or "CLAP_weights_2023.pth" in judges["msclap"]


def test_validate_tells_a_good_record_from_a_bad_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps({"schema_version": 1}))
    assert main(["validate", str(path)]) == 2
    captured = capsys.readouterr()
    assert all(line.startswith(f"error: {path}: ") for line in captured.err.splitlines())
    assert captured.out == "1 records, 1 with problems\n"


def test_a_traceback_is_shown_only_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "none.json", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_cache_shows_and_removes_what_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADMBENCH_CACHE", str(tmp_path))
    assert main(["cache"]) == 0
    assert capsys.readouterr().out == f"nothing is cached in {tmp_path}\n"
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / "x.safetensors").write_bytes(bytes(20_000))
    assert main(["cache"]) == 0
    assert capsys.readouterr().out.split("\t")[1:3] == ["1", "0.02 MB"]
    assert main(["cache", "prune"]) == 0
    assert capsys.readouterr().out == f"removed 1 files, 0.02 MB, from {tmp_path}\n"
    assert list((tmp_path / "features").iterdir()) == []


def test_output_into_a_closed_pipe_is_no_error() -> None:
    command = f"{sys.executable} -m admbench.bench.cli.app list metrics | true"
    child = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, cwd=ROOT, env=os.environ
    )
    assert "Traceback" not in child.stderr
