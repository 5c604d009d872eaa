"""Good folders that no pipeline of diffusers saves: models in their authors' own layouts, and quantized ones."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import torch
from safetensors.torch import load_file, save_file

from admbench.bench.exporting.quanto_pipeline import QuantoPipeline
from admbench.bench.models.pipelines import tangoflux

from ..bench import (
    pipeline_directories,
    test_make_an_audio,
    test_stable_audio_open_small,
    test_tango,
    test_tangoflux,
)

WEIGHTS = "diffusion_pytorch_model.safetensors"
STORED = Path(__file__).parents[1] / "methods" / "checkpoints"
LAYOUTS: dict[str, tuple[ModuleType, str, str | None]] = {
    "tango": (test_tango, "TANGO's own files", "pytorch_model_main.bin"),
    "make-an-audio": (test_make_an_audio, "Make-An-Audio's own files", "maa1_full.ckpt"),
    "stable-audio-open-small": (test_stable_audio_open_small, "Stable Audio Open Small", "model.safetensors"),
    "tangoflux": (test_tangoflux, "TangoFlux", "tangoflux.safetensors"),
}
"""Layouts of their own: what writes a small folder, how the table of attacks calls it, a file of tensors."""


def published(layout: ModuleType, folder: Path) -> None:
    """Write a folder as the authors of a model do, small."""
    layout.write_published(folder, layout.small_parts())


@contextmanager
def small_autoencoders() -> Iterator[None]:
    """Let TangoFlux's autoencoder, which no file configures, have the sizes of the small folder's."""
    with mock.patch.object(tangoflux, "VAE", test_tangoflux.VAE):
        yield


def pipeline(make: Any, folder: Path) -> None:
    """Write a pipeline of diffusers."""
    pipeline_directories.seeded(make).save_pretrained(folder)


def shards(folder: Path) -> None:
    """Split the U-Net's weights of a good model folder in two, with an index."""
    pipeline(pipeline_directories.musicldm, folder)
    whole = folder / "unet" / WEIGHTS
    tensors = load_file(whole)
    whole.unlink()
    names = sorted(tensors)
    index: dict[str, str] = {}
    for number, own in enumerate((names[::2], names[1::2]), start=1):
        shard = f"diffusion_pytorch_model-0000{number}-of-00002.safetensors"
        save_file({name: tensors[name] for name in own}, folder / "unet" / shard, {"format": "pt"})
        index |= dict.fromkeys(own, shard)
    content = {"metadata": {"total_size": 1}, "weight_map": index}
    (folder / "unet" / f"{WEIGHTS}.index.json").write_text(json.dumps(content))


def quantized(folder: Path) -> None:
    """Write a pipeline whose backbone is int8, as diffusers saves it with quanto."""
    pipeline(pipeline_directories.audioldm, folder)
    file, config = folder / "unet" / WEIGHTS, folder / "unet" / "config.json"
    tensors = load_file(file)
    names = [name.removesuffix(".weight") for name, tensor in tensors.items() if tensor.ndim == 2]
    codes = {}
    for name in names:
        weight = tensors.pop(f"{name}.weight")
        scale = weight.abs().amax(dim=1, keepdim=True) / 127
        codes[name] = ((weight / scale).round().to(torch.int8), scale)
    form = QuantoPipeline()
    held, header = form.held(tensors, codes)
    save_file(held, file, {"format": "pt"} | header)
    content = json.loads(config.read_text(encoding="utf-8"))
    config.write_text(json.dumps(content | {"quantization_config": form.config([])}), encoding="utf-8")


def packed(folder: Path) -> None:
    """Write a packed checkpoint of a backbone, a text encoder and a vocoder, in the formats of their days."""
    for component, version in ((".", 8), ("text_encoder", 5), ("vocoder", 5)):
        (folder / component).mkdir(exist_ok=True)
        for name in ("model.safetensors", "quantization.json"):
            shutil.copyfile(STORED / f"version-{version}" / component / name, folder / component / name)
