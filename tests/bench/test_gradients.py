"""Methods that learn by gradients run on every family of pipelines, whatever its networks keep from inference mode."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from admbench.bench.models import load_model
from admbench.bench.models.quantization import quantize_components
from admbench.methods import BUILTIN, from_spec, registry
from admbench.methods.blockwise import BlockwiseMethod
from admbench.methods.core.layers.inference import usable, usable_outputs

from . import pipeline_directories

CAPTIONS = ["a dog barks", "rain", "loud rain falls"]
FAMILIES = {
    "audioldm2": pipeline_directories.audioldm2,
    "musicldm": pipeline_directories.musicldm,
    "stable-audio": pipeline_directories.stable_audio,
    "stable-audio-3": pipeline_directories.stable_audio_3,
    "ace-step": pipeline_directories.ace_step,
    "longcat": pipeline_directories.longcat_audiodit,
}
METHODS = ["q-diffusion", "eda-dm", "tfmq-dm", "tcaq-dm", "qncd", "ptq4dm", "ptq4adm", "efficientdm", "passionsr"]
"""Those that learn, as a test holds; all others compute no gradients."""
SMALL: dict[str, Any] = {
    "prompts": 2,
    "timesteps": 2,
    "steps": 2,
    "samples": 4,
    "batch": 2,
    "iterations": 1,
    "step_iterations": 1,
    "sensitivity_samples": 2,
    "reduction": 0.3,
    "calibration": "uniform",
}


def quantized_by(model: Any, name: str) -> torch.nn.Module:
    method = from_spec(f"{name}@w4a8")
    options = {key: str(value) for key, value in SMALL.items() if key in type(method).Config.model_fields}
    spec = replace(method.spec, options=options)
    return quantize_components(model, spec, prompts=CAPTIONS)["backbone"].network.module


def assert_finite(model: Any, module: torch.nn.Module) -> None:
    own, model.backbone = model.backbone, module
    try:
        assert torch.isfinite(model.latents(CAPTIONS, [1, 2, 3], steps=2, guidance=3.0, batch_size=3)).all()
    finally:
        model.backbone = own


def test_every_method_that_learns_is_tried():
    """Whatever learns does it block by block, through one class."""
    classes = {name: registry.get(name) for name in BUILTIN if registry.info(name).unavailable is None}
    assert {name for name, own in classes.items() if issubclass(own, BlockwiseMethod)} == set(METHODS)


def test_outputs_that_a_network_keeps_from_inference_mode_are_copied():
    class Table(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            with torch.inference_mode():
                self.kept = (torch.ones(3), [torch.zeros(3)], "name")

        def forward(self) -> Any:
            return self.kept

    table = Table()
    assert table()[0].is_inference()
    with usable_outputs(table):
        ones, (zeros,), name = table()
    assert not ones.is_inference()
    assert not zeros.is_inference()
    assert name == "name"
    assert table()[0].is_inference()
    ordinary = torch.ones(2)
    assert usable({"a": ordinary})["a"] is ordinary


@pytest.mark.parametrize(
    ("family", "methods"),
    [
        ("stable-audio", ["ptq4adm"]),
        ("longcat", ["ptq4adm"]),
        *(pytest.param(family, METHODS, marks=pytest.mark.slow(120)) for family in FAMILIES),
    ],
)
def test_methods_with_gradients_run_on_a_family(family, methods, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("ADMBENCH_CACHE", str(tmp_path / "cache"))
    pipeline_directories.seeded(FAMILIES[family]).save_pretrained(tmp_path / family)
    model = load_model(f"dir:{tmp_path / family}")
    for name in methods:
        assert_finite(model, quantized_by(model, name))
