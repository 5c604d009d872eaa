"""AudioLDM 2, MusicLDM and Stable Audio: what comes out is what diffusers' pipeline itself makes of the same parts."""

from __future__ import annotations

import inspect
import json
import shutil
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from admbench.bench.models import load_model, missing_weights, registry
from admbench.bench.models.checkpoints.compvis import without_weight_norm
from admbench.bench.models.checkpoints.files import component_files
from admbench.bench.models.checkpoints.repositories import download_command
from admbench.bench.models.families import recognise
from admbench.bench.models.families.audioldm2 import AUDIOLDM2, BASE, LARGE, UNET
from admbench.bench.models.families.musicldm import MUSICLDM
from admbench.bench.models.families.stable_audio import STABLE_AUDIO
from admbench.bench.models.pipelines import parts
from admbench.bench.models.quantization import quantize_components
from admbench.errors import CheckpointError, UsageError
from admbench.methods.core.checkpoint.reading import load as load_backbone

from . import pipeline_directories
from .test_components import assert_autoencoder_is_quantized, assert_told

FAMILIES = {
    "audioldm2": pipeline_directories.audioldm2,
    "musicldm": pipeline_directories.musicldm,
    "stable-audio": pipeline_directories.stable_audio,
}
DESCRIBED = {"audioldm2": AUDIOLDM2, "musicldm": MUSICLDM, "stable-audio": STABLE_AUDIO}
CAPTIONS = ["a dog barks", "rain", "loud rain falls"]


@pytest.fixture(scope="module")
def pipes() -> dict[str, Any]:
    """The pipelines of diffusers that the folders are saved from."""
    return {name: pipeline_directories.seeded(make) for name, make in FAMILIES.items()}


@pytest.fixture(scope="module")
def saved(pipes: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pipelines")
    for name, pipeline in pipes.items():
        pipeline.save_pretrained(folder / name)
    return folder


@pytest.fixture
def folders(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copies of them, to be changed."""
    monkeypatch.setenv("ADMBENCH_CACHE", str(tmp_path / "cache"))
    shutil.copytree(saved, tmp_path / "saved")
    return tmp_path / "saved"


def unit_noise(model: Any, seed: int) -> torch.Tensor:
    return torch.randn(1, *model.card.latent_shape, generator=torch.Generator().manual_seed(seed))


def close(made: np.ndarray, expected: np.ndarray) -> bool:
    assert made.shape == expected.shape
    assert np.abs(expected).max() > 0
    return bool(np.abs(made - expected).max() <= 1e-4 * np.abs(expected).max())


def set_scheduler(folder: Path, name: str, **config: Any) -> Any:
    """Puts another scheduler into a folder, as a saved pipeline has it, and returns one of it."""
    scheduler = getattr(diffusers, name)(**config)
    scheduler.save_pretrained(folder / "scheduler")
    set_index(folder, scheduler=["diffusers", name])
    return scheduler


@pytest.mark.parametrize("caption", CAPTIONS)
@pytest.mark.parametrize("guidance", [1.0, 3.5])
def test_audioldm2_makes_what_its_pipeline_makes(folders, pipes, caption, guidance):
    ours = load_model(f"dir:{folders / 'audioldm2'}")
    theirs = pipeline_directories.with_language_model_head(pipes["audioldm2"])
    theirs.set_progress_bar_config(disable=True)
    options = {"num_inference_steps": 3, "guidance_scale": guidance, "latents": unit_noise(ours, 11)}
    expected = theirs(caption, **options).audios[0]
    assert ours.seconds == 0.016  # both at their default length
    assert close(ours.generate([caption], [11], steps=3, guidance=guidance)[0], expected)


def test_audioldm2_tells_a_caption_the_same_in_any_company(folders):
    """A pipeline call with several prompts pads them alike, which moves the positions of GPT-2."""
    model = load_model(f"dir:{folders / 'audioldm2'}")
    together = model.latents(CAPTIONS, [1, 2, 3], steps=2, guidance=3.5, batch_size=3)
    alone = model.latents(CAPTIONS, [1, 2, 3], steps=2, guidance=3.5, batch_size=1)
    assert torch.allclose(together, alone, atol=1e-4)
    told = model.encode_text(CAPTIONS, guided=True)
    assert {name: tuple(value.shape) for name, value in told.items()} == {
        "encoder_hidden_states": (6, 8, 16),
        "encoder_hidden_states_1": (6, 128, 32),
        "encoder_attention_mask_1": (6, 128),
    }
    assert not torch.allclose(told["encoder_hidden_states"][3], told["encoder_hidden_states"][4], atol=1e-3)


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_musicldm_makes_what_its_pipeline_makes_of_the_text_features(folders, pipes, guidance):
    """The pipeline's own text path fails with transformers 5: it is given what CLAP says."""
    ours, theirs = load_model(f"dir:{folders / 'musicldm'}"), pipes["musicldm"]
    features = {}
    for caption in ("", "a dog barks"):
        told = theirs.tokenizer(caption, return_tensors="pt")
        states = theirs.text_encoder.text_model(**told).pooler_output
        features[caption] = torch.nn.functional.normalize(theirs.text_encoder.text_projection(states), dim=-1).detach()
    options = {"num_inference_steps": 3, "guidance_scale": guidance, "latents": unit_noise(ours, 11)}
    options |= {"prompt_embeds": features["a dog barks"], "negative_prompt_embeds": features[""]}
    assert close(ours.generate(["a dog barks"], [11], steps=3, guidance=guidance)[0], theirs(**options).audios[0])


@pytest.mark.parametrize("family", ["audioldm2", "musicldm"])
def test_the_workarounds_are_needed(pipes, family):
    """The pipelines' own text paths fail with these versions; where this fails, `workarounds.py` can become shorter."""
    with pytest.raises(AttributeError, match=r"'(GPT2Model|BaseModelOutputWithPooling)' object has no attribute"):
        pipes[family]("a dog barks", num_inference_steps=1)


def test_loading_warns_of_nothing(folders, recwarn):
    for family in FAMILIES:
        load_model(f"dir:{folders / family}")
    assert [str(warning.message) for warning in recwarn] == []


SAMPLERS = {
    "EDMDPMSolverMultistepScheduler": {"algorithm_type": "sde-dpmsolver++", "sigma_data": 1.0},
    "CosineDPMSolverMultistepScheduler": {},
}


@pytest.mark.parametrize("scheduler", SAMPLERS)
@pytest.mark.parametrize(("seconds", "guidance"), [(None, 7.0), (0.3, 7.0), (0.3, 1.0)])
def test_stable_audio_makes_what_its_pipeline_makes(folders, pipes, scheduler, seconds, guidance):
    if scheduler.startswith("Cosine"):
        pytest.importorskip("torchsde")
    sampler = set_scheduler(folders / "stable-audio", scheduler, prediction_type="v_prediction", **SAMPLERS[scheduler])
    ours = load_model(f"dir:{folders / 'stable-audio'}")
    theirs = diffusers.StableAudioPipeline(**pipes["stable-audio"].components | {"scheduler": sampler})
    theirs.set_progress_bar_config(disable=True)
    if seconds is not None:
        ours.set_seconds(seconds)
    # a stochastic sampler goes on with the generator of the clip's noise, or takes its seed
    generator = torch.Generator().manual_seed(11)
    noise = torch.randn(1, *ours.card.latent_shape, generator=generator)
    expected = theirs(
        ["a dog barks"],
        audio_end_in_s=seconds,
        num_inference_steps=5,
        guidance_scale=guidance,
        latents=noise,
        generator=[generator],
    ).audios[0]
    assert expected.shape == (2, int((seconds or 0.5) * 256))
    assert not torch.allclose(expected[0], expected[1])
    assert close(ours.generate(["a dog barks"], [11], steps=5, guidance=guidance)[0], expected.numpy())


@pytest.mark.parametrize("scheduler", SAMPLERS)
def test_noise_during_sampling_follows_the_clips_own_seed(folders, scheduler):
    if scheduler.startswith("Cosine"):
        pytest.importorskip("torchsde")
    set_scheduler(folders / "stable-audio", scheduler, prediction_type="v_prediction", **SAMPLERS[scheduler])
    model = load_model(f"dir:{folders / 'stable-audio'}")
    together = model.latents(CAPTIONS, [1, 2, 3], steps=4, guidance=7.0, batch_size=3)
    alone = model.latents(CAPTIONS[1:2], [2], steps=4, guidance=7.0, batch_size=1)
    assert torch.allclose(together[1:2], alone, rtol=1e-3, atol=1e-3)
    assert torch.equal(alone, model.latents(CAPTIONS[1:2], [2], steps=4, guidance=7.0, batch_size=1))


@pytest.mark.parametrize(
    "scheduler", ["DDPMScheduler", "PNDMScheduler", "EulerDiscreteScheduler", "DPMSolverMultistepScheduler"]
)
def test_other_schedulers_sample_as_in_the_pipeline(folders, pipes, scheduler):
    sampler = set_scheduler(folders / "musicldm", scheduler, beta_schedule="scaled_linear")
    ours = load_model(f"dir:{folders / 'musicldm'}")
    theirs = diffusers.MusicLDMPipeline(**pipes["musicldm"].components | {"scheduler": sampler})
    theirs.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(11)
    noise = torch.randn(1, *ours.card.latent_shape, generator=generator)
    told = ours.encode_text(["a dog barks"], guided=True)["class_labels"]
    options = {"prompt_embeds": told[1:], "negative_prompt_embeds": told[:1], "latents": noise, "generator": generator}
    expected = theirs(**options, num_inference_steps=6, guidance_scale=2.0).audios[0]
    assert ours.scheduler_name == scheduler
    assert close(ours.generate(["a dog barks"], [11], steps=6, guidance=2.0)[0], expected)


def test_runs_that_are_interleaved_do_not_disturb_each_other(folders):
    model = load_model(f"dir:{folders / 'stable-audio'}")
    options = {"seeds": [4], "steps": 5, "guidance": 7.0, "batch_size": 1}
    expected = [call.inputs["sample"] for call in model.trajectories(["rain"], **options)]
    first, second = (model.trajectories(["rain"], **options) for _ in range(2))
    for sample, one, other in zip(expected, first, second, strict=True):
        assert torch.equal(one.inputs["sample"], sample)
        assert torch.equal(other.inputs["sample"], sample)


def test_stable_audio_is_told_nothing_but_its_length_in_the_unconditional_half(folders):
    model = load_model(f"dir:{folders / 'stable-audio'}")
    model.set_seconds(0.25)
    told = model.encode_text(["rain"], guided=True)
    assert told["encoder_hidden_states"].shape == (2, 16 + 2, 16)
    assert not told["encoder_hidden_states"][0].any()
    assert told["encoder_hidden_states"][1].any()
    assert torch.equal(told["global_hidden_states"][0], told["global_hidden_states"][1])
    model.set_seconds(0.5)
    assert not torch.equal(
        model.encode_text(["rain"], guided=True)["global_hidden_states"], told["global_hidden_states"]
    )
    with pytest.raises(UsageError, match=r"generation\.seconds = 0\.6; expected more than 0 and at most 0\.5"):
        model.set_seconds(0.6)


def test_continuous_time_is_labelled_by_the_step_of_the_training_schedule(folders):
    pytest.importorskip("torchsde")
    set_scheduler(folders / "stable-audio", "CosineDPMSolverMultistepScheduler")
    model = load_model(f"dir:{folders / 'stable-audio'}")
    calls = list(model.trajectories(["rain"], seeds=[4], steps=5, guidance=7.0, batch_size=1))
    assert [call.timestep for call in calls] == [999, 992, 948, 694, 186]
    assert float(calls[-1].inputs["timestep"][0]) == pytest.approx(0.1855, abs=1e-4)  # the backbone is told the time


def set_index(folder: Path, **changes: Any) -> None:
    """Changes model_index.json; a part that becomes None is left out."""
    file = folder / "model_index.json"
    changed = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({name: value for name, value in changed.items() if value is not None}))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_directory_of_another_class_is_taken_for_the_family_whose_parts_it_has(folders, family):
    folder = folders / family
    as_named = load_model(f"dir:{folder}").generate(CAPTIONS[:1], [1], steps=2)
    set_index(folder, _class_name="MyOwnPipeline")
    assert recognise(folder) is DESCRIBED[family]
    model = load_model(f"dir:{folder}")
    assert model.source == f"folder: {DESCRIBED[family].saw} by its parts, though its class is called MyOwnPipeline"
    assert np.array_equal(model.generate(CAPTIONS[:1], [1], steps=2), as_named)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"text_encoder": ["transformers", "CLIPTextModel"]}, "text_encoder is CLIPTextModel and not Clap.*"),
        ({"unet": ["os", "system"]}, "unet is system and not UNet2DConditionModel"),
        ({"vocoder": None}, "there is no vocoder"),
        ({"tokenizer": None}, "there is no tokenizer"),
        ({"controlnet": ["diffusers", "ControlNetModel"]}, "controlnet is none of its parts"),
    ],
)
def test_a_directory_of_another_class_with_other_parts_is_refused_by_their_names(folders, changes, reason):
    set_index(folders / "musicldm", _class_name="MyOwnPipeline", **changes)
    with pytest.raises(
        CheckpointError, match=rf"directory of MyOwnPipeline \(nearest is an? .*LDM pipeline directory, but {reason}\)"
    ):
        load_model(f"dir:{folders / 'musicldm'}")


@pytest.mark.parametrize("family", FAMILIES)
def test_every_tensor_of_the_files_is_in_the_model(folders, family):
    model = load_model(f"dir:{folders / family}")
    described = DESCRIBED[family]
    for component in described.networks:
        part = described.folder_of(component)
        (file,) = component_files(folders / family / part, described.weights_of(component))
        stored = load_file(file)
        loaded = model.components[component].state_dict()
        assert stored
        for name, tensor in without_weight_norm(stored).items():
            if part == "language_model" and "weight" in name and ".c_" in name:
                tensor = tensor.T  # GPT-2's layers are Linear ones, transposed
            assert torch.allclose(loaded[name], tensor, rtol=1e-6 if f"{name}_g" in stored else 0, atol=0)
    assert list(model.components) == list(described.networks)


def test_masks_that_older_versions_saved_with_gpt2_are_not_tensors_too_many(folders):
    file = folders / "audioldm2" / "language_model" / "model.safetensors"
    masks = {"h.0.attn.bias": torch.ones(1, 1, 160, 160).tril().bool(), "h.0.attn.masked_bias": torch.tensor(-1e4)}
    tensors = load_file(file)
    save_file(tensors | masks, file, metadata={"format": "pt"})
    loaded = load_model(f"dir:{folders / 'audioldm2'}").components["language_model"].state_dict()
    assert loaded.keys() == tensors.keys()


def test_weights_in_shards_load_like_one_file(folders, pipes):
    unet = folders / "musicldm" / "unet"
    whole = unet / "diffusion_pytorch_model.safetensors"
    expected = load_file(whole)
    before = MUSICLDM.fingerprint(folders / "musicldm")
    whole.unlink()
    pipes["musicldm"].unet.save_pretrained(unet, max_shard_size="20KB")
    shards = sorted(file.name for file in unet.glob("*-of-*.safetensors"))
    assert len(shards) > 1
    assert set(MUSICLDM.used_files(folders / "musicldm")) >= {f"unet/{name}" for name in shards}
    assert MUSICLDM.fingerprint(folders / "musicldm") != before  # other files, though of the same tensors
    loaded = load_model(f"dir:{folders / 'musicldm'}").backbone.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in expected.items())
    (unet / shards[0]).unlink()
    with pytest.raises(CheckpointError, match=rf"{shards[0]}: missing"):
        load_model(f"dir:{folders / 'musicldm'}")
    index = unet / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "../a.safetensors"}}))
    with pytest.raises(CheckpointError, match=r"index\.json: expected a weight_map to names of files beside it"):
        load_model(f"dir:{folders / 'musicldm'}")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_tensor_without_a_place_is_named(folders, family):
    part = DESCRIBED[family].folder_of("backbone")
    file = folders / family / part / "diffusion_pytorch_model.safetensors"
    save_file(load_file(file) | {"odd.weight": torch.zeros(2)}, file)
    with pytest.raises(CheckpointError, match=rf"{part}/diffusion_pytorch_model.*left over: odd\.weight"):
        load_model(f"dir:{folders / family}")


@pytest.mark.parametrize(
    ("family", "missing", "line"),
    [
        ("audioldm2", "language_model", r"language_model: no weights; expected model\.safetensors"),
        ("audioldm2", "tokenizer_2", r"tokenizer_2: the tokenizer is missing"),
        ("audioldm2", "scheduler/scheduler_config.json", r"scheduler_config\.json: missing"),
        ("musicldm", "vocoder/config.json", r"vocoder/config\.json: missing"),
        ("stable-audio", "projection_model", r"projection_model: no weights; expected diffusion_pytorch_model\.saf"),
    ],
)
def test_a_missing_component_is_one_line_that_names_it(folders, family, missing, line):
    path = folders / family / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(CheckpointError, match=line) as error:
        load_model(f"dir:{folders / family}")
    assert "\n" not in str(error.value)


def test_a_scheduler_that_is_not_supported_is_one_line(folders):
    file = folders / "musicldm" / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps({"_class_name": "os.system"}))
    with pytest.raises(CheckpointError, match=r"_class_name is os\.system; expected one of DDIMScheduler"):
        load_model(f"dir:{folders / 'musicldm'}")


def test_a_damaged_configuration_of_a_scheduler_is_one_line(folders):
    (folders / "musicldm" / "scheduler" / "scheduler_config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"scheduler_config\.json: not valid JSON"):
        load_model(f"dir:{folders / 'musicldm'}")


def test_a_scheduler_that_needs_a_package_says_which(monkeypatch):
    from diffusers.utils.dummy_torch_and_torchsde_objects import CosineDPMSolverMultistepScheduler

    monkeypatch.setattr(diffusers, "CosineDPMSolverMultistepScheduler", CosineDPMSolverMultistepScheduler)
    with pytest.raises(UsageError, match="CosineDPMSolverMultistepScheduler needs torchsde: pip install torchsde"):
        parts.scheduler_class("CosineDPMSolverMultistepScheduler")


@pytest.mark.parametrize(
    ("family", "part", "key", "line"),
    [
        ("audioldm2", "unet", "sample_size", r"unet/config\.json: sample_size is None; expected a number"),
        ("audioldm2", "language_model", "max_new_tokens", r"language_model/config\.json: expected max_new_tokens"),
    ],
)
def test_a_configuration_that_lacks_a_length_is_one_line(folders, family, part, key, line):
    file = folders / family / part / "config.json"
    file.write_text(json.dumps({name: value for name, value in json.loads(file.read_text()).items() if name != key}))
    with pytest.raises(CheckpointError, match=line):
        load_model(f"dir:{folders / family}")


@pytest.mark.parametrize("family", FAMILIES)
def test_what_can_be_quantized_is_known_without_loading(folders, family):
    name = f"dir:{folders / family}"
    assert_told(name, load_model(name))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_backbone_goes_through_quantization(folders, family, tmp_path):
    model = load_model(f"dir:{folders / family}")
    spec = "naive@w8a8[prompts=2,timesteps=2,steps=2,guidance=3.0]"
    quantized, calibration = quantize_components(model, spec, prompts=CAPTIONS)["backbone"]
    assert calibration is not None
    assert len(calibration) == 2 * 2 * 2  # prompts, timesteps, halves of guidance
    assert not quantized.report.unquantized
    full = model.latents(CAPTIONS, [1, 2, 3], steps=3, guidance=3.0, batch_size=2)
    quantized.pack(tmp_path / "checkpoint")
    model.backbone = load_backbone(tmp_path / "checkpoint")
    rounded = model.latents(CAPTIONS, [1, 2, 3], steps=3, guidance=3.0, batch_size=2)
    assert not torch.equal(full, rounded)
    assert (full - rounded).abs().mean() < 0.2 * full.abs().mean()
    waveforms = model.generate(CAPTIONS, [1, 2, 3], steps=2, batch_size=2)
    assert waveforms.dtype == np.float32
    assert (len(waveforms), waveforms.shape[-1]) == (3, int(model.seconds * model.sample_rate))
    assert np.isfinite(waveforms).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_text_encoder_goes_through_quantization(folders, family, tmp_path):
    """Of AudioLDM 2 and MusicLDM a whole CLAP, of which captions reach the text half alone."""
    model = load_model(f"dir:{folders / family}")
    before = model.embed_text(CAPTIONS)
    spec = "naive@w8a8[prompts=2,timesteps=2,steps=2,guidance=3.0]"
    quantized, _ = quantize_components(model, spec, ["text_encoder"], prompts=CAPTIONS)["text_encoder"]
    assert quantized.report.layers
    assert all(name.startswith("audio_") for name in quantized.report.unquantized)
    quantized.pack(tmp_path / "checkpoint", "text_encoder")
    model.set_component("text_encoder", load_backbone(tmp_path / "checkpoint"))
    after = model.embed_text(CAPTIONS)
    assert 0 < (before - after).abs().mean() < 0.1 * before.abs().mean()


@pytest.mark.parametrize("component", ["text_encoder_2", "language_model"])
def test_every_text_network_of_audioldm2_goes_through_quantization(folders, component, tmp_path):
    model = load_model(f"dir:{folders / 'audioldm2'}")
    before = model.encode_text(CAPTIONS, guided=True)
    spec = "naive@w8a8[prompts=2,timesteps=2,steps=2,guidance=3.0]"
    quantized, calibration = quantize_components(model, spec, [component], prompts=CAPTIONS)[component]
    assert calibration.inputs["attention_mask"].shape[1] > 0
    assert not quantized.report.unquantized
    quantized.pack(tmp_path / "checkpoint", component)
    model.set_component(component, quantized.module)
    heard = model.encode_text(CAPTIONS, guided=True)
    model.set_component(component, load_backbone(tmp_path / "checkpoint"))
    after = model.encode_text(CAPTIONS, guided=True)
    for name, states in before.items():
        assert torch.equal(heard[name], after[name])
        if name.startswith("encoder_hidden_states") and (component, name[-2:]) != ("language_model", "_1"):
            assert 0 < (states - heard[name]).abs().mean() < 0.1 * states.abs().mean()
        else:
            assert torch.equal(states, heard[name])


@pytest.mark.parametrize("family", FAMILIES)
def test_the_autoencoder_goes_through_quantization(folders, family, tmp_path):
    assert_autoencoder_is_quantized(load_model(f"dir:{folders / family}"), tmp_path)


@pytest.mark.parametrize("family", FAMILIES)
def test_bfloat16_runs(folders, family):
    waveforms = load_model(f"dir:{folders / family}", dtype="bfloat16").generate(CAPTIONS[:1], [1], steps=2)
    assert np.isfinite(waveforms).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_sampling_is_the_pipelines_default(family):
    call = inspect.signature(getattr(diffusers, DESCRIBED[family].pipeline).__call__).parameters
    assert DESCRIBED[family].default_steps == call["num_inference_steps"].default
    assert DESCRIBED[family].default_guidance == call["guidance_scale"].default


NAMES = {"audioldm2": "audioldm2", "audioldm2-large": "audioldm2", "audioldm2-music": "audioldm2"}
NAMES |= {"musicldm": "musicldm", "stable-audio-open-1.0": "stable-audio"}


@pytest.mark.parametrize(("name", "family"), NAMES.items())
def test_a_registry_name_loads_the_folder_of_its_name(folders, name, family, monkeypatch):
    (folders / family).rename(folders / name)
    monkeypatch.setenv("ADMBENCH_WEIGHTS", str(folders))
    assert missing_weights(name) is None
    model = load_model(name)
    assert (model.name, model.source) == (name, f"hf:{registry.get(name).repository}")
    assert model.license == registry.get(name).license


def test_a_registry_name_takes_no_other_pipeline(folders, monkeypatch):
    (folders / "musicldm").rename(folders / "audioldm2-music")
    monkeypatch.setenv("ADMBENCH_WEIGHTS", str(folders))
    with pytest.raises(CheckpointError, match="holds a MusicLDM pipeline directory; expected an AudioLDM 2 pipe"):
        load_model("audioldm2-music")


def test_of_stable_audio_only_the_pipeline_is_downloaded(monkeypatch):
    monkeypatch.delenv("ADMBENCH_WEIGHTS", raising=False)
    command = download_command(registry.get("stable-audio-open-1.0"))
    assert command.startswith(
        "hf download stabilityai/stable-audio-open-1.0 model_index.json transformer/ text_encoder/ "
    )
    assert {"vae/", "projection_model/", "tokenizer/", "scheduler/"} == set(command.split()[6:])


@pytest.mark.parametrize(("attention", "millions"), [(BASE, 346.94), (LARGE, 718.01)])
def test_audioldm2_has_its_published_size(attention, millions):
    with torch.device("meta"):
        unet = diffusers.AudioLDM2UNet2DConditionModel(**UNET, **attention)
    assert sum(parameter.numel() for parameter in unet.parameters()) / 1e6 == pytest.approx(millions, abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "millions", "shape", "seconds"),
    [
        ("audioldm2", 346.94, (8, 256, 16), 0.32),
        ("musicldm", 185.04, (8, 256, 16), 0.32),
        ("stable-audio-open-1.0", 1056.94, (64, 1024), 0.5),
    ],
)
def test_random_weights_need_no_files_and_are_marked(name, millions, shape, seconds, monkeypatch):
    if name.startswith("stable"):
        pytest.importorskip("torchsde")
    monkeypatch.delenv("ADMBENCH_WEIGHTS", raising=False)
    model = load_model(name, random_weights=True)
    assert model.random_weights
    assert model.parameters / 1e6 == pytest.approx(millions, abs=0.01)
    assert model.card.latent_shape == shape
    model.set_seconds(seconds)
    latents = model.latents(["a dog barks"], [1], steps=1, guidance=1.0, batch_size=1)
    assert torch.isfinite(latents).all()
    waveforms = model.decode(latents[:, :, :16])  # Stable Audio's 47 s of latents take minutes
    assert (len(waveforms), waveforms.shape[-1]) == (1, int(seconds * model.sample_rate))
    assert np.isfinite(waveforms).all()
