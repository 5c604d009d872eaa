"""Audiobox-Aesthetics on the network of its package: a local folder, strictly, and what the package would predict."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import admbench
from admbench.bench.scoring.clips import write_clips
from admbench.bench.scoring.spec import JudgeSpec
from admbench.errors import CheckpointError, PluginError
from admbench.hashing import sha256_file
from admbench.metrics.embedders import registry

SCALES = {
    "CE": {"mean": 5.0, "std": 1.2},
    "CU": {"mean": 6.0, "std": 1.1},
    "PC": {"mean": 3.0, "std": 0.9},
    "PQ": {"mean": 7.0, "std": 1.3},
}
SMALL = {
    "encoder_layers": 2,
    "encoder_embed_dim": 16,
    "encoder_ffn_embed_dim": 24,
    "encoder_attention_heads": 2,
    "conv_feature_layers": "[(8,10,50)] + [(8,3,4)]",
    "conv_pos": 8,
    "conv_pos_groups": 2,
}


def test_without_the_extra_it_is_listed_with_what_it_needs(tmp_path: Path) -> None:
    info = registry.info("audiobox-aesthetics")
    assert info.requires == ("audiobox-aesthetics",)
    if info.unavailable is None:
        pytest.skip("the extra is installed")
    assert "audiobox-aesthetics" in info.unavailable
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(PluginError, match=r"pip install 'admbench\[audiobox\]'"):
        registry.get("audiobox-aesthetics").load(str(tmp_path))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as the package's authors publish it, of a small network with random weights."""
    aes = pytest.importorskip("audiobox_aesthetics.model.aes")
    config = aes.WavLMConfig(vars(aes.DEFAULT_AUDIO_CFG) | SMALL)
    monkeypatch.setattr(aes, "DEFAULT_AUDIO_CFG", config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = aes.AesMultiOutput(nth_layer=3, target_transform=SCALES).eval()
        for weights in network.layer_weights.values():
            torch.nn.init.normal_(weights)
    network.save_pretrained(tmp_path / "small-aes")
    return tmp_path / "small-aes"


def predicted(folder: Path, clips: np.ndarray) -> np.ndarray:
    """What the package's own predictor says of clips at 16 kHz."""
    infer = importlib.import_module("audiobox_aesthetics.infer")
    predictor = infer.AesPredictor.__new__(infer.AesPredictor)
    predictor.device = torch.device("cpu")
    predictor.model = infer.AesMultiOutput.from_pretrained(folder).eval()
    predictor.target_transform = {axis: infer.Normalize(**scale) for axis, scale in SCALES.items()}
    predictor.data_col, predictor.sample_rate = "path", 16_000
    rows = predictor.forward([{"path": torch.from_numpy(clip)[None], "sample_rate": 16_000} for clip in clips])
    return np.array([[row[axis] for axis in SCALES] for row in rows])


@pytest.mark.parametrize("seconds", [3, 10, 23.5])
def test_ratings_are_those_of_the_packages_predictor(folder: Path, seconds: float) -> None:
    judge = registry.get("audiobox-aesthetics").load(str(folder))
    assert (judge.name, judge.sample_rate) == ("audiobox-aesthetics:small-aes", 16_000)
    assert judge.sha256 == sha256_file(folder / "model.safetensors")
    rng = np.random.default_rng(0)
    clips = (rng.uniform(0.05, 0.5, (2, 1)) * rng.normal(size=(2, int(seconds * 16_000)))).astype(np.float32)
    found = judge.embed_audio(clips)
    np.testing.assert_allclose(found.embedding, predicted(folder, clips), rtol=1e-5)
    assert np.abs(found.embedding[0] - found.embedding[1]).max() > 1e-4
    assert (found.logits, found.windows) == (None, None)


def test_a_score_is_the_mean_of_its_axis_and_names_the_network(folder: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("ADMBENCH_CACHE", str(tmp_path / "cache"))
    clips = (0.1 * np.random.default_rng(0).normal(size=(4, 32_000))).astype(np.float32)
    ids = [f"clip-{number}" for number in range(4)]
    write_clips(tmp_path / "made", ids, ids, range(4), clips, 16_000)
    spec = JudgeSpec.model_validate({"aesthetics_weights": str(folder)})
    names = ["audiobox_ce", "audiobox_cu", "audiobox_pq"]
    scores = admbench.score_folders(tmp_path / "made", metrics=names, judges=spec)
    means = predicted(folder, clips).mean(axis=0)
    for name, expected in zip(names, means[[0, 1, 3]], strict=True):
        assert scores[name]["value"] == pytest.approx(expected, abs=1e-3)  # clips on disk have 16 bits
        assert scores[name]["backbone"] == "audiobox-aesthetics:small-aes"
        assert scores[name]["higher_is_better"] is True


def test_another_networks_folder_is_refused(folder: Path) -> None:
    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    tensors.pop("layer_weights.CE")
    save_file(tensors, weights)
    with pytest.raises(CheckpointError, match=r"model\.safetensors: .*lacks layer_weights\.CE"):
        registry.get("audiobox-aesthetics").load(str(folder))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"target_transform": None}))
    with pytest.raises(CheckpointError, match=r"config\.json: not the configuration of an Audiobox-Aesthetics"):
        registry.get("audiobox-aesthetics").load(str(folder))
