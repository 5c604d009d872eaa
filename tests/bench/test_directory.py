"""`dir:PATH`: what a folder is taken for, and what it is told that holds something else."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from admbench.bench.cli.app import main
from admbench.bench.models import fingerprint, load_model
from admbench.bench.models.checkpoints import shipped
from admbench.bench.run.grid import load_grid
from admbench.bench.run.plan import make_plan
from admbench.bench.scoring.spec import JudgeSpec
from admbench.errors import CheckpointError, UsageError


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("ADMBENCH_CACHE", str(tmp_path / "cache"))
    shutil.copytree(shipped.folder_of("tiny-audioldm"), tmp_path / "mine")
    return tmp_path / "mine"


def test_a_pipeline_directory_is_seen_and_loaded(pipeline):
    model = load_model(f"dir:{pipeline}")
    assert model.name == f"dir:{pipeline}"
    assert model.source == "folder: an AudioLDM pipeline directory"
    assert model.license is None
    assert model.weights_sha256 == fingerprint(f"dir:{pipeline}")


def test_generate_says_what_it_saw(pipeline, tmp_path, capsys):
    command = ["generate", "--model", f"dir:{pipeline}", "--prompt", "rain", "--steps", "1", "--quiet"]
    assert main([*command, "--out", str(tmp_path / "a.wav")]) == 0
    said = capsys.readouterr()
    assert f"note: {pipeline}: an AudioLDM pipeline directory" in said.err
    assert "10.00 s at 16000 Hz" in said.out


def test_something_else_is_one_line_that_names_what_was_expected(tmp_path, capsys):
    command = ["generate", "--prompt", "rain", "--out", str(tmp_path / "a.wav")]
    assert main([*command, "--model", f"dir:{tmp_path}"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "AudioLDM pipeline directory" in said
    assert "main_config.json" in said


def test_another_pipeline_is_named(tmp_path):
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    with pytest.raises(CheckpointError, match="pipeline directory of StableDiffusionPipeline; expected an AudioLDM"):
        load_model(f"dir:{tmp_path}")


def test_a_folder_has_weights_of_its_own(pipeline):
    with pytest.raises(UsageError, match="random weights are made from a registry name"):
        load_model(f"dir:{pipeline}", random_weights=True)


def test_a_grid_takes_it_with_the_hash_of_its_files(pipeline, tmp_path):
    grid = load_grid(None, {"models": [f"dir:{pipeline}"], "methods": ["fp32"], "out": tmp_path / "run"})
    plan = make_plan(grid, command="", judges=JudgeSpec())
    assert plan.cells[0].model_sha256 == fingerprint(f"dir:{pipeline}")


def test_looking_needs_no_torch(pipeline):
    code = (
        "import sys; from admbench.bench.models import fingerprint;"
        "fingerprint(sys.argv[1]); print('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, f"dir:{pipeline}"]
    assert subprocess.run(command, capture_output=True, text=True).stdout.strip() == "False"
