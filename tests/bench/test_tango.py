"""TANGO from the published file layout: every tensor arrives, and each part computes what its formulas say."""

from __future__ import annotations

import json
import math
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from latent_diffusion import Autoencoder, Tensors, close, layer, with_weight_norm
from torch import Tensor
from transformers import T5Config, T5EncoderModel

from admbench.bench.models import fingerprint, load_model, missing_weights
from admbench.bench.models.checkpoints import shipped
from admbench.bench.models.checkpoints.compvis import fold_weight_norm
from admbench.bench.models.families.tango import TANGO, check_scheduler
from admbench.bench.models.networks.published_sizes import FLAN_T5_LARGE
from admbench.bench.models.pipelines import tango
from admbench.errors import CheckpointError

from .test_components import assert_told

NAME = "tango2"
UNET = {
    "in_channels": 8,
    "out_channels": 8,
    "layers_per_block": 1,
    "block_out_channels": [32, 64],
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
    "attention_head_dim": [2, 4],
    "cross_attention_dim": 32,
    "use_linear_projection": True,
    "upcast_attention": True,
}
VAE = Autoencoder(channels=32, multiples=(1, 2, 4), blocks=2, latents=8, attends=(False,) * 3)
KERNELS = [(5, 16), (4, 16), (2, 8), (2, 4), (2, 4)]  # strides and widths of HiFi-GAN's upsampling
WIDTH = 64  # of HiFi-GAN's first layer


def hifigan(width: int = WIDTH) -> Tensors:
    """All tensors of a HiFi-GAN generator of AudioLDM's strides, without weight normalisation."""
    at: Tensors = {}
    layer(at, "conv_pre", width, 64, 7)
    for number, (_, kernel) in enumerate(KERNELS):
        inputs, outputs = width >> number, width >> (number + 1)
        at[f"ups.{number}.weight"] = torch.randn(inputs, outputs, kernel) / math.sqrt(inputs)
        at[f"ups.{number}.bias"] = 0.1 * torch.randn(outputs)
        for branch, size in enumerate((3, 7, 11)):
            for step in range(3):
                for half in ("convs1", "convs2"):
                    layer(at, f"resblocks.{3 * number + branch}.{half}.{step}", outputs, outputs, size)
    layer(at, "conv_post", 1, width >> len(KERNELS), 7)
    return at


def small_parts() -> dict[str, Any]:
    """Tensors of all networks, and the text encoder's configuration."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        vae, vocoder = VAE.tensors(), hifigan()
        unet = UNet2DConditionModel.from_config(UNET).state_dict()
        words = json.loads((shipped.folder_of("tiny-tango") / "text_encoder" / "config.json").read_text())["vocab_size"]
        config = T5Config(
            vocab_size=words, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, feed_forward_proj="gated-gelu"
        )
        encoder = T5EncoderModel(config)
    return {"vae": vae, "vocoder": vocoder, "unet": unet, "text": encoder.state_dict(), "config": config.to_dict()}


def write_published(folder: Path, parts: dict[str, Any]) -> None:
    """A folder of declare-lab's layout, small."""
    shutil.copytree(shipped.folder_of("tiny-tango") / "tokenizer", folder / "google" / "flan-t5-large")
    texts = {
        "google/flan-t5-large/config.json": parts["config"],
        "configs/diffusion_model_config.json": UNET,
        "main_config.json": {
            "text_encoder_name": "google/flan-t5-large",
            "scheduler_name": "stabilityai/stable-diffusion-2-1",
            "unet_model_config_path": "configs/diffusion_model_config.json",
            "snr_gamma": 5.0,
        },
        "vae_config.json": {
            "image_key": "fbank",
            "subband": 1,
            "embed_dim": VAE.latents,
            "time_shuffle": 1,
            "ddconfig": {
                "double_z": True,
                "z_channels": VAE.latents,
                "resolution": 256,
                "downsample_time": False,
                "in_channels": 1,
                "out_ch": 1,
                "ch": VAE.channels,
                "ch_mult": list(VAE.multiples),
                "num_res_blocks": VAE.blocks,
                "attn_resolutions": [],
                "dropout": 0.0,
            },
            "scale_factor": 0.9227914214134216,
        },
        "stft_config.json": {"filter_length": 1024, "hop_length": 160, "n_mel_channels": 64, "sampling_rate": 16000},
    }
    for name, content in texts.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    write(folder, parts)


@pytest.fixture(scope="module")
def parts() -> dict[str, Any]:
    return small_parts()


@pytest.fixture(scope="module")
def published(parts, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("weights") / NAME
    write_published(folder, parts)
    return folder


def write(folder: Path, parts: dict[str, Tensors]) -> None:
    main = {f"unet.{name}": tensor for name, tensor in parts["unet"].items()}
    main |= {f"text_encoder.{name}": tensor for name, tensor in parts["text"].items()}
    torch.save(main, folder / "pytorch_model_main.bin")
    vae = parts["vae"] | {f"vocoder.{name}": tensor for name, tensor in parts["vocoder"].items()}
    torch.save(vae, folder / "pytorch_model_vae.bin")


@pytest.fixture
def weights(published: Path, monkeypatch, tmp_path) -> Path:
    monkeypatch.setenv("ADMBENCH_WEIGHTS", str(published.parent))
    monkeypatch.setenv("ADMBENCH_CACHE", str(tmp_path / "cache"))
    return published


@pytest.fixture
def copy(weights, tmp_path, monkeypatch) -> Path:
    """A copy to be damaged."""
    shutil.copytree(weights, tmp_path / "weights" / NAME)
    monkeypatch.setenv("ADMBENCH_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path / "weights" / NAME


def sound(at: Tensors, pictures: Tensor) -> Tensor:
    """What HiFi-GAN (Kong et al. 2020) computes from log-mel pictures (n, frames, 64)."""

    def filtered(name: str, x: Tensor, dilation: int = 1) -> Tensor:
        weight = at[f"{name}.weight"]
        edge = dilation * (weight.shape[-1] - 1) // 2
        return F.conv1d(x, weight, at[f"{name}.bias"], padding=edge, dilation=dilation)

    x = filtered("conv_pre", pictures.transpose(1, 2))
    for number, (stride, kernel) in enumerate(KERNELS):
        name = f"ups.{number}"
        edge = (kernel - stride) // 2
        x = F.conv_transpose1d(
            F.leaky_relu(x, 0.1), at[f"{name}.weight"], at[f"{name}.bias"], stride=stride, padding=edge
        )
        branches = []
        for branch in range(3 * number, 3 * number + 3):
            y = x
            for step, dilation in enumerate((1, 3, 5)):
                h = filtered(f"resblocks.{branch}.convs1.{step}", F.leaky_relu(y, 0.1), dilation)
                y = y + filtered(f"resblocks.{branch}.convs2.{step}", F.leaky_relu(h, 0.1))
            branches.append(y)
        x = torch.stack(branches).mean(dim=0)
    return torch.tanh(filtered("conv_post", F.leaky_relu(x, 0.01)))[:, 0]


def test_the_autoencoder_computes_what_compvis_does(weights, parts):
    vae = load_model(NAME).components["vae"]
    latents, pictures = torch.randn(2, VAE.latents, 6, 4), torch.randn(2, 1, 24, 16)
    assert close(vae.decode(latents).sample, VAE.decode(parts["vae"], latents))
    assert close(vae.encode(pictures).latent_dist.parameters, VAE.encode(parts["vae"], pictures))


@pytest.mark.parametrize("normed", [False, True], ids=["plain", "weight norm"])
def test_the_vocoder_computes_what_hifigan_does(copy, parts, normed):
    stored = with_weight_norm(parts["vocoder"]) if normed else parts["vocoder"]
    write(copy, parts | {"vocoder": stored})
    pictures = torch.randn(2, 12, 64)
    assert close(load_model(NAME).components["vocoder"](pictures), sound(parts["vocoder"], pictures))


def test_weight_norm_is_one_length_for_each_first_index():
    direction = torch.tensor([[[3.0, 4.0]], [[0.0, 2.0]]])
    folded = fold_weight_norm(torch.tensor([[[10.0]], [[1.0]]]), direction)
    assert torch.equal(folded, torch.tensor([[[6.0, 8.0]], [[0.0, 1.0]]]))


def test_latents_become_waveforms_through_the_scale_the_decoder_and_the_vocoder(weights, parts):
    model = load_model(NAME)
    latents = torch.randn(1, 8, 4, 16)
    expected = sound(parts["vocoder"], VAE.decode(parts["vae"], latents / 0.9227914214134216)[:, 0])
    assert close(torch.from_numpy(model.decode(latents)), expected[:, : 16 * 160])


def test_what_can_be_quantized_is_known_without_loading(weights):
    assert_told(NAME, load_model(NAME))


def test_backbone_and_text_encoder_are_those_of_the_file(weights, parts):
    model = load_model(NAME)
    stored = {"backbone": parts["unet"], "text_encoder": parts["text"]}
    for component, tensors in stored.items():
        loaded = model.components[component].state_dict()
        assert loaded.keys() == tensors.keys()
        assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())
    assert {str(value.device) for part in model.components.values() for value in part.state_dict().values()} == {"cpu"}


def test_it_samples_as_published(weights):
    model = load_model(NAME)
    assert (model.default_steps, model.default_guidance, model.seconds) == (200, 3.0, 10.24)
    assert model.card.latent_shape == (8, 256, 16)
    assert model.scheduler_name == "DDPMScheduler"
    scheduler = model._scheduler
    assert scheduler.config.prediction_type == "v_prediction"
    roots = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64)
    assert torch.allclose(scheduler.alphas_cumprod.double(), (1 - roots.square()).cumprod(0), rtol=1e-4)


def test_a_clip_depends_on_its_own_seed_alone_though_sampling_draws_noise(weights):
    model = load_model(NAME)
    options = {"steps": 3, "guidance": 3.0}
    both = model.latents(["rain", "a dog barks"], [3, 4], batch_size=2, **options)
    alone = model.latents(["a dog barks"], [4], batch_size=1, **options)
    assert torch.allclose(both[1:], alone, atol=1e-3)
    assert torch.equal(alone, model.latents(["a dog barks"], [4], batch_size=1, **options))
    # as the published code samples, with DDPM over the scheduler's constants, but noise from the clip's seed
    from diffusers import DDPMScheduler

    generator = torch.Generator().manual_seed(4)
    told = model._conditioner(["", "a dog barks"])
    scheduler = DDPMScheduler(**tango.SCHEDULER)
    scheduler.set_timesteps(3)
    x = torch.randn(1, 8, 256, 16, generator=generator)
    for t in scheduler.timesteps:
        with torch.no_grad():
            nothing, told_all = model.backbone(torch.cat([x, x]), t, **told).sample.chunk(2)
        x = scheduler.step(nothing + 3 * (told_all - nothing), t, x, generator=generator).prev_sample
    assert close(alone, x)


def test_padding_of_the_caption_is_masked(weights):
    model = load_model(NAME)
    call = next(model.trajectories(["a dog barks"], seeds=[1], steps=1, guidance=1.0, batch_size=1))
    padding = ~call.inputs["encoder_attention_mask"]
    assert padding.any()
    states = torch.where(padding[..., None], 3.0, call.inputs["encoder_hidden_states"])
    assert close(model.call_backbone(call.inputs | {"encoder_hidden_states": states}), model.call_backbone(call.inputs))


@pytest.mark.parametrize(
    ("part", "name", "renamed", "missing"),
    [
        ("unet", "conv_in.bias", "conv_inn.bias", r"conv_in\.bias"),
        ("text", "encoder.final_layer_norm.weight", "odd", r"encoder\.final_layer_norm\.weight"),
        ("vae", "decoder.up.0.block.1.conv1.bias", "odd", r"decoder\.up_blocks\.2\.resnets\.1\.conv1\.bias"),
        ("vocoder", "ups.1.bias", "odd", r"upsampler\.1\.bias"),
    ],
)
def test_missing_and_left_over_tensors_are_both_named(copy, parts, part, name, renamed, missing):
    changed = dict(parts[part])
    changed[renamed] = changed.pop(name)
    write(copy, parts | {part: changed})
    with pytest.raises(CheckpointError, match=f"missing: {missing}; left over: {renamed}") as caught:
        load_model(NAME)
    assert "\n" not in str(caught.value)


def test_a_wrappers_names_are_recognised_in_the_file_that_holds_two_networks(copy, parts):
    file = copy / "pytorch_model_main.bin"
    torch.save({f"module.{name}": tensor for name, tensor in torch.load(file).items()}, file)
    with pytest.raises(CheckpointError, match=r'and \d+ more \(all names begin with "module\."') as caught:
        load_model(NAME)
    assert str(caught.value).startswith(str(file))
    assert len(str(caught.value)) < 1000


def test_another_shape_is_named(copy, parts):
    write(copy, parts | {"unet": parts["unet"] | {"conv_in.bias": torch.zeros(31)}})
    with pytest.raises(CheckpointError, match=r"conv_in\.bias has shape \(31,\); expected \(32,\)"):
        load_model(NAME)


class Runs:
    """Runs a command when it is unpickled, as a hostile checkpoint would."""

    def __reduce__(self):
        return (os.mkdir, ("ran",))


def test_a_pickle_that_runs_code_is_refused_with_the_way_out(copy, monkeypatch):
    monkeypatch.chdir(copy)
    torch.save({"unet.conv_in.bias": Runs()}, copy / "pytorch_model_main.bin")
    with pytest.raises(CheckpointError, match=r"save its tensors as pytorch_model_main\.safetensors"):
        load_model(NAME)
    assert not (copy / "ran").exists()


def test_without_the_tokenizer_one_line_says_how_to_get_it(copy, weights, monkeypatch, tmp_path):
    shutil.rmtree(copy / "google")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    reason = missing_weights(NAME)
    assert "hf download google/flan-t5-large config.json tokenizer.json" in reason
    assert reason.endswith(f"--local-dir {copy.parent / 'flan-t5-large'}")
    shutil.copytree(weights / "google" / "flan-t5-large", copy.parent / "flan-t5-large")
    assert missing_weights(NAME) is None


def test_weights_stay_mapped_to_their_file(weights):
    """No second copy: the pages of the file are the parameters, so that loading needs little beyond the file's size."""
    model = load_model(NAME)
    mapped = [line.split() for line in Path("/proc/self/maps").read_text().splitlines() if str(weights) in line]
    ranges = [tuple(int(end, 16) for end in fields[0].split("-")) for fields in mapped]
    parameters = [*model.backbone.parameters(), *model.components["text_encoder"].parameters()]
    assert all(any(low <= value.data_ptr() < high for low, high in ranges) for value in parameters)


@pytest.mark.slow(75)
def test_a_run_goes_through_every_stage(weights, run_on):
    record = run_on(f"dir:{weights}")
    assert record["model"]["source"] == "folder: a TANGO checkpoint (declare-lab's files)"
    assert record["method"]["components"] == ["backbone", "text_encoder", "vae", "vocoder"]


def test_the_hash_is_of_the_files(copy, parts):
    before = fingerprint(NAME)
    assert load_model(NAME).weights_sha256 == before
    write(copy, parts | {"unet": parts["unet"] | {"conv_in.bias": torch.zeros(32)}})
    assert fingerprint(NAME) != before
    assert set(TANGO.used_files(copy)) >= {"pytorch_model_main.bin", "vae_config.json", "texts/tokenizer.json"}


def test_published_sizes():
    with torch.device("meta"):
        unet, text = UNet2DConditionModel(**tango.UNET), T5EncoderModel(T5Config(**FLAN_T5_LARGE))
    assert sum(value.numel() for value in unet.parameters()) / 1e6 == pytest.approx(865.93, abs=0.01)
    assert sum(value.numel() for value in set(text.parameters())) / 1e6 == pytest.approx(341.2, abs=0.1)


def test_another_noise_schedule_than_the_authors_is_refused_by_its_name(tmp_path):
    file = tmp_path / "main_config.json"
    file.write_text('{"scheduler_name": "runwayml/stable-diffusion-v1-5"}')
    with pytest.raises(
        CheckpointError, match=r"scheduler_name is runwayml/stable-diffusion-v1-5; expected stabilityai"
    ):
        check_scheduler(tmp_path)
