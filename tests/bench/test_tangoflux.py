"""TangoFlux from small random files of the published names: what comes out is what the authors' loop makes of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderOobleck, FlowMatchEulerDiscreteScheduler, FluxTransformer2DModel
from safetensors.torch import save_file
from torch import Tensor

from admbench.bench.models import load_model, registry
from admbench.bench.models.families import recognise
from admbench.bench.models.families.tangoflux import TANGOFLUX
from admbench.bench.models.pipelines import tangoflux
from admbench.errors import CheckpointError, UsageError
from admbench.methods import from_spec

from . import pipeline_directories

CONFIG = {
    "num_layers": 1,
    "num_single_layers": 1,
    "in_channels": 4,
    "attention_head_dim": 16,
    "joint_attention_dim": 32,
    "num_attention_heads": 2,
    "audio_seq_len": 12,
    "max_duration": 2,
    "text_encoder_name": "texts",
}
VAE = {
    "encoder_hidden_size": 6,
    "downsampling_ratios": [2, 4],
    "channel_multiples": [2, 4],
    "decoder_channels": 3,
    "decoder_input_channels": 4,
    "audio_channels": 2,
    "sampling_rate": 64,
}
WIDTH = 32
"""Of the text encoder."""


def small_parts() -> dict[str, Any]:
    """Networks, and the tensors of both projections."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        made = {
            "transformer": FluxTransformer2DModel(
                in_channels=4,
                num_layers=1,
                num_single_layers=1,
                attention_head_dim=16,
                num_attention_heads=2,
                joint_attention_dim=32,
                pooled_projection_dim=WIDTH,
                axes_dims_rope=(4, 6, 6),
            ),
            "text_encoder": pipeline_directories.t5(),
            "vae": AutoencoderOobleck(**VAE),
            "duration": {
                "0.weights": torch.randn(128),
                "1.weight": torch.randn(WIDTH, 257) * 0.1,
                "1.bias": torch.randn(WIDTH),
            },
            "fc": {"0.weight": torch.randn(32, WIDTH) * 0.2, "0.bias": torch.randn(32) * 0.1},
        }
        return {name: part.eval() if isinstance(part, torch.nn.Module) else part for name, part in made.items()}


def write_published(place: Path, parts: dict[str, Any]) -> None:
    """A folder of declare-lab's layout; its autoencoder is of the sizes of `VAE`."""
    (place / "texts").mkdir(parents=True)
    parts["text_encoder"].config.save_pretrained(place / "texts")
    pipeline_directories.t5_tokenizer().save_pretrained(place / "texts")
    (place / "config.json").write_text(json.dumps(CONFIG))
    tensors = {f"transformer.{name}": value for name, value in parts["transformer"].state_dict().items()}
    text = parts["text_encoder"].state_dict()
    tensors |= {f"text_encoder.{name}": value for name, value in text.items() if "embed_tokens" not in name}
    tensors |= {
        f"duration_emebdder.time_positional_embedding.{name}": value for name, value in parts["duration"].items()
    }
    tensors |= {f"fc.{name}": value for name, value in parts["fc"].items()}
    save_file({name: value.contiguous() for name, value in tensors.items()}, place / "tangoflux.safetensors")
    save_file(parts["vae"].state_dict(), place / "vae.safetensors")


@pytest.fixture
def parts() -> dict[str, Any]:
    return small_parts()


@pytest.fixture
def folder(parts: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tangoflux, "VAE", VAE)
    monkeypatch.setenv("ADMBENCH_CACHE", str(tmp_path / "cache"))
    place = tmp_path / "tangoflux"
    write_published(place, parts)
    return place


@torch.no_grad()
def as_the_authors(
    parts: dict[str, Any], caption: str, noise: Tensor, seconds: float, steps: int, scale: float
) -> Tensor:
    """Latents (1, frames, channels) by the formulas of tangoflux/model.py for one caption, without any mask."""
    tokenizer = pipeline_directories.t5_tokenizer()
    words = tokenizer([caption], return_tensors="pt")
    empty = tokenizer([""], padding="max_length", max_length=words.input_ids.shape[1], return_tensors="pt")
    states, pooled = [], []
    for told in (empty, words):
        encoded = parts["text_encoder"](told.input_ids, attention_mask=told.attention_mask)[0]
        states.append(encoded)
        mean = encoded[:, told.attention_mask[0].bool()].mean(1)
        pooled.append(torch.relu(mean @ parts["fc"]["0.weight"].T + parts["fc"]["0.bias"]))
    time = torch.tensor([seconds / CONFIG["max_duration"]])
    angles = time[:, None] * parts["duration"]["0.weights"] * 2 * torch.pi
    features = torch.cat([time[:, None], angles.sin(), angles.cos()], dim=1)
    length = features @ parts["duration"]["1.weight"].T + parts["duration"]["1.bias"]
    context = torch.cat([torch.cat(states), length[None].expand(2, 1, -1)], dim=1)
    scheduler = FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000)
    scheduler.set_timesteps(sigmas=[1 - step / steps for step in range(steps)])
    x = noise
    for t in scheduler.timesteps:
        both = parts["transformer"](
            hidden_states=torch.cat([x, x]),
            timestep=t[None] / 1000,
            pooled_projections=torch.cat(pooled),
            encoder_hidden_states=context,
            txt_ids=torch.zeros(context.shape[1], 3),
            img_ids=torch.arange(x.shape[1])[:, None].repeat(1, 3),
            return_dict=False,
        )[0]
        without, with_caption = both.chunk(2)
        x = scheduler.step(without + scale * (with_caption - without), t, x, return_dict=False)[0]
    return x


def test_a_clip_is_what_the_authors_loop_makes_of_the_same_files_in_any_company(folder, parts):
    model = load_model(f"dir:{folder}")
    assert recognise(folder) is TANGOFLUX
    assert (model.seconds, model.sample_rate, model.card.latent_shape) == (1.5, 64, (12, 4))  # 12 frames of 8 samples
    model.set_seconds(0.7)
    noise = torch.randn(1, 12, 4, generator=torch.Generator().manual_seed(5))
    expected = as_the_authors(parts, "rain", noise, 0.7, 3, 4.5)
    options = {"steps": 3, "guidance": 4.5, "batch_size": 2}
    found = model.latents(["a loud dog barks", "rain"], [1, 5], **options)[1:]
    assert torch.allclose(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))
    clip = model.generate(["rain"], [5], **options)
    sound = parts["vae"].decode(expected.transpose(1, 2)).sample[..., : int(0.7 * 64)]
    assert clip.shape == sound.shape == (1, 2, 44)
    assert abs(torch.from_numpy(clip) - sound).max() < 1e-3 * abs(sound).max()
    with pytest.raises(UsageError, match=r"generation\.seconds = 1\.6; expected more than 0 and at most 1\.5"):
        model.set_seconds(1.6)


def test_its_layers_are_quantized_and_other_files_are_one_line(folder):
    model = load_model(f"dir:{folder}")
    made = from_spec("naive@w8a8[prompts=2,timesteps=2,steps=2]")
    calibration = made.calibrate(model, ["rain", "a dog barks"], seed=0)
    assert made.quantize(model, calibration).report.quantized_fraction > 0.5
    (folder / "config.json").write_text(json.dumps(CONFIG | {"num_layers": "many"}))
    with pytest.raises(CheckpointError, match=r"config\.json: num_layers is many; expected a whole number, such as 6"):
        load_model(f"dir:{folder}")
    (folder / "config.json").write_text(json.dumps(CONFIG | {"num_layers": 2}))
    with pytest.raises(CheckpointError, match=r"tangoflux\.safetensors: transformer.*(missing|bounds|larger)"):
        load_model(f"dir:{folder}")


def test_the_published_size():
    assert registry.get("tangoflux").family is TANGOFLUX
    with torch.device("meta"):
        network = tangoflux._transformer(tangoflux.CONFIG, 1024)
    assert sum(parameter.numel() for parameter in network.parameters()) / 1e6 == pytest.approx(516.70, abs=0.01)
