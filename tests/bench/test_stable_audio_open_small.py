"""Stable Audio Open Small from small random files: the clip is what the published formulas make of them."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from latent_diffusion import Tensors
from safetensors.torch import save_file
from torch import Tensor

from admbench.bench.models import load_model, registry
from admbench.bench.models.families import recognise
from admbench.bench.models.families.stable_audio_open_small import STABLE_AUDIO_OPEN_SMALL
from admbench.bench.models.networks.normed_stable_audio import NormedStableAudioDiTModel
from admbench.errors import CheckpointError, UsageError
from admbench.methods import from_spec
from admbench.methods.core.checkpoint import formats

from . import pipeline_directories

WIDTH, HEADS, DEPTH, CHANNELS, TEXT, FRAMES = 128, 2, 2, 4, 32, 8
STRIDES, MULTIPLES, BASE, RATE = (2, 4), (2, 4), 3, 64
TOKENS = 6
CODER = {"channels": BASE, "c_mults": list(MULTIPLES), "strides": list(STRIDES), "use_snake": True}
CONFIG: dict[str, Any] = {
    "model_type": "diffusion_cond",
    "sample_size": FRAMES * math.prod(STRIDES),
    "sample_rate": RATE,
    "audio_channels": 2,
    "model": {
        "pretransform": {
            "type": "autoencoder",
            "iterate_batch": True,
            "config": {
                "encoder": {"type": "oobleck", "config": CODER | {"in_channels": 2, "channels": 8, "latent_dim": 8}},
                "decoder": {
                    "type": "oobleck",
                    "config": CODER | {"out_channels": 2, "latent_dim": CHANNELS, "final_tanh": False},
                },
                "bottleneck": {"type": "vae"},
                "latent_dim": CHANNELS,
                "downsampling_ratio": math.prod(STRIDES),
                "io_channels": 2,
            },
        },
        "conditioning": {
            "configs": [
                {"id": "prompt", "type": "t5", "config": {"t5_model_name": "texts", "max_length": TOKENS}},
                {"id": "seconds_total", "type": "number", "config": {"min_val": 0, "max_val": 16}},
            ],
            "cond_dim": TEXT,
        },
        "diffusion": {
            "type": "dit",
            "diffusion_objective": "rf_denoiser",
            "cross_attention_cond_ids": ["prompt", "seconds_total"],
            "global_cond_ids": ["seconds_total"],
            "config": {
                "io_channels": CHANNELS,
                "embed_dim": WIDTH,
                "depth": DEPTH,
                "num_heads": HEADS,
                "cond_token_dim": TEXT,
                "global_cond_dim": TEXT,
                "transformer_type": "continuous_transformer",
                "attn_kwargs": {"qk_norm": "ln"},
            },
        },
        "io_channels": CHANNELS,
    },
    "training": {"learning_rate": 1e-5},
}


def transformer() -> Tensors:
    """All tensors of the transformer, by the names of stable-audio-tools."""
    at: Tensors = {"timestep_features.weight": torch.randn(128, 1)}

    def matrix(name: str, outputs: int, inputs: int, *, bias: bool = False) -> None:
        at[f"{name}.weight"] = torch.randn(outputs, inputs) / math.sqrt(inputs)
        if bias:
            at[f"{name}.bias"] = 0.1 * torch.randn(outputs)

    for name in ("preprocess_conv", "postprocess_conv"):
        at[f"{name}.weight"] = 0.1 * torch.randn(CHANNELS, CHANNELS, 1)
    for name, inputs in (("to_timestep_embed", 256), ("to_cond_embed", TEXT), ("to_global_embed", TEXT)):
        matrix(f"{name}.0", WIDTH, inputs, bias=name == "to_timestep_embed")
        matrix(f"{name}.2", WIDTH, WIDTH, bias=name == "to_timestep_embed")
    matrix("transformer.project_in", WIDTH, CHANNELS)
    matrix("transformer.project_out", CHANNELS, WIDTH)
    at["transformer.rotary_pos_emb.inv_freq"] = 10_000.0 ** (-torch.arange(0, 32, 2) / 32)
    for number in range(DEPTH):
        block = f"transformer.layers.{number}"
        for norm in ("pre_norm", "cross_attend_norm", "ff_norm"):
            at[f"{block}.{norm}.gamma"], at[f"{block}.{norm}.beta"] = torch.rand(WIDTH) + 0.5, torch.zeros(WIDTH)
        matrix(f"{block}.self_attn.to_qkv", 3 * WIDTH, WIDTH)
        matrix(f"{block}.cross_attn.to_q", WIDTH, WIDTH)
        matrix(f"{block}.cross_attn.to_kv", 2 * WIDTH, WIDTH)
        for attention in ("self_attn", "cross_attn"):
            matrix(f"{block}.{attention}.to_out", WIDTH, WIDTH)
            for norm in ("q_norm", "k_norm"):
                at[f"{block}.{attention}.{norm}.weight"] = torch.rand(WIDTH // HEADS) + 0.5
                at[f"{block}.{attention}.{norm}.bias"] = 0.2 * torch.randn(WIDTH // HEADS)
        matrix(f"{block}.ff.ff.0.proj", 8 * WIDTH, WIDTH, bias=True)
        matrix(f"{block}.ff.ff.2", WIDTH, 4 * WIDTH, bias=True)
    return at


def predicted(at: Tensors, x: Tensor, time: float, states: Tensor, length: Tensor) -> Tensor:
    """Velocities of x (1, channels, frames) by the formulas of stable-audio-tools for one clip."""

    def linear(name: str, value: Tensor) -> Tensor:
        return F.linear(value, at[f"{name}.weight"], at.get(f"{name}.bias"))

    def embed(name: str, value: Tensor) -> Tensor:
        return linear(f"{name}.2", F.silu(linear(f"{name}.0", value)))

    def norm(name: str, value: Tensor) -> Tensor:
        return F.layer_norm(value, value.shape[-1:], at[f"{name}.gamma"], at[f"{name}.beta"], 1e-5)

    def heads(value: Tensor) -> Tensor:
        return value.unflatten(-1, (HEADS, -1)).transpose(1, 2)

    def turned(value: Tensor) -> Tensor:
        """The first 32 channels of a head, halves against each other, by angles that grow with the position."""
        frequencies = 10_000.0 ** (-torch.arange(0, 32, 2) / 32)
        angles = torch.arange(value.shape[2])[:, None] * frequencies
        one, other, rest = value[..., :16], value[..., 16:32], value[..., 32:]
        cos, sin = angles.cos(), angles.sin()
        return torch.cat([one * cos - other * sin, other * cos + one * sin, rest], dim=-1)

    def attended(name: str, query: Tensor, key: Tensor, value: Tensor, *, rotary: bool) -> Tensor:
        q, k = (
            F.layer_norm(heads(side), (WIDTH // HEADS,), at[f"{name}.{part}.weight"], at[f"{name}.{part}.bias"], 1e-6)
            for side, part in ((query, "q_norm"), (key, "k_norm"))
        )
        if rotary:
            q, k = turned(q), turned(k)
        weights = (q @ k.mT / math.sqrt(WIDTH // HEADS)).softmax(-1)
        return linear(f"{name}.to_out", (weights @ heads(value)).transpose(1, 2).flatten(2))

    angles = 2 * math.pi * time * at["timestep_features.weight"].T
    told = embed("to_timestep_embed", torch.cat([angles.cos(), angles.sin()], dim=1))
    whole = embed("to_global_embed", length[:, 0]) + told
    context = embed("to_cond_embed", states)
    x = F.conv1d(x, at["preprocess_conv.weight"]) + x
    h = torch.cat([whole[:, None], linear("transformer.project_in", x.transpose(1, 2))], dim=1)
    for number in range(DEPTH):
        block = f"transformer.layers.{number}"
        q, k, v = linear(f"{block}.self_attn.to_qkv", norm(f"{block}.pre_norm", h)).chunk(3, dim=-1)
        h = h + attended(f"{block}.self_attn", q, k, v, rotary=True)
        q = linear(f"{block}.cross_attn.to_q", norm(f"{block}.cross_attend_norm", h))
        k, v = linear(f"{block}.cross_attn.to_kv", context).chunk(2, dim=-1)
        h = h + attended(f"{block}.cross_attn", q, k, v, rotary=False)
        up, gate = linear(f"{block}.ff.ff.0.proj", norm(f"{block}.ff_norm", h)).chunk(2, dim=-1)
        h = h + linear(f"{block}.ff.ff.2", up * F.silu(gate))
    x = linear("transformer.project_out", h)[:, 1:].transpose(1, 2)
    return F.conv1d(x, at["postprocess_conv.weight"]) + x


def autoencoder() -> Tensors:
    """All tensors of the autoencoder, by the names of stable-audio-tools, weights normalised."""
    at: Tensors = {}

    def filters(name: str, outputs: int, inputs: int, size: int, *, bias: bool = True, along: int = 0) -> None:
        shape = (outputs, inputs, size) if along == 0 else (inputs, outputs, size)
        at[f"{name}.weight_v"] = torch.randn(shape)
        at[f"{name}.weight_g"] = torch.rand(shape[0], 1, 1) + 0.5
        if bias:
            at[f"{name}.bias"] = 0.1 * torch.randn(outputs)

    def snake(name: str, channels: int) -> None:
        at[f"{name}.alpha"], at[f"{name}.beta"] = 0.3 * torch.randn(channels), 0.3 * torch.randn(channels)

    def unit(name: str, channels: int) -> None:
        snake(f"{name}.layers.0", channels)
        filters(f"{name}.layers.1", channels, channels, 7)
        snake(f"{name}.layers.2", channels)
        filters(f"{name}.layers.3", channels, channels, 1)

    levels = len(STRIDES)
    wide = [8 * multiple for multiple in (1, *MULTIPLES)]
    filters("encoder.layers.0", wide[0], 2, 7)
    for level, stride in enumerate(STRIDES):
        name = f"encoder.layers.{level + 1}"
        for number in range(3):
            unit(f"{name}.layers.{number}", wide[level])
        snake(f"{name}.layers.3", wide[level])
        filters(f"{name}.layers.4", wide[level + 1], wide[level], 2 * stride)
    snake(f"encoder.layers.{levels + 1}", wide[-1])
    filters(f"encoder.layers.{levels + 2}", 8, wide[-1], 3)
    wide = [BASE * multiple for multiple in (1, *MULTIPLES)][::-1]
    filters("decoder.layers.0", wide[0], CHANNELS, 7)
    for level, stride in enumerate(STRIDES[::-1]):
        name = f"decoder.layers.{level + 1}"
        snake(f"{name}.layers.0", wide[level])
        filters(f"{name}.layers.1", wide[level + 1], wide[level], 2 * stride, along=1)
        for number in range(3):
            unit(f"{name}.layers.{number + 2}", wide[level + 1])
    snake(f"decoder.layers.{levels + 1}", wide[-1])
    filters(f"decoder.layers.{levels + 2}", 2, wide[-1], 7, bias=False)
    return at


def sound(at: Tensors, latents: Tensor) -> Tensor:
    """What Oobleck's decoder makes of latents (1, channels, frames)."""

    def filters(name: str) -> Tensor:
        value = at[f"{name}.weight_v"]
        return at[f"{name}.weight_g"] * value / value.flatten(1).norm(dim=1)[:, None, None]

    def active(name: str, x: Tensor) -> Tensor:
        alpha, beta = at[f"{name}.alpha"].exp()[:, None], at[f"{name}.beta"].exp()[:, None]
        return x + (alpha * x).sin() ** 2 / (beta + 1e-9)

    def filtered(name: str, x: Tensor, dilation: int = 1) -> Tensor:
        weight = filters(name)
        edge = dilation * (weight.shape[-1] - 1) // 2
        return F.conv1d(x, weight, at.get(f"{name}.bias"), padding=edge, dilation=dilation)

    x = filtered("decoder.layers.0", latents)
    for level, stride in enumerate(STRIDES[::-1]):
        name = f"decoder.layers.{level + 1}.layers"
        x = F.conv_transpose1d(
            active(f"{name}.0", x),
            filters(f"{name}.1"),
            at[f"{name}.1.bias"],
            stride=stride,
            padding=math.ceil(stride / 2),
        )
        for number, dilation in enumerate((1, 3, 9)):
            unit = f"{name}.{number + 2}.layers"
            h = filtered(f"{unit}.1", active(f"{unit}.0", x), dilation)
            x = x + filtered(f"{unit}.3", active(f"{unit}.2", h))
    return filtered(f"decoder.layers.{len(STRIDES) + 2}", active(f"decoder.layers.{len(STRIDES) + 1}", x))


def small_parts() -> dict[str, Any]:
    """Tensors of what the checkpoint holds, and the text encoder."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        length = {"0.weights": torch.randn(128), "1.weight": 0.1 * torch.randn(TEXT, 257), "1.bias": torch.randn(TEXT)}
        return {
            "model.model.": transformer(),
            "pretransform.model.": autoencoder(),
            "conditioner.conditioners.seconds_total.embedder.embedding.": length,
            "texts": pipeline_directories.t5().eval(),
        }


def write_published(folder: Path, parts: dict[str, Any]) -> None:
    """A folder of Stability AI's layout, small."""
    parts["texts"].save_pretrained(folder / "texts")
    pipeline_directories.t5_tokenizer().save_pretrained(folder / "texts")
    (folder / "model_config.json").write_text(json.dumps(CONFIG))
    named = {
        prefix + name: value for prefix, part in parts.items() if prefix != "texts" for name, value in part.items()
    }
    save_file(named, folder / "model.safetensors")


@pytest.fixture
def parts() -> dict[str, Any]:
    return small_parts()


@pytest.fixture
def folder(parts: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ADMBENCH_CACHE", str(tmp_path / "cache"))
    write_published(tmp_path / "small", parts)
    return tmp_path / "small"


@torch.no_grad()
def as_published(parts: dict[str, Any], caption: str, seed: int, seconds: float, steps: int, guidance: float) -> Tensor:
    """Latents (1, channels, frames) of one clip: ping-pong sampling, written out."""
    words = pipeline_directories.t5_tokenizer()(
        [caption], padding="max_length", max_length=TOKENS, truncation=True, return_tensors="pt"
    )
    states = parts["texts"](words.input_ids, attention_mask=words.attention_mask)[0] * words.attention_mask[..., None]
    number = parts["conditioner.conditioners.seconds_total.embedder.embedding."]
    angles = 2 * math.pi * seconds / 16 * number["0.weights"]
    features = torch.cat([torch.tensor([seconds / 16]), angles.sin(), angles.cos()])
    length = F.linear(features, number["1.weight"], number["1.bias"])[None, None]
    states = torch.cat([states, length], dim=1)
    levels = torch.sigmoid(-torch.linspace(-6, 2, steps + 1))
    levels[0], levels[-1] = 1, 0
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(1, CHANNELS, FRAMES, generator=generator)
    for level, following in itertools.pairwise(levels):
        velocity = predicted(parts["model.model."], x, float(level), states, length)
        if guidance != 1:
            without = predicted(parts["model.model."], x, float(level), torch.zeros_like(states), length)
            velocity = without + guidance * (velocity - without)
        clean = x - level * velocity
        x = (1 - following) * clean + following * torch.randn(1, CHANNELS, FRAMES, generator=generator)
    return x


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_a_clip_is_what_the_published_formulas_make_of_the_same_files_in_any_company(guidance, folder, parts):
    model = load_model(f"dir:{folder}")
    assert recognise(folder) is STABLE_AUDIO_OPEN_SMALL
    assert (model.seconds, model.sample_rate, model.card.latent_shape) == (1.0, RATE, (CHANNELS, FRAMES))
    assert (model.default_steps, model.default_guidance) == (8, 1.0)
    model.set_seconds(0.7)
    options = {"steps": 3, "guidance": guidance, "batch_size": 2}
    found = model.latents(["a loud dog barks", "rain"], [1, 5], **options)[1:]
    expected = as_published(parts, "rain", 5, 0.7, 3, guidance)
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    clip = model.generate(["rain"], [5], **options)
    exact = sound(parts["pretransform.model."], expected)[..., : int(0.7 * RATE)]
    assert clip.shape == exact.shape == (1, 2, 44)
    assert abs(torch.from_numpy(clip) - exact).max() < 1e-3 * abs(exact).max()
    with pytest.raises(UsageError, match=r"generation\.seconds = 1\.1; expected more than 0 and at most 1"):
        model.set_seconds(1.1)


def test_its_layers_are_quantized_and_a_packed_checkpoint_computes_the_same(folder, tmp_path):
    model = load_model(f"dir:{folder}")
    method = from_spec("naive@w8a8[prompts=2,timesteps=2,steps=2]")
    made = method.quantize(model, method.calibrate(model, ["rain", "a dog barks"], seed=0))
    assert made.report.quantized_fraction > 0.9
    made.pack(tmp_path / "packed")
    loaded = formats.load(tmp_path / "packed")
    inputs = next(iter(model.trajectories(["rain"], seeds=[1], steps=2, guidance=1.0, batch_size=1))).inputs
    model.backbone = made.module
    expected = model.call_backbone(inputs)
    model.backbone = loaded
    assert torch.equal(model.call_backbone(inputs), expected)


def test_other_files_are_one_line(folder):
    def refused(message: str, **changes: Any) -> None:
        config = json.loads(json.dumps(CONFIG))
        config["model"]["diffusion"]["config"] |= changes
        (folder / "model_config.json").write_text(json.dumps(config))
        with pytest.raises(CheckpointError, match=message):
            load_model(f"dir:{folder}")

    refused(
        r"model_config\.json: model\.diffusion\.config\.attn_kwargs\.qk_norm: .*'ln'", attn_kwargs={"qk_norm": "l2"}
    )
    refused(r"model_config\.json: model\.diffusion\.config\.num_memory_tokens: .*not permitted", num_memory_tokens=4)
    refused(r"model\.safetensors: model.*(missing|bounds|larger)", depth=3)
    refused(r"widths of conditioning and latents differ", cond_token_dim=16)


def test_the_published_size():
    assert registry.get("stable-audio-open-small").family is STABLE_AUDIO_OPEN_SMALL
    with torch.device("meta"):
        network = NormedStableAudioDiTModel()
    assert sum(parameter.numel() for parameter in network.parameters()) / 1e6 == pytest.approx(341, abs=1)
