"""Whatever is wrong in a model folder, or in what is asked of a model: one line that names it, and no wrong audio."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, DPMSolverMultistepScheduler, PNDMScheduler
from safetensors.torch import load_file, save_file

import admbench
from admbench.bench.cli.app import main
from admbench.bench.models import fingerprint, load_model
from admbench.bench.models.checkpoints import shipped
from admbench.bench.models.checkpoints.components import load_component, require_exact
from admbench.bench.models.checkpoints.files import WEIGHTS as WEIGHTS_OF
from admbench.bench.models.checkpoints.files import component_files
from admbench.bench.models.checkpoints.tensors import build
from admbench.bench.models.families import recognise
from admbench.bench.models.sampling import Sampling
from admbench.errors import BenchError, CheckpointError, DataError, UsageError

from . import pipeline_directories

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of an embedded model's pipeline directory, to be damaged."""
    monkeypatch.setenv("ADMBENCH_CACHE", str(tmp_path / "cache"))
    shutil.copytree(shipped.folder_of("tiny-audioldm"), tmp_path / "mine")
    return tmp_path / "mine"


def cut_in_half(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def set_in(file: Path, **values: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def prefix_all(file: Path, prefix: str) -> None:
    save_file({prefix + name: tensor for name, tensor in load_file(file).items()}, file)


def rename(file: Path, name: str) -> None:
    file.rename(file.with_name(name))


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a tokenizer is cut": (
        lambda at: cut_in_half(at / "tokenizer/tokenizer.json"),
        "tokenizer: cannot be read as a tok",
    ),
    "noise levels of another name": (
        lambda at: set_in(at / "scheduler/scheduler_config.json", beta_schedule="of my own"),
        r"scheduler_config\.json: cannot be read as the configuration of DDIMScheduler .*of my own",
    ),
    "quantized before": (
        lambda at: set_in(at / "unet/config.json", quantization_config={"quant_method": "bitsandbytes"}),
        r"unet/config\.json: the weights were quantized already by bitsandbytes; expected full precision",
    ),
    "weights are cut": (
        lambda at: cut_in_half(at / "unet" / WEIGHTS),
        f"unet/{WEIGHTS}: cannot be read, or is truncated",
    ),
    "a wrapper's names": (
        lambda at: prefix_all(at / "unet" / WEIGHTS, "module."),
        r'left over: module\..* and \d+ more \(all names begin with "module\."',
    ),
    "half precision alone": (
        lambda at: rename(at / "unet" / WEIGHTS, "diffusion_pytorch_model.fp16.safetensors"),
        r"unet: no weights; expected .*, found only diffusion_pytorch_model\.fp16\.safetensors",
    ),
    "shards of torch.save alone": (
        lambda at: rename(at / "unet" / WEIGHTS, "diffusion_pytorch_model-00001-of-00002.bin"),
        r"unet: no weights; expected .*, found only diffusion_pytorch_model-00001-of-00002\.bin",
    ),
    "an adapter beside the weights": (
        lambda at: (at / "text_encoder/adapter_config.json").write_text("{}"),
        r"text_encoder/adapter_config\.json: an adapter is not read; expected it merged",
    ),
    "a configuration that names other weights": (
        lambda at: set_in(at / "text_encoder/config.json", transformers_weights="other.safetensors"),
        r"text_encoder/config\.json: transformers_weights names another file of weights",
    ),
    "whole and in shards": (
        lambda at: (at / "unet" / f"{WEIGHTS}.index.json").write_text("{}"),
        rf"unet: holds {WEIGHTS} and {WEIGHTS}\.index\.json, of which one is stale",
    ),
}


@pytest.mark.attack("model folder, damaged")
@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_one_line_that_names_the_file(damage: str, folder: Path) -> None:
    do, expected = DAMAGE[damage]
    do(folder)
    with pytest.raises(CheckpointError, match=expected) as error:
        load_model(f"dir:{folder}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "ema_model."])
def test_what_wrappers_and_averages_put_before_names_is_recognised_and_long_lists_are_cut(prefix: str) -> None:
    names = [f"down.{row}.weight" for row in range(412)]
    with pytest.raises(CheckpointError, match=f'all names begin with "{prefix}", as a wrapper leaves them') as error:
        require_exact("unet.safetensors", names, [prefix + name for name in names])
    assert str(error.value).count("and 407 more") == 2
    assert len(str(error.value)) < 600


def test_numbers_of_another_kind_have_no_place_in_a_network() -> None:
    for weight, kind in ((torch.zeros(2, 2, dtype=torch.complex64), "complex64"), (torch.zeros(2, 2).int(), "int32")):
        with pytest.raises(CheckpointError, match=f"x: weight has numbers of type {kind}; expected floating-point"):
            build("x", lambda: torch.nn.Linear(2, 2, bias=False), {"weight": weight})


@pytest.mark.attack("model folder, damaged")
@pytest.mark.parametrize("kind", [torch.complex64, torch.int32, torch.bool, torch.float8_e4m3fn])
@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_libraries_convert_numbers_of_any_kind_and_here_they_are_refused(
    kind: torch.dtype, suffix: str, folder: Path
) -> None:
    file = folder / "vae" / WEIGHTS
    tensors = load_file(file)
    tensors["decoder.conv_in.bias"] = tensors["decoder.conv_in.bias"].to(kind)
    if suffix == "bin":
        file.unlink()
        file = file.with_suffix(".bin")
        torch.save(tensors, file)
    else:
        save_file(tensors, file)
    name = str(kind).removeprefix("torch.")
    with pytest.raises(CheckpointError, match=rf"{file}: decoder.conv_in.bias has numbers of type {name}; expected"):
        load_component(AutoencoderKL, folder / "vae", WEIGHTS_OF["diffusers"])


@pytest.mark.attack("model folder, damaged")
@pytest.mark.parametrize(
    ("file", "setting", "part"),
    [
        ("scheduler/scheduler_config.json", {"prediction_type": "x"}, "scheduler"),
        ("scheduler/scheduler_config.json", {"steps_offset": None}, "scheduler"),
        ("vae/config.json", {"scaling_factor": "x"}, "decoder"),
        ("unet/config.json", {"norm_eps": None}, "backbone"),
    ],
)
def test_a_setting_that_shows_only_when_a_part_runs_names_folder_and_part(
    file: str, setting: dict[str, object], part: str, folder: Path
) -> None:
    set_in(folder / file, **setting)
    model = load_model(f"dir:{folder}")
    model.set_seconds(0.64)
    with pytest.raises(CheckpointError, match=f"^{folder}: its {part} was loaded and cannot be run") as error:
        admbench.generate(model, ["rain"], [3], steps=1)
    assert "\n" not in str(error.value)


@pytest.mark.attack("model folder, damaged")
def test_a_setting_that_shows_only_when_the_parts_are_joined_names_the_folder(tmp_path: Path) -> None:
    pipeline_directories.seeded(pipeline_directories.stable_audio).save_pretrained(tmp_path)
    set_in(tmp_path / "vae/config.json", sampling_rate="x")
    with pytest.raises(CheckpointError, match=f"^{tmp_path}: cannot be read as a Stable Audio pipeline directory"):
        load_model(f"dir:{tmp_path}")


@pytest.mark.parametrize("place", [".", "vae"])
def test_a_packed_checkpoint_is_no_model_and_says_how_it_is_read(place: str, tmp_path: Path) -> None:
    (tmp_path / place).mkdir(exist_ok=True)
    (tmp_path / place / "quantization.json").write_text("{}")
    with pytest.raises(CheckpointError, match="a packed checkpoint, not a model; it is read by --checkpoint"):
        load_model(f"dir:{tmp_path}")


def test_the_users_home_is_expanded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder.parent))
    assert load_model("dir:~/mine").source == "folder: an AudioLDM pipeline directory"


def test_a_checkpoint_of_a_folder_is_read_from_anywhere_and_if_that_moved_with_its_new_place(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    model = load_model("dir:mine")
    model.set_seconds(0.64)
    quantized = admbench.quantize(model, "naive@w8a16")
    expected = admbench.generate(model, ["rain"], [3], steps=2)
    admbench.save_checkpoint(quantized, tmp_path / "packed")
    monkeypatch.chdir("/")
    assert admbench.load_checkpoint(tmp_path / "packed").name == f"dir:{folder}"
    moved = folder.rename(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match=r"made from dir:.*mine, which is not here; say where that model is"):
        admbench.load_checkpoint(tmp_path / "packed")
    again = admbench.load_checkpoint(tmp_path / "packed", model=f"dir:{moved}")
    again.set_seconds(0.64)
    np.testing.assert_array_equal(admbench.generate(again, ["rain"], [3], steps=2), expected)
    with pytest.raises(CheckpointError, match=r"made from other weights of dir:.* than those of tiny-tango here"):
        admbench.load_checkpoint(tmp_path / "packed", model="tiny-tango")


# what is asked of a model

BETAS = {"beta_start": 0.0015, "beta_end": 0.0195, "beta_schedule": "scaled_linear"}


@pytest.mark.parametrize("steps", [1000, 600, 334])
def test_steps_that_do_not_span_the_noise_levels_are_refused_with_the_nearest_that_do(steps: int) -> None:
    scheduler = DDIMScheduler(1000, steps_offset=1, **BETAS)
    with pytest.raises(UsageError, match=f"steps={steps}: DDIMScheduler would begin at timestep") as error:
        Sampling(scheduler, steps, [])
    near = str(error.value).rpartition("such as ")[2].split(" or ")
    for count in near:
        assert Sampling(scheduler, int(count), []).timesteps.max() <= 999


@pytest.mark.parametrize(
    ("scheduler", "options", "steps", "expected"),
    [
        (PNDMScheduler, {}, 3, "PNDMScheduler has no timesteps for this number; .*, such as 4"),
        (DPMSolverMultistepScheduler, {}, 1000, "step between equal noise levels; .*, such as 999"),
        (DPMSolverMultistepScheduler, {"use_karras_sigmas": True}, 999, "begin at timestep 999 twice; .*, such as 948"),
    ],
)
def test_steps_that_a_solver_cannot_take_are_refused_with_the_nearest_that_it_can(
    scheduler: type, options: dict[str, object], steps: int, expected: str
) -> None:
    made = scheduler(1000, **BETAS, **options)
    with pytest.raises(UsageError, match=f"steps={steps}: .*{expected}") as error:
        Sampling(made, steps, [])
    near = int(str(error.value).rpartition("such as ")[2])
    sampling = Sampling(made, near, [torch.Generator()])
    latents = sampling.start(torch.ones(1, 1, 2, 2))
    for timestep in sampling.timesteps:
        latents = sampling.step(torch.zeros_like(latents), timestep, latents)
    assert latents.isfinite().all()


@pytest.mark.parametrize("scheduler", [DDIMScheduler, DPMSolverMultistepScheduler])
def test_what_is_accepted_begins_where_nearly_all_is_noise_or_a_step_below_the_end(scheduler: type) -> None:
    made = scheduler(1000, **BETAS)
    accepted = 0
    for steps in range(1, 1001, 13):
        try:
            first = int(Sampling(made, steps, []).timesteps.max())
        except UsageError:
            continue
        accepted += 1
        assert first <= 999
        assert first >= 999 - 1.25 * 1000 / steps or made.alphas_cumprod[first] <= 0.02
    assert accepted > 60
    for common in (1, 2, 4, 5, 8, 10, 20, 25, 30, 40, 50, 60, 100, 150, 200, 250, 500):
        Sampling(made, common, [])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"guidance": float("inf")}, "guidance=inf: expected a finite number"),
        ({"guidance": float("nan")}, "guidance=nan: expected a finite number"),
        ({"seeds": [2**63]}, r"seed=9223372036854775808: expected 0 to 2\*\*63 - 1"),
        ({"seeds": [-1]}, "seed=-1: expected 0 to"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, object], expected: str, plugins: None) -> None:
    with pytest.raises(UsageError, match=expected):
        admbench.generate(load_model("fake-adm"), ["rain"], **{"steps": 2, **options})  # type: ignore[arg-type]


def test_audio_that_is_not_finite_is_not_written_and_its_cause_is_named(
    plugins: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from admbench.bench import api

    model = load_model("fake-adm")
    model.backbone.conv_in.weight.data[0, 0] = torch.nan
    with pytest.raises(DataError, match=r"fake-adm: 1 of 1 clips are not finite.*backbone/conv_in\.weight holds NaN"):
        admbench.generate(model, ["rain"], steps=2)
    monkeypatch.setattr(api, "load_model", lambda *_, **__: model)
    command = ["generate", "--model", "fake-adm", "--prompt", "rain", "--steps", "2", "--out", str(tmp_path / "a.wav")]
    assert main(command) != 0
    assert "conv_in.weight" in capsys.readouterr().err
    assert not (tmp_path / "a.wav").exists()


def test_a_home_that_cannot_be_written_costs_no_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = fingerprint(f"dir:{folder}")
    (folder.parent / "file").write_text("no folder")
    monkeypatch.setenv("ADMBENCH_CACHE", str(folder.parent / "file" / "cache"))
    assert fingerprint(f"dir:{folder}") == expected


def test_one_rule_says_which_weights_are_hashed_and_loaded(folder: Path) -> None:
    names = WEIGHTS_OF["diffusers"]
    assert component_files(folder / "unet", names) == [folder / "unet" / WEIGHTS]
    for stale in (f"{WEIGHTS}.index.json", "diffusion_pytorch_model.bin.index.json"):
        (folder / "unet" / stale).write_text("{}")
        if stale.startswith(WEIGHTS):
            with pytest.raises(BenchError, match="stale"):
                component_files(folder / "unet", names)
        (folder / "unet" / stale).unlink()
    rename(folder / "unet" / WEIGHTS, "diffusion_pytorch_model.bin")
    (folder / "unet" / "diffusion_pytorch_model.bin.index.json").write_text("{}")
    with pytest.raises(BenchError, match="stale"):  # diffusers would read the shards that it names
        component_files(folder / "unet", names)


def test_a_name_that_no_library_reads_is_no_weights(folder: Path) -> None:
    encoder, names = folder / "text_encoder", WEIGHTS_OF["transformers"]
    shutil.copy(encoder / "model.safetensors", encoder / "pytorch_model.safetensors")
    assert component_files(encoder, names) == [encoder / "model.safetensors"]
    (encoder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"no weights; expected model\.safetensors or pytorch_model\.bin"):
        component_files(encoder, names)


def test_what_is_not_hashed_is_not_loaded(folder: Path) -> None:
    used = set(recognise(folder).used_files(folder).values())
    before = recognise(folder).fingerprint(folder)
    for file in folder.rglob("*"):
        if file.is_file() and file not in used and file.name != "model_index.json":  # which says whose folder it is
            file.unlink()
    assert load_model(f"dir:{folder}").weights_sha256 == before
    for file in sorted(used):
        content = file.read_bytes()
        file.write_bytes(content + b" ")
        assert recognise(folder).fingerprint(folder) != before, file
        file.write_bytes(content)
    assert recognise(folder).fingerprint(folder) == before
