"""The scripts of the page on exports make our clip without this package, in environments that have one runtime each."""

from __future__ import annotations

import re
import subprocess
import sys
import venv
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from admbench.bench import api
from admbench.bench.cli.app import main

PAGE = Path(__file__).parents[2] / "docs" / "exporting.md"
RUNTIMES = {
    "onnx": "onnxruntime",
    "onnx-pipeline": "onnxruntime",
    "openvino": "openvino",
    "gguf": "gguf",
    "diffusers": "diffusers",
}
"""What each form needs; diffusers is in all, as it runs the rest of the pipeline."""
OF_OTHERS = ("admbench", "__editable__", "onnx", "openvino", "gguf")
"""Beginnings of the names of what an environment has only if its form needs it."""
STEPS = 2
NEAREST_DB = {"diffusers": 35.0, "onnx": 70.0, "onnx-pipeline": 70.0, "openvino": 70.0, "gguf": 70.0}
"""Least ratio of a clip's mean square to that of its difference from ours. Half precision has 11 bits."""


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint in a format that all forms have, and beside it the pipeline."""
    folder = tmp_path_factory.mktemp("exports")
    made = folder / "packed"
    assert main(["quantize", "--model", "tiny-audioldm", "--method", "naive@q8_0", "--out", str(made)]) == 0
    assert main(["export", str(made), "--format", "diffusers", "--out", str(folder / "pipeline")]) == 0
    return made


@pytest.fixture(scope="module")
def ours(packed: Path) -> np.ndarray:
    """Return the clip that this package makes of the checkpoint, through the pipeline's vocoder.

    In this package embedded models are heard through Griffin-Lim, in diffusers through their HiFi-GAN.
    """
    denoised = api.load_checkpoint(packed).latents(["rain on a roof"], [0], steps=STEPS, guidance=3.0, batch_size=1)
    return api.load_model(f"dir:{packed.parent / 'pipeline'}").decode(denoised)[0]


@pytest.mark.slow
@pytest.mark.parametrize("form", RUNTIMES)
def test_the_script_of_the_page_makes_our_clip_without_this_package(
    form: str, packed: Path, ours: np.ndarray, tmp_path: Path
) -> None:
    pytest.importorskip(RUNTIMES[form])
    if form.startswith("onnx"):
        pytest.importorskip("onnx")
    (tmp_path / "pipeline").symlink_to(packed.parent / "pipeline")
    if form != "diffusers":
        assert main(["export", str(packed), "--format", form, "--out", str(tmp_path / "exported")]) == 0
    python = _environment(tmp_path / "alone", RUNTIMES[form])
    done = subprocess.run([python, "-c", _script(form)], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found, rate = soundfile.read(tmp_path / "rain.wav")
    assert rate == 16_000
    if form == "onnx-pipeline":
        ours = from_noise_of_numpy(packed)
    assert found.shape == ours.shape
    difference = np.square(found - ours).mean() / np.square(ours).mean()
    assert -10 * np.log10(difference) > NEAREST_DB[form]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backend", "module", "codes"),
    [("quanto", "optimum.quanto", ".weight._data"), ("torchao", "torchao", "._weight_qdata")],
)
def test_diffusers_and_its_backend_make_our_clip_from_our_codes(
    backend: str, module: str, codes: str, packed: Path, tmp_path: Path
) -> None:
    pytest.importorskip(module)
    pytest.importorskip("accelerate")
    made, form = tmp_path / "packed", f"diffusers-{backend}"
    assert main(["quantize", "--model", "tiny-audioldm", "--method", "naive@w8a16", "--out", str(made)]) == 0
    assert main(["export", str(made), "--format", form, "--out", str(tmp_path / "exported")]) == 0
    held = load_file(tmp_path / "exported" / "unet" / "diffusion_pytorch_model.safetensors")
    assert sum(name.endswith(codes) and tensor.dtype == torch.int8 for name, tensor in held.items()) == 84
    python = _environment(tmp_path / "alone", module.partition(".")[0])
    script = _script(form)
    done = subprocess.run([python, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found, _ = soundfile.read(tmp_path / "rain.wav")
    denoised = api.load_checkpoint(made).latents(["rain on a roof"], [0], steps=STEPS, guidance=3.0, batch_size=1)
    ours = api.load_model(f"dir:{packed.parent / 'pipeline'}").decode(denoised)[0]
    assert -10 * np.log10(np.square(found - ours).mean() / np.square(ours).mean()) > NEAREST_DB["diffusers"]


def from_noise_of_numpy(packed: Path) -> np.ndarray:
    """Return the clip that this package makes of the checkpoint from numpy's noise, through the pipeline's vocoder."""
    model = api.load_checkpoint(packed)
    noise = np.random.default_rng(0).standard_normal((1, *model.card.latent_shape), dtype="float32")
    with mock.patch("torch.randn", return_value=torch.from_numpy(noise[0])):
        denoised = model.latents(["rain on a roof"], [0], steps=STEPS, guidance=3.0, batch_size=1)
    return api.load_model(f"dir:{packed.parent / 'pipeline'}").decode(denoised)[0]


def _script(form: str) -> str:
    """Return the script of a form's section, with fewer steps, and a check that nothing of ours was there."""
    section = re.search(rf"^## `{form}`\n(.*?)(?=^## |\Z)", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert section is not None
    found = re.search(r"```python\n(.*?)```", section[1], re.DOTALL)
    assert found is not None
    few = found[1].replace('"num_inference_steps": 25', f'"num_inference_steps": {STEPS}')
    assert few != found[1]
    alone = "import importlib.util\nassert importlib.util.find_spec('admbench') is None\n"
    if form == "onnx-pipeline":
        few += "import sys\nassert not {'torch', 'diffusers', 'transformers'} & set(sys.modules)\n"
    return alone + few


def _environment(folder: Path, runtime: str) -> Path:
    """Make a virtual environment with what is installed here, but this package and other forms' runtimes."""
    venv.create(folder, with_pip=False, symlinks=True)
    packages = next(folder.glob("lib/python*/site-packages"))
    for path in map(Path, sys.path):
        if path.name not in ("site-packages", "dist-packages"):
            continue
        for entry in path.iterdir():
            others = entry.name.startswith(OF_OTHERS) and not entry.name.startswith(runtime)
            if not others and entry.suffix != ".pth" and not (packages / entry.name).exists():
                (packages / entry.name).symlink_to(entry)
    return folder / "bin" / "python"
