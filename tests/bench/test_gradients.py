"""Methods that learn by gradients run on every family of pipelines, whatever its networks keep from inference mode."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from admbench.bench.models import families, load_model
from admbench.bench.models.pipelines import tango, tangoflux
from admbench.bench.models.quantization import quantize_components
from admbench.methods import BUILTIN, from_spec, registry
from admbench.methods.blockwise import BlockwiseMethod
from admbench.methods.core.layers.inference import usable, usable_outputs

from . import pipeline_directories, test_make_an_audio, test_stable_audio_open_small, test_tango, test_tangoflux

CAPTIONS = ["a dog barks", "rain", "loud rain falls"]
PIPELINES = {
    "audioldm": (families.AUDIOLDM, pipeline_directories.audioldm),
    "audioldm2": (families.AUDIOLDM2, pipeline_directories.audioldm2),
    "musicldm": (families.MUSICLDM, pipeline_directories.musicldm),
    "stable-audio": (families.STABLE_AUDIO, pipeline_directories.stable_audio),
    "stable-audio-3": (families.STABLE_AUDIO_3, pipeline_directories.stable_audio_3),
    "ace-step": (families.ACE_STEP, pipeline_directories.ace_step),
    "longcat": (families.LONGCAT_AUDIODIT, pipeline_directories.longcat_audiodit),
}
"""Families of diffusers' directories, each with what makes a small pipeline."""
LAYOUTS = {
    "tango": (families.TANGO, test_tango),
    "make-an-audio": (families.MAKE_AN_AUDIO, test_make_an_audio),
    "tangoflux": (families.TANGOFLUX, test_tangoflux),
    "stable-audio-open-small": (families.STABLE_AUDIO_OPEN_SMALL, test_stable_audio_open_small),
}
"""Families of layouts of their own, each with what writes a small folder."""
FAMILIES = PIPELINES | LAYOUTS
SECONDS = {"audioldm": 0.016, "make-an-audio": 1.0}
"""Clips of families that make ten seconds whatever the size of their networks."""
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


def write_small(family: str, folder: Path) -> None:
    """Random weights in networks of the family's own classes."""
    if family in PIPELINES:
        pipeline_directories.seeded(PIPELINES[family][1]).save_pretrained(folder)
    else:
        layout = LAYOUTS[family][1]
        layout.write_published(folder, layout.small_parts())


def small_model(family: str, folder: Path) -> Any:
    model = load_model(f"dir:{folder}")
    if family in SECONDS:
        model.set_seconds(SECONDS[family])
    return model


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


def test_every_family_is_tried():
    tried = [family for family, _ in FAMILIES.values()]
    assert all(any(family is own for own in tried) for family in families.FAMILIES)


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
    monkeypatch.setattr(tangoflux, "VAE", test_tangoflux.VAE)
    monkeypatch.setattr(tango, "LATENT_FRAMES", 16)
    write_small(family, tmp_path / family)
    assert families.recognise(tmp_path / family) is FAMILIES[family][0]
    model = small_model(family, tmp_path / family)
    for name in methods:
        assert_finite(model, quantized_by(model, name))
