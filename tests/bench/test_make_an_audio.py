"""Make-An-Audio from the published file layout: every tensor arrives, and each part computes what its formulas say."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from diffusers import AutoencoderKL, UNet2DConditionModel
from latent_diffusion import (
    Autoencoder,
    Tensors,
    UNet,
    attend,
    close,
    layer,
    layer_norm,
    linear,
    norm,
    with_weight_norm,
)
from safetensors.torch import save_file
from scipy.signal import firwin, kaiser_atten, kaiser_beta, upfirdn
from torch import Tensor

from admbench.bench.cli.app import main
from admbench.bench.models import fingerprint, load_model, missing_weights
from admbench.bench.models.checkpoints import make_an_audio, shipped
from admbench.bench.models.checkpoints.compvis import unet_tensors
from admbench.bench.models.checkpoints.ldm_config import TEXT_PREFIX, UNetConfig, read_latent_diffusion
from admbench.bench.models.families.make_an_audio import MAKE_AN_AUDIO
from admbench.bench.models.networks.bigvgan import BigVGAN, BigVGANConfig
from admbench.bench.models.networks.clap_bert import ClapBertConfig, ClapBertTextModel
from admbench.bench.models.quantization import quantize_components
from admbench.errors import BenchError, CheckpointError, UsageError
from admbench.methods.core.checkpoint.reading import load as load_packed

from .test_components import assert_told

NAME = "make-an-audio"
SCALE = 0.83
WORDS, HIDDEN, LAYERS, HEADS, CONTEXT = 299, 32, 2, 4, 64
CAPTIONS = ["a dog barks", "rain falls"]
VAE = Autoencoder(channels=32, multiples=(1, 1, 2, 2), blocks=1, latents=4, attends=(False, False, True, True))
BACKBONE = UNet(latents=4, channels=32, multiples=(1, 2), blocks=2, heads=4, context=CONTEXT, attends=(True, True))
VOCODER = {
    "resblock": "1",
    "num_mels": 80,
    "upsample_rates": [4, 4, 2, 2, 2, 2],
    "upsample_kernel_sizes": [8, 8, 4, 4, 4, 4],
    "upsample_initial_channel": 128,
    "resblock_kernel_sizes": [3, 5],
    "resblock_dilation_sizes": [[1, 3], [1, 2]],
    "activation": "snakebeta",
    "snake_logscale": True,
    "seed": 1234,  # of training, like what else is passed over
}
CLAP = {"text_model": "bert-base-uncased", "text_len": 100, "transformer_embed_dim": HIDDEN, "d_proj": CONTEXT}
BERT = {
    "model_type": "bert",
    "vocab_size": WORDS,
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": 48,
    "max_position_embeddings": 80,
}
CONFIG = {
    "model": {
        "base_learning_rate": 1e-5,
        "target": "ldm.models.diffusion.ddpm_audio.LatentDiffusion_audio",
        "params": {
            "linear_start": 0.00085,
            "linear_end": 0.012,
            "timesteps": 1000,
            "mel_dim": 10,
            "mel_length": 78,
            "channels": 4,
            "conditioning_key": "crossattn",
            "scale_by_std": True,
            "use_ema": False,
            "unet_config": {
                "target": "ldm.modules.diffusionmodules.openaimodel.UNetModel",
                "params": {
                    "image_size": 32,
                    "in_channels": 4,
                    "out_channels": 4,
                    "model_channels": BACKBONE.channels,
                    "attention_resolutions": [1, 2],
                    "num_res_blocks": BACKBONE.blocks,
                    "channel_mult": list(BACKBONE.multiples),
                    "num_heads": BACKBONE.heads,
                    "use_spatial_transformer": True,
                    "transformer_depth": 1,
                    "context_dim": CONTEXT,
                    "use_checkpoint": True,
                    "legacy": False,
                },
            },
            "first_stage_config": {
                "target": "ldm.models.autoencoder.AutoencoderKL",
                "params": {
                    "embed_dim": VAE.latents,
                    "monitor": "val/rec_loss",
                    "ddconfig": {
                        "double_z": True,
                        "z_channels": VAE.latents,
                        "resolution": 624,
                        "in_channels": 1,
                        "out_ch": 1,
                        "ch": VAE.channels,
                        "ch_mult": list(VAE.multiples),
                        "num_res_blocks": VAE.blocks,
                        "attn_resolutions": [78, 156],
                        "dropout": 0.0,
                    },
                    "lossconfig": {"target": "torch.nn.Identity"},
                },
            },
        },
    }
}
BETAS = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64).square()
# what BigVGAN's filters are, by scipy: StyleGAN3's call for half the band, 6 taps a sample and a transition of 1.2
FILTER = torch.from_numpy(firwin(12, 0.5, window=("kaiser", kaiser_beta(kaiser_atten(6, 1.2))))).float()


def bert() -> Tensors:
    """All tensors of CLAP's text encoder, BERT with its pooler and the projection, as transformers 4 saved them."""
    at: Tensors = {"base.embeddings.position_ids": torch.arange(80)[None]}
    for table, rows in (("word", WORDS), ("position", 80), ("token_type", 2)):
        at[f"base.embeddings.{table}_embeddings.weight"] = torch.randn(rows, HIDDEN)
    norm(at, "base.embeddings.LayerNorm", HIDDEN)
    for number in range(LAYERS):
        name = f"base.encoder.layer.{number}"
        for part in ("query", "key", "value"):
            layer(at, f"{name}.attention.self.{part}", HIDDEN, HIDDEN)
        layer(at, f"{name}.attention.output.dense", HIDDEN, HIDDEN)
        norm(at, f"{name}.attention.output.LayerNorm", HIDDEN)
        layer(at, f"{name}.intermediate.dense", 48, HIDDEN)
        layer(at, f"{name}.output.dense", HIDDEN, 48)
        norm(at, f"{name}.output.LayerNorm", HIDDEN)
    layer(at, "base.pooler.dense", HIDDEN, HIDDEN)
    layer(at, "projection.linear1", CONTEXT, HIDDEN, bias=False)
    layer(at, "projection.linear2", CONTEXT, CONTEXT, bias=False)
    norm(at, "projection.layer_norm", CONTEXT)
    return at


def told(at: Tensors, ids: Tensor) -> Tensor:
    """What CLAP's text encoder (Devlin et al. 2019; Elizalde et al. 2022) makes of ids, padding like other tokens."""

    def normed(name: str, x: Tensor) -> Tensor:
        return layer_norm(at, name, x, eps=1e-12)

    words, places = (at[f"base.embeddings.{table}_embeddings.weight"] for table in ("word", "position"))
    kind = at["base.embeddings.token_type_embeddings.weight"][0]
    x = normed("base.embeddings.LayerNorm", words[ids] + places[: ids.shape[1]] + kind)
    for number in range(LAYERS):
        name = f"base.encoder.layer.{number}"
        query, key, value = (linear(at, f"{name}.attention.self.{part}", x) for part in ("query", "key", "value"))
        h = linear(at, f"{name}.attention.output.dense", attend(query, key, value, HEADS))
        x = normed(f"{name}.attention.output.LayerNorm", x + h)
        h = linear(at, f"{name}.output.dense", F.gelu(linear(at, f"{name}.intermediate.dense", x)))
        x = normed(f"{name}.output.LayerNorm", x + h)
    first = linear(at, "projection.linear1", x)
    return layer_norm(at, "projection.layer_norm", first + linear(at, "projection.linear2", F.gelu(first)))


def bigvgan(activation: str = "snakebeta", *, logscale: bool = True) -> Tensors:
    """All tensors of a BigVGAN generator, without weight normalisation, by the names of its authors' files."""
    at: Tensors = {}

    def activation_of(name: str, channels: int) -> None:
        start = 0.3 * torch.randn(channels)
        at[f"{name}.act.alpha"] = start if logscale else start.exp()
        if activation == "snakebeta":
            at[f"{name}.act.beta"] = 0.3 * torch.randn(channels) if logscale else (0.3 * torch.randn(channels)).exp()
        at[f"{name}.upsample.filter"] = FILTER[None, None].clone()
        at[f"{name}.downsample.lowpass.filter"] = FILTER[None, None].clone()

    width = VOCODER["upsample_initial_channel"]
    layer(at, "conv_pre", width, 80, 7)
    for level, kernel in enumerate(VOCODER["upsample_kernel_sizes"]):
        layer(at, f"ups.{level}.0", width, width // 2, kernel)
        width //= 2
        at[f"ups.{level}.0.bias"] = 0.1 * torch.randn(width)
        for branch, size in enumerate(VOCODER["resblock_kernel_sizes"]):
            for step in range(2):
                for half in ("convs1", "convs2"):
                    name = f"resblocks.{2 * level + branch}.{half}.{step}"
                    layer(at, name, width, width, size)
                    at[f"{name}.weight"] *= 0.5  # so that rounding does not grow from level to level
            for step in range(4):
                activation_of(f"resblocks.{2 * level + branch}.activations.{step}", width)
    activation_of("activation_post", width)
    layer(at, "conv_post", 1, width, 7)
    return at


def sound(at: Tensors, spectrograms: Tensor, *, logscale: bool = True) -> Tensor:
    """What BigVGAN (Lee et al. 2022, section 3) computes from log-mel spectrograms (n, frames, 80)."""

    def filtered(name: str, x: Tensor, dilation: int = 1) -> Tensor:
        weight = at[f"{name}.weight"]
        edge = dilation * (weight.shape[-1] - 1) // 2
        return F.conv1d(x, weight, at[f"{name}.bias"], padding=edge, dilation=dilation)

    def held(x: Tensor, before: int, after: int) -> np.ndarray:
        return np.pad(x.numpy(), ((0, 0), (0, 0), (before, after)), mode="edge")

    def active(name: str, x: Tensor) -> Tensor:
        alpha = at[f"{name}.act.alpha"]
        beta = at.get(f"{name}.act.beta", alpha)
        if logscale:
            alpha, beta = alpha.exp(), beta.exp()
        length = x.shape[-1]
        risen = upfirdn(2 * at[f"{name}.upsample.filter"][0, 0].numpy(), held(x, 5, 5), up=2)[..., 15 : 15 + 2 * length]
        risen = torch.from_numpy(np.ascontiguousarray(risen)).float()
        risen = risen + (alpha[:, None] * risen).sin() ** 2 / beta[:, None]
        low = upfirdn(at[f"{name}.downsample.lowpass.filter"][0, 0].numpy(), held(risen, 5, 6))
        return torch.from_numpy(np.ascontiguousarray(low[..., 11 : 11 + 2 * length : 2])).float()

    x = filtered("conv_pre", spectrograms.transpose(1, 2))
    for level, (rate, kernel) in enumerate(
        zip(VOCODER["upsample_rates"], VOCODER["upsample_kernel_sizes"], strict=True)
    ):
        up = f"ups.{level}.0"
        edge = (kernel - rate) // 2
        x = F.conv_transpose1d(x, at[f"{up}.weight"], at[f"{up}.bias"], stride=rate, padding=edge)
        branches = []
        for branch, dilations in enumerate(VOCODER["resblock_dilation_sizes"]):
            name, y = f"resblocks.{2 * level + branch}", x
            for step, dilation in enumerate(dilations):
                h = filtered(f"{name}.convs1.{step}", active(f"{name}.activations.{2 * step}", y), dilation)
                y = y + filtered(f"{name}.convs2.{step}", active(f"{name}.activations.{2 * step + 1}", h))
            branches.append(y)
        x = torch.stack(branches).mean(dim=0)
    return torch.tanh(filtered("conv_post", active("activation_post", x)))[:, 0]


def small_parts() -> dict[str, Tensors]:
    """Tensors of all networks."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(6)
        return {"unet": BACKBONE.tensors(), "vae": VAE.tensors(), "text": bert(), "vocoder": bigvgan()}


def state(parts: dict[str, Tensors]) -> Tensors:
    """The state of the authors' training class: parts, betas and what follows from them, the measured scale."""
    prefixes = {"unet": "model.diffusion_model.", "vae": "first_stage_model.", "text": TEXT_PREFIX}
    named = {f"{prefix}{name}": value for part, prefix in prefixes.items() for name, value in parts[part].items()}
    alphas = (1 - BETAS).cumprod(0)
    named |= {"betas": BETAS.float(), "alphas_cumprod": alphas.float(), "posterior_variance": alphas.float()}
    return named | {"scale_factor": torch.tensor(SCALE)}


def write_main(folder: Path, tensors: Tensors) -> None:
    """maa1_full.ckpt, with what pytorch-lightning puts beside the weights."""
    beside = {
        "epoch": 57,
        "pytorch-lightning_version": "1.7.0",
        "callbacks": {"ModelCheckpoint{'monitor': 'epoch'}": {"best_model_score": torch.tensor(57.0)}},
        "optimizer_states": [{"state": {0: {"step": 3, "exp_avg": torch.zeros(2)}}, "param_groups": []}],
    }
    torch.save(beside | {"state_dict": tensors}, folder / "maa1_full.ckpt")


def write_vocoder(folder: Path, tensors: Tensors, **changed: object) -> None:
    torch.save({"generator": tensors}, folder / "bigvgan" / "best_netG.pt")
    (folder / "bigvgan" / "args.yml").write_text(yaml.safe_dump(VOCODER | changed))


def write_published(folder: Path, parts: dict[str, Tensors]) -> None:
    """A folder of the authors' layout, small."""
    shutil.copytree(shipped.folder_of("tiny-make-an-audio") / "tokenizer", folder / "bert-base-uncased")
    (folder / "bert-base-uncased" / "config.json").write_text(json.dumps(BERT))
    for name in ("CLAP", "bigvgan"):
        (folder / name).mkdir()
    (folder / "CLAP" / "config.yml").write_text(yaml.safe_dump(CLAP))
    (folder / "txt2audio_args.yaml").write_text(yaml.safe_dump(CONFIG))
    write_main(folder, state(parts))
    write_vocoder(folder, with_weight_norm(parts["vocoder"]))


@pytest.fixture(scope="module")
def parts() -> dict[str, Tensors]:
    return small_parts()


@pytest.fixture(scope="module")
def published(parts, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("weights") / NAME
    write_published(folder, parts)
    return folder


@pytest.fixture
def weights(published: Path, monkeypatch, tmp_path) -> Path:
    monkeypatch.setenv("ADMBENCH_WEIGHTS", str(published.parent))
    monkeypatch.setenv("ADMBENCH_CACHE", str(tmp_path / "cache"))
    return published


@pytest.fixture
def copy(weights, tmp_path, monkeypatch) -> Path:
    """A copy to be changed."""
    shutil.copytree(weights, tmp_path / "weights" / NAME)
    monkeypatch.setenv("ADMBENCH_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path / "weights" / NAME


def set_params(folder: Path, **changed: object) -> None:
    params = CONFIG["model"]["params"] | changed
    (folder / "txt2audio_args.yaml").write_text(yaml.safe_dump({"model": CONFIG["model"] | {"params": params}}))


def noise_of(tensors: Tensors, seed: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, 4, 10, 8, generator=generator)
    return x, torch.tensor([991, 41]), torch.randn(2, 77, CONTEXT, generator=generator)


def test_the_backbone_computes_what_compvis_does(weights, parts):
    x, timesteps, context = noise_of(parts["unet"])
    made = load_model(NAME).backbone(x, timesteps, encoder_hidden_states=context).sample
    assert close(made, BACKBONE.predict(parts["unet"], x, timesteps, context))


def test_other_levels_and_places_of_attention_are_mapped_too():
    unet = UNet(
        latents=4, channels=32, multiples=(1, 2, 2), blocks=1, heads=2, context=16, attends=(False, True, False)
    )
    config = UNetConfig(
        in_channels=4,
        out_channels=4,
        model_channels=32,
        attention_resolutions=(2,),
        num_res_blocks=1,
        channel_mult=(1, 2, 2),
        num_heads=2,
        context_dim=16,
        use_spatial_transformer=True,
    )
    tensors = unet.tensors()
    built = UNet2DConditionModel(**make_an_audio.unet_arguments(config))
    built.load_state_dict(unet_tensors(tensors, 1))  # strict: neither more nor fewer
    x, timesteps, context = torch.randn(1, 4, 8, 12), torch.tensor([500]), torch.randn(1, 5, 16)
    with torch.no_grad():
        made = built(x, timesteps, encoder_hidden_states=context).sample
    assert close(made, unet.predict(tensors, x, timesteps, context))


def test_the_autoencoder_computes_what_compvis_does_with_attention_in_its_two_coarsest_levels(weights, parts):
    vae = load_model(NAME).components["vae"]
    latents, spectrograms = torch.randn(2, 4, 10, 6), torch.randn(2, 1, 80, 48)
    assert close(vae.decode(latents).sample, VAE.decode(parts["vae"], latents))
    assert close(vae.encode(spectrograms).latent_dist.parameters, VAE.encode(parts["vae"], spectrograms))


def test_captions_become_all_77_projected_states_and_no_mask(weights, parts):
    model = load_model(NAME)
    made = model._conditioner([*CAPTIONS, ""])
    assert made.keys() == {"encoder_hidden_states"}
    tokenizer = model._conditioner.tokenizer
    rows = [tokenizer(caption).input_ids for caption in [*CAPTIONS, ""]]
    ids = torch.tensor([row + [tokenizer.pad_token_id] * (77 - len(row)) for row in rows])
    assert close(made["encoder_hidden_states"], told(parts["text"], ids))


@pytest.mark.parametrize("normed", [False, True], ids=["plain", "weight norm"])
def test_the_vocoder_computes_what_bigvgan_does(copy, parts, normed):
    write_vocoder(copy, with_weight_norm(parts["vocoder"]) if normed else parts["vocoder"])
    spectrograms = torch.randn(2, 12, 80)
    made = load_model(NAME).components["vocoder"](spectrograms)
    assert made.shape == (2, 12 * 256)
    assert close(made, sound(parts["vocoder"], spectrograms))


def test_the_vocoder_is_quantized_packed_and_loaded_again(weights, tmp_path):
    name = f"dir:{weights}"
    model = load_model(name)
    assert_told(name, model)
    spec = "naive@w8a8[prompts=1,timesteps=1,steps=1]"
    quantized = quantize_components(model, spec, ["vocoder"], prompts=["rain"])["vocoder"].network
    assert "conv_pre" in {layer.name for layer in quantized.report.layers}
    quantized.pack(tmp_path / "packed", "vocoder")
    spectrograms = torch.randn(2, 20, VOCODER["num_mels"])
    with torch.inference_mode():
        heard, full = quantized.module(spectrograms), model.components["vocoder"](spectrograms)
        assert torch.equal(load_packed(tmp_path / "packed")(spectrograms), heard)
    assert not torch.equal(heard, full)
    assert (heard - full).norm() < 0.2 * full.norm()


@pytest.mark.parametrize(("activation", "logscale"), [("snake", True), ("snake", False), ("snakebeta", False)])
def test_the_vocoder_has_the_other_activations(activation, logscale):
    tensors = bigvgan(activation, logscale=logscale)
    config = BigVGANConfig.model_validate(VOCODER | {"activation": activation, "snake_logscale": logscale})
    vocoder = BigVGAN(config)
    vocoder.load_state_dict(tensors)
    spectrograms = torch.randn(1, 7, 80)
    with torch.no_grad():
        assert close(vocoder(spectrograms), sound(tensors, spectrograms, logscale=logscale))


def test_without_a_file_the_filters_of_the_vocoder_are_the_same():
    buffers = dict(BigVGAN(BigVGANConfig.model_validate(VOCODER)).named_buffers())
    assert len(buffers) == 2 * (12 * 4 + 1)
    assert all(torch.allclose(value[0, 0], FILTER, atol=1e-7) for value in buffers.values())


def test_latents_become_waveforms_through_the_scale_the_decoder_and_the_vocoder(weights, parts):
    model = load_model(NAME)
    model.set_seconds(1.024)
    latents = torch.randn(1, *model.card.latent_shape)
    spectrograms = VAE.decode(parts["vae"], latents / SCALE)[:, 0].transpose(1, 2)
    made = model.decode(latents)
    assert made.shape == (1, 8 * 8 * 256)
    assert close(torch.from_numpy(made), sound(parts["vocoder"], spectrograms))


def test_every_tensor_of_the_files_is_in_the_model(weights, parts):
    model = load_model(NAME)
    expected = {
        "backbone": parts["unet"],
        "vae": parts["vae"],
        "text_encoder": parts["text"],
        "vocoder": parts["vocoder"],
    }
    for component, tensors in expected.items():
        module = model.components[component]
        loaded = [*module.state_dict().values()]
        stored = [value for name, value in tensors.items() if not name.endswith("position_ids")]
        assert sum(value.numel() for value in loaded) == sum(value.numel() for value in stored), component
        # each as it is in the file, but for the order; weight normalisation was undone up to rounding
        marks = sorted(float(value.double().square().sum()) for value in loaded)
        assert marks == pytest.approx(sorted(float(value.double().square().sum()) for value in stored), rel=1e-5)
        assert {str(value.device) for value in [*loaded, *module.buffers()]} == {"cpu"}


def test_it_samples_as_published(weights):
    model = load_model(NAME)
    assert (model.default_steps, model.default_guidance) == (100, 3.0)
    assert (model.scheduler_name, model.license) == ("DDIMScheduler", "MIT")
    assert (model.card.latent_shape, model.seconds, model.sample_rate) == ((4, 10, 80), 10.24, 16_000)
    model._scheduler.set_timesteps(100)
    assert model._scheduler.timesteps.tolist() == list(range(991, 0, -10))
    assert torch.allclose(model._scheduler.alphas_cumprod.double(), (1 - BETAS).cumprod(0), rtol=1e-4)


def test_sampling_is_the_ddim_of_its_authors(weights, parts):
    """DDIM (Song et al. 2020, eq. 12 without noise) from a clip's own noise, both halves of guidance in formulas."""
    model = load_model(NAME)
    model.set_seconds(0.5)
    made = model.latents(CAPTIONS[:1], [4], steps=5, guidance=3.0, batch_size=1)
    x = torch.randn(1, 4, 10, 4, generator=torch.Generator().manual_seed(4))
    context = model._conditioner(["", CAPTIONS[0]])["encoder_hidden_states"]
    alphas = (1 - BETAS).cumprod(0).float()
    timesteps = list(range(1, 1000, 200))
    for t, before in reversed(list(zip(timesteps, [0, *timesteps], strict=False))):
        both = BACKBONE.predict(parts["unet"], torch.cat([x, x]), torch.tensor([t, t]), context)
        noise = both[:1] + 3 * (both[1:] - both[:1])
        clean = (x - (1 - alphas[t]).sqrt() * noise) / alphas[t].sqrt()
        x = alphas[before].sqrt() * clean + (1 - alphas[before]).sqrt() * noise
    assert close(made, x)


@pytest.mark.parametrize(
    ("seconds", "columns"), [(10, 80), (10.24, 80), (5, 40), (2, 16), (1, 8), (0.4, 4), (4.2, 32), (20, 156)]
)
def test_latents_are_as_wide_as_gen_wav_makes_them_and_clips_end_where_asked(weights, seconds, columns):
    model = load_model(NAME)
    model.set_seconds(seconds)
    assert (model.card.latent_shape, model.seconds) == ((4, 10, columns), seconds)
    if seconds < 5:
        audio = model.decode(torch.randn(1, 4, 10, columns))
        assert audio.shape == (1, round(seconds * 16_000))
        made = min(columns * 8 * 256, audio.shape[1])
        assert (audio[:, made:] == 0).all()  # of 4.2 s, the columns make 4.096
        assert np.abs(audio[:, made - 100 : made]).min() > 0


@pytest.mark.parametrize("seconds", [0.0, 0.1, -1.0, float("nan"), float("inf")])
def test_lengths_of_less_than_a_column_are_refused(weights, seconds):
    model = load_model(NAME)
    with pytest.raises(UsageError, match=r"generation\.seconds = "):
        model.set_seconds(seconds)
    assert model.seconds == 10.24


def test_running_averages_are_the_weights_if_the_configuration_says_so(copy, parts):
    averaged = {name: value + 0.01 for name, value in parts["unet"].items()}
    ema = {f"model_ema.diffusion_model{name.replace('.', '')}": value for name, value in averaged.items()}
    ema |= {"model_ema.decay": torch.tensor(0.9999), "model_ema.num_updates": torch.tensor(3)}
    write_main(copy, state(parts) | ema)
    x, timesteps, context = noise_of(parts["unet"])
    for use, tensors in ((False, parts["unet"]), (True, averaged)):
        set_params(copy, use_ema=use)
        made = load_model(NAME).backbone(x, timesteps, encoder_hidden_states=context).sample
        assert close(made, BACKBONE.predict(tensors, x, timesteps, context))
    del ema["model_ema.diffusion_modelout2bias"]
    write_main(copy, state(parts) | ema | {"model_ema.odd": torch.zeros(1)})
    with pytest.raises(CheckpointError, match=r"1 missing, 1 left over, such as diffusion_modelout2bias"):
        load_model(NAME)


def test_claps_own_file_is_taken_where_the_checkpoint_has_no_text_encoder(copy, parts):
    captions = load_model(NAME)._conditioner(CAPTIONS)["encoder_hidden_states"]
    before = set(MAKE_AN_AUDIO.used_files(copy))
    tensors = {name: value for name, value in state(parts).items() if not name.startswith(TEXT_PREFIX)}
    write_main(copy, tensors)
    assert "holds no cond_stage_model.caption_encoder.*" in missing_weights(NAME)
    assert "CLAP/CLAP_weights_2022.safetensors or CLAP/CLAP_weights_2022.pth" in missing_weights(NAME)
    clap = {f"caption_encoder.{name}": value for name, value in parts["text"].items()}
    clap |= {"audio_encoder.base.bn0.weight": torch.ones(64), "logit_scale": torch.tensor(2.6)}
    torch.save({"model": clap}, copy / "CLAP" / "CLAP_weights_2022.pth")
    assert torch.equal(load_model(NAME)._conditioner(CAPTIONS)["encoder_hidden_states"], captions)
    assert set(MAKE_AN_AUDIO.used_files(copy)) == before | {"CLAP/CLAP_weights_2022.pth"}
    torch.save({"model": clap | {"odd": torch.ones(1)}}, copy / "CLAP" / "CLAP_weights_2022.pth")
    with pytest.raises(CheckpointError, match=r"CLAP_weights_2022\.pth: tensors that belong to no part.*: odd"):
        load_model(NAME)


def test_a_text_encoder_in_the_checkpoint_comes_before_claps_file(copy, parts):
    before = fingerprint(NAME)
    (copy / "CLAP" / "CLAP_weights_2022.pth").write_bytes(b"never read")
    assert load_model(NAME).weights_sha256 == before


def test_safetensors_are_preferred_and_make_the_same_model(copy, parts):
    first = load_model(NAME)
    flat = {name: value.contiguous() for name, value in state(parts).items()}
    save_file(flat, copy / "maa1_full.safetensors")
    save_file(parts["vocoder"], copy / "bigvgan" / "best_netG.safetensors")
    for file in ("maa1_full.ckpt", "bigvgan/best_netG.pt"):  # the first model still has its own mapped
        (copy / file).unlink()
        (copy / file).write_bytes(b"damaged")
    second = load_model(NAME)
    assert {"maa1_full.safetensors", "bigvgan/best_netG.safetensors"} <= set(MAKE_AN_AUDIO.used_files(copy))
    for model in (first, second):
        model.set_seconds(0.5)
    options = {"steps": 2, "guidance": 3.0}
    made, again = (torch.from_numpy(model.generate(["rain"], [1], **options)) for model in (first, second))
    assert close(made, again)


def test_without_its_yaml_the_model_is_the_published_one(copy):
    (copy / "txt2audio_args.yaml").unlink()
    with pytest.raises(CheckpointError, match="U-Net: the configuration asks for more parameters than its files"):
        load_model(NAME)


def test_the_published_yaml_says_what_is_built_without_it(tmp_path):
    """The values of configs/text_to_audio/txt2audio_args.yaml, which the small one differs from in sizes alone."""
    params = json.loads(json.dumps(CONFIG["model"]["params"]))
    params["unet_config"]["params"] |= {"model_channels": 320, "num_heads": 8, "context_dim": 1024}
    params["first_stage_config"]["params"]["ddconfig"] |= {"ch": 128, "ch_mult": [1, 2, 2, 4], "num_res_blocks": 2}
    set_params(tmp_path, **params)
    read, ours = read_latent_diffusion(tmp_path / "txt2audio_args.yaml"), make_an_audio.CONFIG
    assert make_an_audio.unet_arguments(read.unet_config.params) == make_an_audio.unet_arguments(
        ours.unet_config.params
    )
    shapes = (config.first_stage_config.params.ddconfig for config in (read, ours))
    arguments, published = (make_an_audio.autoencoder_arguments(shape, 1.0) for shape in shapes)
    assert arguments == published
    parts = {"unet_config", "first_stage_config"}
    assert read.model_dump(exclude=parts) == ours.model_dump(exclude=parts)


@pytest.mark.parametrize(
    ("part", "name", "missing"),
    [
        ("unet", "output_blocks.2.2.conv.bias", r"up_blocks\.0\.upsamplers\.0\.conv\.bias"),
        ("unet", "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight", r"down_blocks\.0\.attentions\.0\."),
        ("vae", "decoder.up.3.attn.1.norm.bias", r"decoder\.up_blocks\.0\.attentions\.1\.group_norm\.bias"),
        ("text", "projection.layer_norm.bias", r"projection\.layer_norm\.bias"),
        ("vocoder", "resblocks.3.activations.2.act.beta", r"resblocks\.3\.activations\.2\.act\.beta"),
        ("vocoder", "activation_post.upsample.filter", r"activation_post\.upsample\.filter"),
    ],
)
def test_missing_and_left_over_tensors_are_both_named(copy, parts, part, name, missing):
    changed = dict(parts[part])
    changed["odd.weight"] = changed.pop(name)
    write_main(copy, state(parts | {part: changed}))
    write_vocoder(copy, (parts | {part: changed})["vocoder"])
    with pytest.raises(CheckpointError, match=rf"missing: {missing}.*; left over: odd\.weight") as caught:
        load_model(NAME)
    assert "\n" not in str(caught.value)


def test_tensors_of_no_part_are_named_and_those_of_training_passed_over(copy, parts):
    loss = {"first_stage_model.loss.logvar": torch.zeros(()), "logvar": torch.zeros(1000)}
    write_main(copy, state(parts) | loss)
    load_model(NAME)
    write_main(copy, state(parts) | {"odd.bias": torch.zeros(3)})
    with pytest.raises(CheckpointError, match=r"belong to no part of the model: odd\.bias"):
        load_model(NAME)


def without(tensors: Tensors, name: str) -> Tensors:
    return {key: value for key, value in tensors.items() if key != name}


def test_scale_and_betas_have_to_be_the_checkpoints(copy, parts):
    write_main(copy, without(state(parts), "scale_factor"))
    with pytest.raises(CheckpointError, match=r"no scale_factor.*scale_by_std"):
        load_model(NAME)
    set_params(copy, scale_by_std=False, scale_factor=0.5)
    assert load_model(NAME).components["vae"].config["scaling_factor"] == 0.5
    set_params(copy, linear_end=0.02)
    with pytest.raises(CheckpointError, match=r"betas are not those of the configuration"):
        load_model(NAME)


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("maa1_full.ckpt", r"no weights; expected maa1_full\.safetensors or maa1_full\.ckpt"),
        ("bigvgan/args.yml", r"bigvgan/args\.yml: missing; expected"),
        ("bigvgan/best_netG.pt", r"no weights; expected bigvgan/best_netG\.safetensors or bigvgan/best_netG\.pt"),
        ("CLAP/config.yml", r"CLAP/config\.yml: missing; expected"),
        ("bert-base-uncased/config.json", r"bert-base-uncased/config\.json: missing; expected the text encoder's"),
        ("bert-base-uncased/tokenizer.json", r"bert-base-uncased: no vocabulary of a tokenizer"),
    ],
)
def test_each_missing_file_is_one_line(copy, file, said):
    (copy / file).unlink()
    with pytest.raises(BenchError, match=said) as caught:
        load_model(NAME)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "file", ["maa1_full.ckpt", "bigvgan/args.yml", "bigvgan/best_netG.pt", "CLAP/config.yml", "txt2audio_args.yaml"]
)
@pytest.mark.parametrize("damage", ["cut", "empty", "noise"])
def test_each_damaged_file_is_one_line_that_names_it(copy, file, damage):
    content = (copy / file).read_bytes()
    noise = bytes(range(128, 256)) * 8
    (copy / file).write_bytes({"cut": content[: len(content) // 3], "empty": b"", "noise": noise}[damage])
    if (file, damage) == ("maa1_full.ckpt", "empty"):
        shutil.copy(copy / "bigvgan" / "best_netG.pt", copy / "CLAP" / "CLAP_weights_2022.pth")
    with pytest.raises(BenchError) as caught:
        load_model(NAME)
    assert "\n" not in str(caught.value)
    assert Path(file).stem in str(caught.value)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"beta_schedule": "cosine"}, r"beta_schedule: Input should be 'linear'"),
        ({"parameterization": "x0"}, r"parameterization: Input should be 'eps'"),
        ({"unet_config": {"target": "a.OtherModel", "params": {}}}, r"unet_config\.target: .*expected UNetModel"),
        ({"mel_dim": 8}, r"latents of 8 rows are spectrograms of 64 mel bands; expected the vocoder's 80"),
    ],
)
def test_another_architecture_is_refused_by_the_key_that_says_it(copy, changed, said):
    set_params(copy, **changed)
    with pytest.raises(CheckpointError, match=said) as caught:
        load_model(NAME)
    assert "\n" not in str(caught.value)


def test_an_unknown_argument_of_the_backbone_is_refused(copy):
    unet = CONFIG["model"]["params"]["unet_config"]
    set_params(copy, unet_config=unet | {"params": unet["params"] | {"n_embed": 512}})
    with pytest.raises(CheckpointError, match=r"unet_config\.params\.n_embed: Extra inputs are not permitted"):
        load_model(NAME)


class Runs:
    """Runs a command when it is unpickled, as a hostile checkpoint would."""

    def __reduce__(self):
        return (os.mkdir, ("ran",))


@pytest.mark.parametrize(
    ("file", "key", "remedy"),
    [
        ("maa1_full.ckpt", "state_dict", r"its tensors \(under state_dict\) as maa1_full\.safetensors beside it"),
        ("bigvgan/best_netG.pt", "generator", r"its tensors \(under generator\) as best_netG\.safetensors beside it"),
    ],
)
def test_a_pickle_that_runs_code_is_refused_with_the_way_out(copy, parts, monkeypatch, file, key, remedy):
    monkeypatch.chdir(copy)
    tensors = state(parts) if key == "state_dict" else parts["vocoder"]
    torch.save({"callbacks": {"older lightning": Runs()}, key: tensors}, copy / file)
    with pytest.raises(CheckpointError, match=remedy) as caught:
        load_model(NAME)
    assert "\n" not in str(caught.value)
    assert not (copy / "ran").exists()


def test_without_weights_one_line_says_where_they_are(monkeypatch, tmp_path):
    monkeypatch.setenv("ADMBENCH_WEIGHTS", str(tmp_path))
    with pytest.raises(
        CheckpointError, match=rf"there is no {tmp_path / NAME}; get it from the Google Drive"
    ) as caught:
        load_model(NAME)
    assert missing_weights(NAME) == str(caught.value)
    monkeypatch.delenv("ADMBENCH_WEIGHTS")
    assert "ADMBENCH_WEIGHTS is not set" in missing_weights(NAME)


def test_without_the_tokenizer_one_line_says_how_to_get_it(copy, monkeypatch, tmp_path):
    shutil.move(copy / "bert-base-uncased", copy.parent / "elsewhere")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "hf download google-bert/bert-base-uncased config.json tokenizer.json" in missing_weights(NAME)
    shutil.move(copy.parent / "elsewhere", copy.parent / "bert-base-uncased")
    assert missing_weights(NAME) is None


def test_any_folder_of_this_layout_generates(weights, tmp_path, capsys):
    command = ["generate", "--model", f"dir:{weights}", "--prompt", "rain", "--steps", "2", "--quiet"]
    assert main([*command, "--out", str(tmp_path / "a.wav")]) == 0
    said = capsys.readouterr()
    assert "a Make-An-Audio checkpoint" in said.err
    assert "10.24 s at 16000 Hz" in said.out
    model = load_model(f"dir:{weights}")
    assert (model.license, model.weights_sha256) == (None, fingerprint(NAME))


@pytest.mark.slow
def test_a_run_goes_through_every_stage(weights, run_on):
    record = run_on(f"dir:{weights}")
    assert record["model"]["source"] == "folder: a Make-An-Audio checkpoint (the authors' files)"
    assert record["method"]["components"] == ["backbone", "text_encoder", "vae", "vocoder"]


def test_weights_stay_mapped_to_their_file(weights):
    """No second copy: the pages of the file are the parameters, so that loading needs little beyond the file's size."""
    model = load_model(NAME)
    mapped = [line.split() for line in Path("/proc/self/maps").read_text().splitlines() if str(weights) in line]
    ranges = [tuple(int(end, 16) for end in fields[0].split("-")) for fields in mapped]
    kept = [model.components[part].parameters() for part in ("backbone", "text_encoder", "vae")]
    values = [value for parameters in kept for value in parameters]
    assert all(any(low <= value.data_ptr() < high for low, high in ranges) for value in values)


def millions(module: torch.nn.Module) -> float:
    return sum(value.numel() for value in module.parameters()) / 1e6


def test_published_sizes():
    with torch.device("meta"):
        unet = UNet2DConditionModel(**make_an_audio.unet_arguments(make_an_audio.CONFIG.unet_config.params))
        shape = make_an_audio.CONFIG.first_stage_config.params.ddconfig
        vae = AutoencoderKL(**make_an_audio.autoencoder_arguments(shape, 1.0))
        text = ClapBertTextModel(ClapBertConfig(pooler=True))
        vocoder = BigVGAN(make_an_audio.VOCODER)
    sizes = [millions(part) for part in (unet, vae.encoder, vae.decoder, text.base, text.projection, vocoder)]
    assert sizes == pytest.approx([160.22, 27.94, 41.04, 109.48, 1.84, 112.20], abs=0.01)
    assert sum(sizes) == pytest.approx(453, abs=0.5)  # what the literature gives for the whole


@pytest.mark.slow
def test_random_weights_need_no_files_and_are_marked(monkeypatch, tmp_path):
    monkeypatch.setenv("ADMBENCH_WEIGHTS", str(tmp_path))
    model = load_model(NAME, random_weights=True)
    assert model.random_weights
    assert model.parameters == pytest.approx(160.22e6, rel=1e-4)
    assert (model.card.latent_shape, model.seconds) == ((4, 10, 80), 10.24)
    model.set_seconds(0.5)
    audio = model.generate(["a dog barks"], [1], steps=1)
    assert audio.shape == (1, 8000)
    assert np.isfinite(audio).all()
