"""`bench gate` and `bench choose` as commands: exit codes and texts; and the gate on two folders of clips."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

import admbench
from admbench.bench.cli.app import main
from admbench.bench.scoring.clips import write_clips
from admbench.bench.suites import load_suite

from ..leaderboard.conftest import record, write_run
from ..leaderboard.written_results import agree, write_results

N = 96
NOISE = {"fp32": 0.0, "bf16": 0.001, "naive@w3a8": 0.6}
CLIPS = 24


def a_run(folder: Path, *specs: str, n: int = N) -> Path:
    run = write_run(folder, [record(spec=spec, n=n) for spec in specs])
    write_results(run, NOISE, n)
    agree(run)
    return run


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def test_the_exit_code_is_the_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = a_run(tmp_path / "good", "fp32", "bf16"), a_run(tmp_path / "bad", "fp32", "naive@w3a8")
    assert main(["gate", str(good)]) == 0
    out, err = capsys.readouterr()
    assert sorted(line.split("\t")[:3] for line in out.splitlines()) == [
        ["no worse", "tiny-tango", "bf16"],
        ["no worse", "tiny-tango", "fp32"],
    ]
    assert err == "gate passed: 2 no worse\n"
    assert main(["gate", str(bad), "--max", "fd=+5%", "--max", "clap=-0.01"]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[-1].startswith("worse\ttiny-tango\tnaive@w3a8\tfd +")
    assert "clap: foley-007" in out
    assert err == "gate failed: 1 no worse, 1 worse\n"


def test_records_alone_are_enough(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two cells of two places, each a record and its per-caption results in a folder of any name."""
    run = a_run(tmp_path / "run", "fp32", "naive@w3a8")
    for place in run.glob("cells/*/*"):
        cell = tmp_path / "elsewhere" / place.name
        cell.mkdir(parents=True)
        for name in ("result.json", "per-caption.safetensors"):
            (place / name).rename(cell / name)
    records = sorted(map(str, tmp_path.glob("elsewhere/*/result.json")))
    assert main(["gate", *records]) == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith("worse\ttiny-tango\tnaive@w3a8\tfd +")


def test_undecided_fails_unless_it_is_allowed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "run", [record(spec=spec, n=12) for spec in ("fp32", "naive@w4a8")])
    write_results(run, {"fp32": 0.0, "naive@w4a8": 0.05}, 12)
    agree(run)
    junit = tmp_path / "gate.xml"
    assert main(["gate", str(run), "--max", "fd=+3%", "--junit", str(junit)]) == 1
    assert "warning: only 12 captions" in capsys.readouterr().err
    few = "Caution: only 12 captions: below 96 intervals can be too short."
    assert ElementTree.parse(junit).findtext("testsuite/system-out") == few
    assert main(["gate", str(run), "--max", "fd=+3%", "--allow-undecided"]) == 0


def ask(run: Path, **gate: object) -> None:
    (run / "grid.json").write_text(json.dumps({"gate": gate or None}))


def test_margins_are_those_of_the_runs_grid_unless_they_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = a_run(tmp_path / "run", "fp32", "naive@w3a8")
    ask(run, max=["clap=-0.5"], allow_undecided=True)
    assert main(["gate", str(run), "--json", str(tmp_path / "gate.json")]) == 0
    found = json.loads((tmp_path / "gate.json").read_text())
    assert (found["margins"], found["allow_undecided"]) == (["clap=-0.5"], True)
    assert main(["gate", str(run), "--max", "clap=-0.01", "--no-allow-undecided"]) == 1
    other = a_run(tmp_path / "other", "fp32", "bf16")
    ask(other)
    capsys.readouterr()
    assert main(["gate", str(run), str(other)]) == 0  # the other asks for nothing
    assert "margin clap=-0.5" in capsys.readouterr().out
    ask(other, max=["fd=+5%"])
    assert main(["gate", str(run), str(other)]) == 2
    assert "ask for other margins in [gate]; name them by --max" in one_line(capsys)
    ask(other, max=["fd"])
    assert main(["gate", str(other)]) == 2
    assert f"{other / 'grid.json'}: gate: " in one_line(capsys)


def test_a_mistake_is_one_line_and_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = a_run(tmp_path / "run", "fp32", "bf16")
    bare = write_run(tmp_path / "bare", [record(spec=spec, n=N) for spec in ("fp32", "bf16")])
    mistakes = {
        ("gate", str(run), "--max", "fdd=+5%"): 'Did you mean "fd"?',
        ("gate", str(run), "--max", "fd=-5%"): "begins with +",
        ("gate", str(bare)): "no per-caption results beside this record of schema",
        ("gate", str(run), "--baseline", "fp23"): 'Did you mean "fp32"?',
        ("gate",): "nothing to judge",
        ("gate", str(run), "--reference", "x"): "--reference is of no use without --generated",
        ("gate", "--generated", "a"): "--generated needs --baseline",
        ("gate", str(run), "--generated", "a", "--baseline", "b"): "expected one of them",
        ("gate", "--generated", "a", "--baseline", "b", "--max", "fd=+5%"): "fd=+5% needs real audio",
        ("gate", "--generated", "a", "--baseline", "b", "--max", "fd_vs_baseline=5%"): "needs real audio",
        ("gate", "--generated", "a", "--baseline", "b", "--max", "lmdd_vs_baseline=1"): 'Did you mean "lmd"?',
        ("gate", "--generated", "a", "--baseline", "b", "--max", "clap_vs_baseline=0.1"): "clap gives clap",
        ("choose", str(bare)): "no per-caption results",
        ("choose", str(run), "--within", "fdd=+5%"): 'Did you mean "fd"?',
    }
    for arguments, message in mistakes.items():
        assert main(list(arguments)) == 2, arguments
        assert message in one_line(capsys)


def test_no_gate_passes_beside_a_record_that_is_forged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A board leaves such a record out. A gate that did would pass with a cell that nobody judged."""
    run = a_run(tmp_path / "run", "fp32", "bf16", "naive@w3a8")
    (path,) = run.glob("cells/*/naive*/result.json")
    value = json.loads(path.read_text())
    value["scores"]["fd"]["value"] *= 0.99
    path.write_text(json.dumps(value))
    assert main(["gate", str(run)]) == 2
    assert "not what per-caption.safetensors gives: scores.fd.value" in one_line(capsys)
    path.write_text("{}")
    assert main(["gate", str(run)]) == 2
    assert str(path) in one_line(capsys)


def test_files_for_a_pipeline_and_a_pull_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = a_run(tmp_path / "run", "fp32", "naive@w3a8")
    junit, numbers = tmp_path / "gate.xml", tmp_path / "gate.json"
    assert main(["gate", str(run), "--markdown", "--junit", str(junit), "--json", str(numbers)]) == 1
    out = capsys.readouterr().out
    assert out.startswith("### Gate failed: 1 no worse, 1 worse\n")
    assert "| `tiny-tango` | `naive@w3a8` | **FAIL** | worse | `fd=+5%` |" in out
    suite = ElementTree.parse(junit).getroot().find("testsuite")
    assert suite is not None
    assert dict(suite.attrib) == {"name": "tiny-tango", "tests": "2", "failures": "1", "skipped": "0"}
    assert json.loads(numbers.read_text())["passed"] is False
    assert main(["gate", str(run), "--junit", str(tmp_path / "no" / "x.xml")]) == 2


def test_the_command_choose(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = a_run(tmp_path / "run", "fp32", "bf16", "naive@w3a8")
    assert main(["choose", str(run), "--by", "bytes", "--json", str(tmp_path / "choice.json")]) == 0
    out, err = capsys.readouterr()
    assert [line.split("\t")[1:3] for line in out.splitlines()] == [["use", "bf16"], ["no", "naive@w3a8"]]
    assert "tiny-tango: use bf16" in err
    assert json.loads((tmp_path / "choice.json").read_text())[0]["chosen"]["method"] == "bf16"
    assert main(["choose", str(a_run(tmp_path / "bad", "fp32", "naive@w3a8"))]) == 1
    assert "stay with full precision" in capsys.readouterr().err


def test_both_in_python(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", "fp32", "bf16", "naive@w3a8")
    assert not admbench.gate(run, ["fd=+5%"]).passed
    assert admbench.choose([run], ["fd=+5%"], "bytes")[0].chosen.method == "bf16"  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real clips; the same a little noisier, as a model's output; these with next to nothing added; and white noise."""
    root = tmp_path_factory.mktemp("folders")
    suite = load_suite("foley")
    items = suite.items[:CLIPS]
    ids, captions = [item.id for item in items], [item.caption for item in items]
    real = [audio for item in items if (audio := suite.reference_audio(item)) is not None]
    rng = np.random.default_rng(0)
    level = 0.02
    made = [clip + level * rng.standard_normal(len(clip)).astype(np.float32) for clip in real]
    near = [clip + 0.0005 * rng.standard_normal(len(clip)).astype(np.float32) for clip in made]
    noise = [0.3 * rng.standard_normal(len(clip)).astype(np.float32) for clip in real]
    for name, waveforms in {"real": real, "fp32": made, "near": near, "noise": noise}.items():
        write_clips(root / name, ids, captions, range(CLIPS), waveforms, 16_000)
    return root


def folder_gate(root: Path, generated: str, *more: str) -> int:
    return main(["gate", "--generated", str(root / generated), "--baseline", str(root / "fp32"), *more])


def test_white_noise_fails_against_a_baseline(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    real = ("--reference", str(folders / "real"))
    assert folder_gate(folders, "noise") == 1
    assert capsys.readouterr().out.startswith("worse\t")
    assert folder_gate(folders, "noise", *real) == 1
    assert capsys.readouterr().out.startswith("worse\t")
    assert folder_gate(folders, "noise", "--max", "clap_audio_vs_baseline=0.95", "--max", "lmd=1") == 1
    assert folder_gate(folders, "noise", *real, "--max", "clap=-0.01", "--max", "fd_vs_baseline=5%") == 1


def test_clips_that_hardly_differ_pass(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    real = ("--reference", str(folders / "real"))
    assert folder_gate(folders, "near") == 0
    assert folder_gate(folders, "near", *real, "--max", "fd=+5%", "--max", "fd_vs_baseline=5%") == 0
    assert "warning: only 24 captions" in capsys.readouterr().err


def test_a_folder_against_itself_passes(folders: Path) -> None:
    found = admbench.gate_folders(folders / "fp32", folders / "fp32", folders / "real")
    assert found.passed
    assert found.cells[0].verdicts["fd"].estimate == 1.0


def test_clips_without_a_partner_are_refused(folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    silence = [np.full(16_000, 0.1, np.float32)] * 5
    write_clips(tmp_path / "other", [f"other-{k}" for k in range(5)], ["a"] * 5, range(5), silence, 16_000)
    assert main(["gate", "--generated", str(tmp_path / "other"), "--baseline", str(folders / "fp32")]) == 2
    assert "no clip called other-0, one of 5 that lack a partner" in one_line(capsys)


def test_clap_without_captions_is_refused(folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    audio = str(folders / "fp32" / "audio")
    assert main(["gate", "--generated", audio, "--baseline", audio, "--max", "clap=-0.01"]) == 2
    assert "clap=-0.01 needs captions: name them by --prompts" in one_line(capsys)
