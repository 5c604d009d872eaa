"""The embedded ADMs: what a user of `load_model` may rely on."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from admbench.bench.conformance import check_plugin
from admbench.bench.models import BUILTIN, EMBEDDED, fingerprint, load_model, quantizable, registry
from admbench.bench.models.checkpoints import shipped
from admbench.bench.models.components import COMPONENTS
from admbench.bench.models.families import FAMILIES
from admbench.errors import CheckpointError, PluginError, UsageError
from admbench.methods.core.checkpoint.allowed import allow_architecture, allow_networks, allowed_class, allowed_names
from admbench.registry import load_target

PROMPTS = ["a dog barks", "rain falls , followed by a siren", "a clock ticks"]
SEEDS = [11, 12, 13]


@pytest.fixture(scope="module", params=list(EMBEDDED))
def model(request):
    return load_model(request.param)


def test_audio_is_2_56_seconds_finite_and_not_silent(model):
    audio = model.generate(PROMPTS, SEEDS, steps=3)
    assert audio.shape == (3, 40_960)
    assert audio.dtype == np.float32
    assert np.isfinite(audio).all()
    assert np.sqrt((audio**2).mean(axis=1)).min() > 1e-4


def test_the_same_seed_gives_the_same_audio_and_another_seed_does_not(model):
    first = model.generate(PROMPTS[:1], [5], steps=2)
    assert np.array_equal(first, model.generate(PROMPTS[:1], [5], steps=2))
    assert not np.array_equal(first, model.generate(PROMPTS[:1], [6], steps=2))


def test_batch_size_changes_nothing_beyond_float_noise(model):
    one = model.latents(PROMPTS, SEEDS, steps=3, guidance=3.0, batch_size=1)
    three = model.latents(PROMPTS, SEEDS, steps=3, guidance=3.0, batch_size=3)
    assert torch.allclose(one, three, atol=1e-3)


def test_the_caption_matters(model):
    told = model.latents(["a dog barks", "rain falls"], [7, 7], steps=3, guidance=3.0, batch_size=2)
    assert (told[0] - told[1]).abs().mean() > 0.01


def test_trajectories_hand_out_both_halves_of_guidance(model):
    calls = list(model.trajectories(PROMPTS, seeds=SEEDS, steps=4, guidance=3.0, batch_size=2))
    assert [call.step for call in calls] == [0, 1, 2, 3] * 2
    assert [call.prompt_indices for call in calls[::4]] == [(0, 1), (2,)]
    timesteps = [call.timestep for call in calls[:4]]
    assert timesteps == sorted(timesteps, reverse=True)
    first = calls[0]
    assert first.guided
    assert all(len(value) == 4 for value in first.inputs.values())
    assert torch.equal(first.inputs["sample"][:2], first.inputs["sample"][2:])
    assert model.call_backbone(first.inputs).shape == first.inputs["sample"].shape


def test_without_guidance_there_is_one_half(model):
    call = next(model.trajectories(PROMPTS[:2], seeds=SEEDS[:2], steps=2, guidance=1.0, batch_size=2))
    assert not call.guided
    assert len(call.inputs["sample"]) == 2


def test_random_weights_are_the_same_architecture_and_always_the_same(model):
    random = load_model(model.name, random_weights=True)
    again = load_model(model.name, random_weights=True)
    assert random.parameters == model.parameters
    assert random.random_weights
    trained, untrained, repeated = (next(iter(m.backbone.parameters())) for m in (model, random, again))
    assert not torch.equal(trained, untrained)
    assert torch.equal(untrained, repeated)


@pytest.mark.parametrize("steps", [0, 1001])
def test_an_impossible_number_of_steps_is_refused(model, steps):
    with pytest.raises(UsageError, match="expected 1 to 1000"):
        model.generate(PROMPTS[:1], SEEDS[:1], steps=steps)


def test_seeds_must_match_prompts(model):
    with pytest.raises(UsageError, match="3 prompts and 2 seeds"):
        model.generate(PROMPTS, SEEDS[:2])


def test_audioldm_pipeline_loads_the_directory_as_it_is():
    from diffusers import AudioLDMPipeline

    ours = load_model("tiny-audioldm")
    pipeline = AudioLDMPipeline.from_pretrained(shipped.folder_of("tiny-audioldm"), dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    noise = torch.randn(1, *ours.card.latent_shape, generator=torch.Generator().manual_seed(11))
    options = {"num_inference_steps": 4, "guidance_scale": 3.0, "latents": noise, "audio_length_in_s": 2.56}
    theirs = pipeline("a dog barks", **options).audios[0]
    latents = ours.latents(["a dog barks"], [11], steps=4, guidance=3.0, batch_size=1)
    with torch.inference_mode():
        spectrogram = ours.components["vae"].decode(latents / ours.components["vae"].config.scaling_factor).sample[:, 0]
        expected = pipeline.vocoder(spectrogram)[0, : len(theirs)].numpy()
    scale = np.abs(expected).std()
    assert np.abs(theirs - expected).max() < 0.02 * scale + 1e-4


def test_conditioning_routes_are_those_of_the_families():
    shapes = {
        name: {
            key: tuple(value.shape[1:])
            for key, value in next(
                load_model(name).trajectories(["a dog barks"], seeds=[1], steps=1, guidance=1.0, batch_size=1)
            ).inputs.items()
        }
        for name in EMBEDDED
    }
    assert shapes["tiny-audioldm"]["class_labels"] == (128,)
    assert shapes["tiny-tango"]["encoder_hidden_states"] == (32, 128)
    assert shapes["tiny-tango"]["encoder_attention_mask"] == (32,)
    assert shapes["tiny-make-an-audio"]["sample"] == (4, 10, 20)
    assert load_model("tiny-tango")._scheduler.config.prediction_type == "v_prediction"


def test_padding_is_masked():
    model = load_model("tiny-tango")
    call = next(model.trajectories(["a dog barks"], seeds=[1], steps=1, guidance=1.0, batch_size=1))
    changed = dict(call.inputs)
    padding = ~call.inputs["encoder_attention_mask"]
    changed["encoder_hidden_states"] = torch.where(padding[..., None], 3.0, call.inputs["encoder_hidden_states"])
    assert torch.allclose(model.call_backbone(call.inputs), model.call_backbone(changed), atol=1e-4)


def test_fingerprints_need_no_torch():
    code = (
        "import sys; from admbench.bench.models import fingerprint;"
        "print(fingerprint('tiny-tango'), 'torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert out == [fingerprint("tiny-tango"), "False"]


def test_lists_and_what_components_there_are_need_no_torch():
    code = (
        "import sys; from admbench.bench.models import missing_weights, quantizable, registry;"
        "[(quantizable(name), missing_weights(name)) for name in registry.builtin];"
        "print(len(registry.infos()), 'torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert out == [str(len(BUILTIN)), "False"]


@pytest.mark.parametrize("name", [name for name in BUILTIN if name not in EMBEDDED])
def test_a_published_model_is_a_row_of_its_registry_name(name):
    row = registry.get(name)
    assert row.name == name
    assert (row.family.layout or row.family) in FAMILIES
    assert row.license.removeprefix("https://").split("-")[0] in row.summary
    assert quantizable(name) == row.family.components


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.saw)
def test_packed_checkpoints_may_name_what_of_a_family_can_be_quantized_and_nothing_else_of_it(family):
    assert family.components[0] == "backbone"
    for component, target in family.networks.items():
        network = load_target(target)
        known = allowed_class(network.__name__)
        assert known is (network if component in COMPONENTS else None)


def test_a_name_that_is_not_allowed_leads_nowhere():
    assert allowed_class("system") is None
    assert allowed_class("diffusers:UNet2DConditionModel") is None


def test_one_name_is_one_class():
    with pytest.raises(PluginError, match=r"BigVGAN is claimed by both admbench.* and elsewhere:BigVGAN"):
        allow_networks(["elsewhere:BigVGAN"])
    before = allowed_names()
    with pytest.raises(PluginError, match="T5EncoderModel is claimed by both transformers:T5EncoderModel and"):
        allow_architecture(type("T5EncoderModel", (), {}))
    assert allowed_names() == before


def test_a_plugin_says_its_components(plugins, monkeypatch):
    assert quantizable("fake-adm") == ("backbone",)
    monkeypatch.setattr(registry.get("fake-adm"), "components", ("backbone", "vae"), raising=False)
    assert quantizable("fake-adm") == ("backbone", "vae")


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        (("text_encoder",), "its components are text_encoder, without backbone"),
        (("backbone", "vae"), "it says the component vae, and has backbone, text_encoder"),
        (("backbone", "ears"), "ears is no component: expected some of backbone, text_encoder"),
        (("backbone", "text_encoder"), "text_encoder: packed checkpoints may not name a Linear"),
    ],
)
def test_components_that_are_not_true_are_found_out(plugins, monkeypatch, said, problem):
    monkeypatch.setattr(registry.get("fake-adm"), "components", said, raising=False)
    found = {finding.check: finding for finding in check_plugin("fake-adm")}["says its components"]
    assert found.state == "failed"
    assert found.detail.startswith(problem)


def test_a_damaged_file_is_named(tmp_path: Path, monkeypatch):
    shutil.copytree(shipped.folder_of("tiny-audioldm"), tmp_path / "tiny-audioldm")
    file = tmp_path / "tiny-audioldm" / "unet" / "diffusion_pytorch_model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    monkeypatch.setattr(shipped, "CHECKPOINTS", tmp_path)
    with pytest.raises(CheckpointError, match=r"diffusion_pytorch_model\.safetensors"):
        load_model("tiny-audioldm")
    with pytest.raises(CheckpointError, match="tiny-tango"):
        load_model("tiny-tango")


def test_shipped_checkpoints_stay_within_60_megabytes():
    from admbench.metrics.embedders.shipped import WEIGHTS

    folders = (shipped.CHECKPOINTS, WEIGHTS)
    total = sum(path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file())
    assert total < 60_000_000


def test_an_unknown_dtype_is_refused():
    with pytest.raises(UsageError, match="float32, bfloat16"):
        load_model("tiny-tango", dtype="float8")
