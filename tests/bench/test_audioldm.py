"""AudioLDM from a pipeline directory: every tensor arrives, what comes out is what the pipeline itself makes."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file

from admbench.bench.cli.app import main
from admbench.bench.models import fingerprint, load_model, missing_weights, registry
from admbench.bench.models.checkpoints import shipped
from admbench.bench.models.checkpoints.files import component_files
from admbench.bench.models.families.audioldm import AUDIOLDM
from admbench.bench.models.networks.published_sizes import audioldm_unet
from admbench.bench.models.pipelines.audioldm import authors_heads, with_heads
from admbench.errors import CheckpointError, CheckpointWarning, UsageError

from .test_components import assert_told

NAME = "audioldm-s-full-v2"


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small AudioLDM pipeline directory as diffusers saves it: the embedded model's."""
    folder = tmp_path_factory.mktemp("weights") / NAME
    shutil.copytree(shipped.folder_of("tiny-audioldm"), folder)
    return folder


@pytest.fixture
def weights(pipeline: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("ADMBENCH_WEIGHTS", str(pipeline.parent))
    monkeypatch.setenv("ADMBENCH_CACHE", str(tmp_path / "cache"))
    return pipeline


@pytest.fixture
def nothing_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No weights: an empty folder of them, an empty Hugging Face cache, no network."""
    (tmp_path / "weights").mkdir()
    monkeypatch.setenv("ADMBENCH_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path / "weights"


def test_it_makes_what_audioldm_pipeline_makes(weights):
    from diffusers import AudioLDMPipeline

    ours = load_model(NAME)
    ours.set_seconds(0.64)
    theirs = AudioLDMPipeline.from_pretrained(weights, torch_dtype=torch.float32)
    theirs.set_progress_bar_config(disable=True)
    noise = torch.randn(1, *ours.card.latent_shape, generator=torch.Generator().manual_seed(11))
    options = {"num_inference_steps": 2, "guidance_scale": 2.5, "latents": noise, "audio_length_in_s": 0.64}
    expected = theirs("a dog barks", **options).audios[0]
    made = ours.generate(["a dog barks"], [11], steps=2, guidance=2.5)[0]
    assert made.shape == expected.shape == (10_240,)
    assert np.abs(made - expected).max() <= 1e-4 * np.abs(expected).max()


def test_every_tensor_of_the_files_is_in_the_model(weights):
    model = load_model(NAME)
    assert list(AUDIOLDM.networks) == ["backbone", "text_encoder", "vae", "vocoder"]
    for component in AUDIOLDM.networks:
        folder = weights / AUDIOLDM.folder_of(component)
        stored = load_file(component_files(folder, AUDIOLDM.weights_of(component))[0])
        loaded = model.components[component].state_dict()
        for name, tensor in stored.items():
            assert torch.equal(loaded[name], tensor), name
        assert all(name in stored or name.endswith(("position_ids", "token_type_ids")) for name in loaded)


def test_what_can_be_quantized_is_known_without_loading(weights):
    assert_told(NAME, load_model(NAME))


def test_ten_seconds_are_250_latent_frames_and_sampling_is_the_authors(weights):
    model = load_model(NAME)
    vocoder, vae = model.components["vocoder"].config, model.components["vae"].config
    shrink = 2 ** (len(vae.block_out_channels) - 1)
    assert model.seconds == 10
    assert model.card.latent_shape == (8, 1000 // shrink, vocoder.model_in_dim // shrink)
    assert (model.default_steps, model.default_guidance) == (200, 2.5)
    assert model.license == "CC-BY-NC-SA-4.0"


@pytest.mark.parametrize(
    ("seconds", "frames"), [(0.5, 7), (2.5, 32), (0.64, 8), (1.01, 13)]
)  # the small autoencoder shrinks eightfold: 12.5 latent frames a second
def test_a_clip_of_any_length_is_covered_and_cut_as_in_the_pipeline(weights, seconds, frames):
    model = load_model(NAME)
    model.set_seconds(seconds)
    assert (model.seconds, model.card.latent_shape) == (seconds, (8, frames, 8))
    clip = model.decode(torch.zeros(1, *model.card.latent_shape))
    assert clip.shape == (1, round(seconds * 16_000))
    with pytest.raises(UsageError, match=r"generation\.seconds = 0; expected more than 0"):
        model.set_seconds(0.0)


def test_half_a_second_is_what_audioldm_pipeline_makes_of_it(weights):
    from diffusers import AudioLDMPipeline

    ours = load_model(NAME)
    ours.set_seconds(0.5)
    theirs = AudioLDMPipeline.from_pretrained(weights, torch_dtype=torch.float32)
    theirs.set_progress_bar_config(disable=True)
    noise = torch.randn(1, *ours.card.latent_shape, generator=torch.Generator().manual_seed(3))
    options = {"num_inference_steps": 1, "guidance_scale": 2.5, "latents": noise, "audio_length_in_s": 0.5}
    expected = theirs("rain", **options).audios[0]
    made = ours.generate(["rain"], [3], steps=1, guidance=2.5)[0]
    assert made.shape == expected.shape == (8000,)
    assert np.abs(made - expected).max() <= 1e-4 * np.abs(expected).max()


class TestAsItsAuthors:
    """`NAME-authors`: the same folder, run as github.com/haoheliu/AudioLDM runs it."""

    def test_ten_seconds_are_1024_frames_of_the_spectrogram_cut_to_ten_seconds(self, weights):
        model = load_model(f"{NAME}-authors")
        assert (model.seconds, model.card.latent_shape) == (10, (8, 1024 // 8, 8))
        assert (model.default_steps, model.default_guidance) == (200, 2.5)
        model.set_seconds(2.5)  # the shortest that their program makes
        assert model.card.latent_shape == (8, 256 // 8, 8)
        model.set_seconds(0.5)  # their rule gives 6 frames, 0.48 s
        assert model.card.latent_shape == (8, 7, 8)

    def test_its_sampling_is_ddim_with_the_noise_of_ddpm(self, weights):
        """Song et al. 2020, eq. 12 and 16 with eta 1, written out; noise of each step from the clip's own seed."""
        model = load_model(f"{NAME}-authors")
        model.set_seconds(0.5)
        made = model.latents(["rain"], [4], steps=4, guidance=2.5, batch_size=1)
        generator = torch.Generator().manual_seed(4)
        x = torch.randn(1, *model.card.latent_shape, generator=generator)
        told = model.encode_text(["rain"], guided=True)
        config = json.loads((weights / "scheduler/scheduler_config.json").read_text())
        betas = torch.linspace(config["beta_start"] ** 0.5, config["beta_end"] ** 0.5, 1000, dtype=torch.float64) ** 2
        alphas = (1 - betas).cumprod(0)
        for t, before in ((751, 501), (501, 251), (251, 1), (1, 0)):
            inputs = {"sample": torch.cat([x, x]), "timestep": torch.tensor([t, t]), **told}
            without, with_caption = model.call_backbone(inputs).chunk(2)
            noise = without + 2.5 * (with_caption - without)
            variance = (1 - alphas[before]) / (1 - alphas[t]) * (1 - alphas[t] / alphas[before])
            clean = (x - (1 - alphas[t]).sqrt() * noise) / alphas[t].sqrt()
            x = alphas[before].sqrt() * clean + (1 - alphas[before] - variance).sqrt() * noise
            x = (x + variance.sqrt() * torch.randn(x.shape, generator=generator)).float()
        assert torch.allclose(made, x, rtol=1e-4, atol=1e-4)
        plain = load_model(NAME)
        plain.set_seconds(0.5)
        assert not torch.allclose(made, plain.latents(["rain"], [4], steps=4, guidance=2.5, batch_size=1))

    def test_latents_that_reach_far_are_clipped_before_they_are_decoded(self, weights):
        model = load_model(f"{NAME}-authors")
        model.set_seconds(0.32)
        near = torch.randn(1, *model.card.latent_shape, generator=torch.Generator().manual_seed(0))
        far = near.clone()
        far[0, 0, 0, 0], far[0, 1, 1, 1] = 101.0, -50.0
        clipped = far.clamp(-10, 10)
        made = model.decode(torch.cat([near, far, clipped]))
        assert np.allclose(made[0], model.decode(near)[0], atol=1e-6)
        assert np.allclose(made[1], made[2], atol=1e-6)
        assert not np.allclose(made[1], load_model(NAME).decode(far)[0, : made.shape[1]], atol=1e-3)

    def test_it_is_another_model_than_the_pipeline_s_by_its_hash(self, weights):
        assert fingerprint(f"{NAME}-authors") != fingerprint(NAME)
        assert load_model(f"{NAME}-authors").weights_sha256 == fingerprint(f"{NAME}-authors")
        assert load_model(f"{NAME}-authors").source == "hf:cvssp/audioldm-s-full-v2"

    def test_another_sampler_than_ddim_is_refused(self, weights, tmp_path, monkeypatch):
        shutil.copytree(weights, tmp_path / NAME)
        for file, value in (("scheduler/scheduler_config.json", "PNDMScheduler"), ("model_index.json", None)):
            content = json.loads((tmp_path / NAME / file).read_text())
            changed = {"_class_name": value} if value else {"scheduler": ["diffusers", "PNDMScheduler"]}
            (tmp_path / NAME / file).write_text(json.dumps(content | changed))
        monkeypatch.setenv("ADMBENCH_WEIGHTS", str(tmp_path))
        assert load_model(NAME).scheduler_name == "PNDMScheduler"
        with pytest.raises(CheckpointError, match=r"names PNDMScheduler; the authors sample by DDIM: expected DDIMSch"):
            load_model(f"{NAME}-authors")


@pytest.mark.parametrize(("channels", "heads"), [(128, (4, 8, 12, 20)), (192, (6, 12, 18, 30)), (256, (4, 8, 12, 20))])
def test_the_conversion_s_eight_heads_are_told_from_the_authors(channels, heads):
    with torch.device("meta"):
        converted, mended = (
            UNet2DConditionModel(**audioldm_unet(channels) | more) for more in ({}, {"attention_head_dim": heads})
        )
    assert authors_heads(converted) == heads
    assert authors_heads(mended) is None
    split = with_heads(converted, heads)
    counts = [block.attentions[0].transformer_blocks[0].attn1.heads for block in split.down_blocks[1:]]
    assert (*counts, split.mid_block.attentions[0].transformer_blocks[0].attn1.heads) == (*heads[1:], heads[-1])
    assert [*split.state_dict()] == [*converted.state_dict()]


def test_a_folder_with_the_conversion_s_heads_is_loaded_with_a_warning(weights, monkeypatch, capsys):
    monkeypatch.setattr("admbench.bench.models.pipelines.audioldm.authors_heads", lambda unet: (4, 8, 12, 20))
    with pytest.warns(
        CheckpointWarning, match=r'8 attention heads to every level.*"attention_head_dim": \[4, 8, 12, 20\]'
    ):
        load_model(NAME)
    command = ["generate", "--model", f"dir:{weights}", "--prompt", "rain", "--steps", "0", "--out", "x.wav"]
    assert main(command) == 2  # by the number of steps: no clip is made
    assert "warning" not in capsys.readouterr().err


def test_a_folder_s_two_names_of_its_scheduler_must_agree(weights, tmp_path):
    shutil.copytree(weights, tmp_path / "mine")
    index = tmp_path / "mine" / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"scheduler": ["diffusers", "PNDMScheduler"]}))
    with pytest.raises(
        CheckpointError, match=r"_class_name is DDIMScheduler, but model_index\.json names PNDMScheduler"
    ):
        load_model(f"dir:{tmp_path / 'mine'}")


def test_bin_files_load_like_safetensors(weights, tmp_path, monkeypatch):
    shutil.copytree(weights, tmp_path / NAME)
    for component in AUDIOLDM.networks:
        names = AUDIOLDM.weights_of(component)
        file = tmp_path / NAME / AUDIOLDM.folder_of(component) / names[0]
        torch.save(load_file(file), file.with_name(names[-1]))
        file.unlink()
    first = load_model(NAME).latents(["rain"], [1], steps=1, guidance=1.0, batch_size=1)
    before = fingerprint(NAME)
    monkeypatch.setenv("ADMBENCH_WEIGHTS", str(tmp_path))
    assert torch.equal(first, load_model(NAME).latents(["rain"], [1], steps=1, guidance=1.0, batch_size=1))
    assert fingerprint(NAME) != before  # other files


def test_a_bin_file_that_runs_code_is_refused(weights, tmp_path, monkeypatch):
    shutil.copytree(weights, tmp_path / NAME)
    file = tmp_path / NAME / "vae" / "diffusion_pytorch_model.safetensors"
    size = file.stat().st_size  # a smaller file would be refused for its size, unread
    file.unlink()
    file.with_suffix(".bin").write_bytes(pickle.dumps(pytest.fail).ljust(size, b"\0"))
    monkeypatch.setenv("ADMBENCH_WEIGHTS", str(tmp_path))
    with pytest.raises(CheckpointError, match=r"diffusion_pytorch_model\.bin"):
        load_model(NAME)


def test_missing_and_left_over_tensors_are_both_named(weights, tmp_path, monkeypatch):
    shutil.copytree(weights, tmp_path / NAME)
    file = tmp_path / NAME / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    tensors["conv_inn.bias"] = tensors.pop("conv_in.bias")
    save_file(tensors, file)
    monkeypatch.setenv("ADMBENCH_WEIGHTS", str(tmp_path))
    with pytest.raises(CheckpointError, match=r"missing: conv_in\.bias; left over: conv_inn\.bias") as caught:
        load_model(NAME)
    assert "\n" not in str(caught.value)


def test_weights_that_are_not_here_are_one_line_with_the_command(nothing_here):
    expected = f"hf download cvssp/audioldm-s-full-v2 --local-dir {nothing_here / NAME}"
    with pytest.raises(CheckpointError, match="neither in") as caught:
        load_model(NAME)
    assert str(caught.value).endswith(expected)
    assert missing_weights(NAME) == str(caught.value)


def test_without_a_folder_of_weights_the_command_fills_the_hub_cache(nothing_here, monkeypatch):
    monkeypatch.delenv("ADMBENCH_WEIGHTS")
    assert missing_weights("audioldm-s-full").endswith("hf download cvssp/audioldm")


def test_a_snapshot_in_the_hub_cache_is_found_and_its_commit_recorded(nothing_here, pipeline, tmp_path):
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "hub" / f"models--{registry.get(NAME).repository.replace('/', '--')}"
    shutil.copytree(pipeline, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    model = load_model(NAME)
    assert (model.revision, model.source) == (commit, "hf:cvssp/audioldm-s-full-v2")


@pytest.mark.parametrize("lacking", ["unet/diffusion_pytorch_model.safetensors", "vae/config.json", "model_index.json"])
def test_a_part_of_a_snapshot_is_one_line_with_the_command_that_gets_the_rest(
    nothing_here, pipeline, tmp_path, lacking
):
    repository = tmp_path / "hub" / f"models--{registry.get(NAME).repository.replace('/', '--')}"
    shutil.copytree(pipeline, repository / "snapshots" / "0123")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0123")
    file = repository / "snapshots" / "0123" / lacking
    file.unlink()
    file.symlink_to("../../blobs/that-never-came")  # as a download that was broken off leaves it
    with pytest.raises(
        CheckpointError, match=r"snapshots/0123.*; if its download broke off, get the rest with"
    ) as caught:
        load_model(NAME)
    assert str(caught.value).endswith(f"hf download cvssp/audioldm-s-full-v2 --local-dir {nothing_here / NAME}")
    assert "\n" not in str(caught.value)


def test_an_incomplete_folder_names_the_file(weights, tmp_path, monkeypatch):
    shutil.copytree(weights, tmp_path / NAME)
    (tmp_path / NAME / "vocoder" / "config.json").unlink()
    monkeypatch.setenv("ADMBENCH_WEIGHTS", str(tmp_path))
    assert "vocoder/config.json: missing" in missing_weights(NAME)


def test_the_hash_follows_a_changed_file(weights, tmp_path, monkeypatch):
    shutil.copytree(weights, tmp_path / NAME)
    monkeypatch.setenv("ADMBENCH_WEIGHTS", str(tmp_path))
    before = fingerprint(NAME)
    assert before == fingerprint(NAME)
    file = tmp_path / NAME / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"beta_end": 0.02}))
    assert fingerprint(NAME) != before


@pytest.mark.parametrize(("channels", "millions"), [(128, 185.04), (192, 415.95), (256, 739.14)])
def test_backbones_have_their_published_size(channels, millions):
    with torch.device("meta"):
        unet = UNet2DConditionModel(**audioldm_unet(channels))
    assert sum(parameter.numel() for parameter in unet.parameters()) / 1e6 == pytest.approx(millions, abs=0.01)


@pytest.mark.slow
def test_random_weights_need_no_files_and_are_marked(nothing_here):
    model = load_model(NAME, random_weights=True)
    assert model.random_weights
    assert model.parameters == pytest.approx(185.04e6, rel=1e-4)
    assert model.card.latent_shape == (8, 250, 16)
    model.set_seconds(0.32)
    assert model.generate(["a dog barks"], [1], steps=1).shape == (1, 5120)


@pytest.mark.slow
def test_a_run_goes_through_every_stage(weights, run_on):
    record = run_on(f"dir:{weights}", seconds=1.28)
    assert record["model"]["source"] == "folder: an AudioLDM pipeline directory"
    assert record["method"]["components"] == ["backbone", "text_encoder", "vae", "vocoder"]
