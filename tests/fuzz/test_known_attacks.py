"""Attacks that somebody thought of: what a few bytes ask for, and the line that refuses them.

Each is alterations of a good folder, as those that a fuzzer draws, so that it meets the same promises: one line that
names the file, within 10 s and 2 GiB.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import admbench
from admbench.bench.models import load_model
from admbench.bench.models.families.tango import UNET_CONFIG
from admbench.bench.suites import load_suite
from admbench.methods.core.checkpoint.header import sealed
from admbench.metrics.audio import read_audio

from .alterations import Alteration, apply
from .contract import ask
from .targets import TARGETS, copy_of, packed_components

HUGE = 2**24
MANY = 10**6
VAE = "pytorch_model_vae.bin"

SIZES: dict[str, tuple[str, list[Alteration]]] = {
    "words of a ClapModel": (
        "musicldm",
        [["set", "text_encoder/config.json", ["text_config", "vocab_size"], 10**9]],
    ),
    "layers of a ClapModel's words": (
        "musicldm",
        [["set", "text_encoder/config.json", ["text_config", "num_hidden_layers"], MANY]],
    ),
    "stages of a ClapModel's sound": (
        "musicldm",
        [["set", "text_encoder/config.json", ["audio_config", "depths"], [900] * 900]],
    ),
    "widths of a ClapModel's sound": (
        "musicldm",
        [["set", "text_encoder/config.json", ["audio_config", "patch_embeds_hidden_size"], HUGE]],
    ),
    "channels of a HiFi-GAN": (
        "musicldm",
        [["set", "vocoder/config.json", ["upsample_initial_channel"], HUGE]],
    ),
    "blocks of a HiFi-GAN": (
        "musicldm",
        [
            ["set", "vocoder/config.json", ["resblock_kernel_sizes"], [3] * 3000],
            ["set", "vocoder/config.json", ["resblock_dilation_sizes"], [[1] * 300] * 3000],
        ],
    ),
    "channels of an AutoencoderKL": (
        "musicldm",
        [["set", "vae/config.json", ["block_out_channels"], [HUGE, HUGE]]],
    ),
    "layers of an AutoencoderKL": (
        "musicldm",
        [["set", "vae/config.json", ["layers_per_block"], 10**9]],
    ),
    "channels of an Oobleck": (
        "stable-audio",
        [["set", "vae/config.json", ["decoder_channels"], HUGE]],
    ),
    "stages of an Oobleck": (
        "stable-audio",
        [
            ["set", "vae/config.json", ["downsampling_ratios"], [2] * 300],
            ["set", "vae/config.json", ["channel_multiples"], [2**12] * 300],
        ],
    ),
    "blocks of a transformer": (
        "stable-audio",
        [["set", "transformer/config.json", ["num_layers"], MANY]],
    ),
    "noise levels of a schedule": (
        "musicldm",
        [["set", "scheduler/scheduler_config.json", ["num_train_timesteps"], 10**9]],
    ),
}
SIZES_OF_LAYOUTS: dict[str, tuple[str, Alteration, str]] = {
    "levels of TANGO's U-Net": (
        "tango",
        ["set", "configs/diffusion_model_config.json", ["block_out_channels"], [HUGE, HUGE]],
        "pytorch_model_main.bin",
    ),
    "words of TANGO's text encoder": (
        "tango",
        ["set", "google/flan-t5-large/config.json", ["vocab_size"], 10**9],
        "pytorch_model_main.bin",
    ),
    "channels of TANGO's autoencoder": ("tango", ["set", "vae_config.json", ["ddconfig", "ch"], HUGE], VAE),
    "channels of Make-An-Audio's U-Net": (
        "make-an-audio",
        ["set", "txt2audio_args.yaml", ["model", "params", "unet_config", "params", "model_channels"], HUGE],
        "maa1_full.ckpt",
    ),
    "timesteps of Make-An-Audio": (
        "make-an-audio",
        ["set", "txt2audio_args.yaml", ["model", "params", "timesteps"], 10**12],
        "txt2audio_args.yaml",
    ),
    "layers of Make-An-Audio's text encoder": (
        "make-an-audio",
        ["set", "bert-base-uncased/config.json", ["num_hidden_layers"], MANY],
        "maa1_full.ckpt",
    ),
    "channels of BigVGAN": (
        "make-an-audio",
        ["set", "bigvgan/args.yml", ["upsample_initial_channel"], 2**30],
        "bigvgan/",
    ),
    "layers of Stable Audio Open Small": (
        "stable-audio-open-small",
        ["set", "model_config.json", ["model", "diffusion", "config", "depth"], 65_536],
        "model.safetensors",
    ),
    "stages of its autoencoder": (
        "stable-audio-open-small",
        ["set", "model_config.json", ["model", "pretransform", "config", "encoder", "config", "strides"], [2] * 900],
        "model.safetensors",
    ),
    "layers of TangoFlux": ("tangoflux", ["set", "config.json", ["num_layers"], 65_536], "tangoflux.safetensors"),
    "frames of TangoFlux": ("tangoflux", ["set", "config.json", ["audio_seq_len"], 10**12], "config.json"),
}
"""Those of the authors' own layouts, each with the file that the line names."""

OTHERS: dict[str, tuple[str, list[Alteration]]] = {
    "a key of a configuration comes twice": ("musicldm", [["twice", "unet/config.json", ["block_out_channels"]]]),
    "a key of a header comes twice": ("packed", [["twice", "quantization.json", ["component"]]]),
    "a key of captions.json comes twice": ("audio", [["twice", "captions.json", [0, "id"]]]),
    "weights are a pipe": ("musicldm", [["pipe", "unet/diffusion_pytorch_model.safetensors"]]),
    "a configuration is a device": ("musicldm", [["link", "unet/config.json", "/dev/zero"]]),
    "weights are a pickle that runs code": ("musicldm", [["pickle", "unet/diffusion_pytorch_model.safetensors"]]),
    "a packed checkpoint is a pickle that runs code": ("packed", [["pickle", "model.safetensors"]]),
    "a clip is a pipe": ("audio", [["pipe", "audio/clip-0.wav"]]),
    "a clip lies above its folder": ("audio", [["set", "captions.json", [0, "file"], "../../etc/passwd"]]),
    "a clip has an absolute path": ("audio", [["set", "captions.json", [0, "file"], "/etc/passwd"]]),
    "captions are a device": ("captions-jsonl", [["link", "captions.jsonl", "/dev/zero"]]),
    "attention loads code": (
        "musicldm",
        [["add", "text_encoder/config.json", ["architectures"], "attn_implementation", "someone/kernel"]],
    ),
}


def refused(target: str, alterations: list[Alteration]) -> str:
    with copy_of(target) as folder:
        apply(folder, alterations)
        answer = ask(lambda: TARGETS[target].read(folder), folder)
    assert answer.refusal is not None
    return answer.refusal


@pytest.mark.attack("size that a configuration asks for")
@pytest.mark.parametrize("attack", SIZES)
def test_a_size_that_the_files_cannot_fill_is_refused(attack: str) -> None:
    target, alterations = SIZES[attack]
    assert alterations[0][1] in refused(target, alterations)


@pytest.mark.attack("size that a configuration asks for")
@pytest.mark.parametrize("attack", SIZES_OF_LAYOUTS)
def test_a_size_that_the_files_of_a_layout_cannot_fill_is_refused(attack: str) -> None:
    target, alteration, named = SIZES_OF_LAYOUTS[attack]
    assert named in refused(target, [alteration])


@pytest.mark.attack("file that is not what it is called")
@pytest.mark.parametrize("attack", OTHERS)
def test_a_file_that_is_not_what_it_is_called_is_refused(attack: str) -> None:
    refused(*OTHERS[attack])


@pytest.mark.attack("audio that unpacks to gigabytes")
def test_a_small_file_of_hours_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    file = tmp_path / "silence.flac"
    soundfile.write(file, np.zeros(16_000, dtype=np.float32), 16_000)
    data = bytearray(file.read_bytes())
    # STREAMINFO ends with 36 bits of the number of samples and 16 bytes of MD5: RFC 9639, section 8.2
    data[21] |= 0x0F
    data[22:26] = b"\xff" * 4
    file.write_bytes(data)
    answer = ask(lambda: read_audio(file), tmp_path)
    assert answer.refusal is not None
    assert "hours long; expected at most" in answer.refusal


@pytest.mark.attack("folder that a packed checkpoint names")
@pytest.mark.parametrize("model", ["dir:/etc", "dir:../..", "dir:/proc/self", "dir:/dev/zero"])
def test_a_folder_that_a_packed_checkpoint_names_is_not_told(model: str, tmp_path: Path) -> None:
    packed_components(tmp_path / "packed")
    for header in (tmp_path / "packed").glob("*/quantization.json"):
        keys = json.loads(header.read_text())
        keys["source"]["model"] = model
        header.write_text(json.dumps(sealed(keys)))
    answer = ask(lambda: admbench.load_checkpoint(tmp_path / "packed"), tmp_path)
    assert re.search("made from dir:.*, which is not here", str(answer.refusal))


LONG = 300 * "x"
"""A name that no file can have: looking for it is an error, and not the answer that it is not there."""


TEXTS = {
    "tango": ("main_config.json", ["text_encoder_name"]),
    "tangoflux": ("config.json", ["text_encoder_name"]),
    "make-an-audio": ("CLAP/config.yml", ["text_model"]),
    "stable-audio-open-small": (
        "model_config.json",
        ["model", "conditioning", "configs", 0, "config", "t5_model_name"],
    ),
}
"""Where a layout names its text encoder."""


@pytest.mark.attack("file that is not what it is called")
@pytest.mark.parametrize("target", TEXTS)
def test_a_text_encoder_that_is_not_here_is_said_with_the_file_that_names_it(
    target: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("ADMBENCH_WEIGHTS", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    file, place = TEXTS[target]
    line = refused(target, [["set", file, place, "of-nobody/at-all"]])
    assert f"{file}: " in line
    assert "get it with: hf download of-nobody/at-all config.json" in line


@pytest.mark.attack("a name longer than a file's")
@pytest.mark.parametrize("key", ["unet_model_config_path", "text_encoder_name"])
def test_a_name_in_tangos_configuration_that_no_file_can_have_is_refused(key: str, tmp_path: Path) -> None:
    named = {"unet_model_config_path": UNET_CONFIG, "text_encoder_name": "google/flan-t5-large"}
    for name, content in (("main", named | {key: LONG}), ("vae", {}), ("stft", {})):
        (tmp_path / f"{name}_config.json").write_text(json.dumps(content))
    for name in ("main", "vae"):
        (tmp_path / f"pytorch_model_{name}.bin").touch()
    refusal = ask(lambda: load_model(f"dir:{tmp_path}"), tmp_path).refusal
    assert refusal is not None
    assert refusal.startswith(f"{tmp_path / 'main_config.json'}: {key} is ")


@pytest.mark.attack("a name longer than a file's")
@pytest.mark.parametrize(("read", "what"), [(load_model, "dir:{}"), (load_suite, "{}.csv")], ids=["folder", "captions"])
def test_a_path_that_no_file_can_have_is_not_there(read: Callable[[str], Any], what: str, tmp_path: Path) -> None:
    refusal = ask(lambda: read(what.format(tmp_path / LONG)), tmp_path).refusal
    assert refusal is not None
    assert "no such" in refusal
