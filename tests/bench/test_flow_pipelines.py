"""Stable Audio 3, ACE-Step and LongCat-AudioDiT: what comes out is what diffusers' own pipeline makes of the parts."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from admbench.bench.models import load_model
from admbench.bench.models.checks import check_components_of
from admbench.bench.models.component_view import view_of
from admbench.bench.models.families.ace_step import ACE_STEP
from admbench.bench.models.families.longcat_audiodit import LONGCAT_AUDIODIT
from admbench.bench.models.families.stable_audio_3 import STABLE_AUDIO_3
from admbench.bench.models.quantization import quantize_components
from admbench.errors import UsageError
from admbench.methods.core.checkpoint.reading import load as load_backbone

from . import pipeline_directories
from .test_components import assert_autoencoder_is_quantized, assert_told

CAPTIONS = ["a dog barks", 'Rain "falls"', "loud rain falls"]
FAMILIES = {
    "stable-audio-3": pipeline_directories.stable_audio_3,
    "ace-step": pipeline_directories.ace_step,
    "longcat-audiodit": pipeline_directories.longcat_audiodit,
}
DESCRIBED = {"stable-audio-3": STABLE_AUDIO_3, "ace-step": ACE_STEP, "longcat-audiodit": LONGCAT_AUDIODIT}
SECONDS = 0.4


@pytest.fixture(scope="module")
def pipes() -> dict[str, Any]:
    return {name: pipeline_directories.seeded(make) for name, make in FAMILIES.items()}


@pytest.fixture(scope="module")
def folders(pipes: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flow")
    for name, pipeline in pipes.items():
        pipeline.save_pretrained(folder / name)
    return folder


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADMBENCH_CACHE", str(tmp_path / "cache"))


def ours(folder: Path, seconds: float = SECONDS) -> Any:
    model = load_model(f"dir:{folder}")
    model.set_seconds(seconds)
    return model


def noise(model: Any, seed: int) -> tuple[torch.Tensor, torch.Generator]:
    """A clip's noise, and its generator after that."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, *model.card.latent_shape, generator=generator), generator


def assert_close(made: np.ndarray, expected: np.ndarray) -> None:
    assert made.shape == expected.shape
    assert np.abs(expected).max() > 0
    assert np.abs(made - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("caption", CAPTIONS)
@pytest.mark.parametrize("guidance", [1.0, 4.0])
@pytest.mark.parametrize("distilled", [True, False])
def test_stable_audio_3_makes_what_its_pipeline_makes(pipes, tmp_path, caption, guidance, distilled):
    theirs = pipeline_directories.seeded(pipeline_directories.stable_audio_3, distilled=distilled)
    theirs.save_pretrained(tmp_path / "saved")
    model = ours(tmp_path / "saved", 0.41)
    start, generator = noise(model, 11)
    expected = theirs(
        [caption],
        duration=0.41,
        num_inference_steps=5,
        guidance_scale=guidance,
        latents=start,
        generator=[generator],
        output_type="np",
    ).audios[0]
    assert expected.shape == (2, int(0.41 * 256))
    assert_close(model.generate([caption], [11], steps=5, guidance=guidance)[0], expected)


@pytest.mark.parametrize("caption", CAPTIONS)
@pytest.mark.parametrize("guidance", [1.0, 7.0])
def test_ace_step_makes_what_its_pipeline_makes(folders, pipes, caption, guidance):
    model = ours(folders / "ace-step")
    start, _ = noise(model, 11)
    expected = pipes["ace-step"](
        [caption],
        audio_duration=SECONDS,
        num_inference_steps=5,
        guidance_scale=guidance,
        latents=start,
        output_type="np",
    ).audios[0]
    assert np.abs(expected).max() == pytest.approx(10 ** (-1 / 20))
    assert_close(model.generate([caption], [11], steps=5, guidance=guidance)[0], expected)


@pytest.mark.parametrize("caption", CAPTIONS)
@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_longcat_makes_what_its_pipeline_makes(folders, pipes, caption, guidance):
    model = ours(folders / "longcat-audiodit")
    start, _ = noise(model, 11)
    expected = pipes["longcat-audiodit"](
        [caption], num_inference_steps=5, guidance_scale=guidance, latents=start
    ).audios[0, 0]
    assert_close(model.generate([caption], [11], steps=5, guidance=guidance)[0], expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_caption_means_the_same_in_any_company(folders, family):
    """In a call of ACE-Step's or LongCat's pipeline with several prompts it does not: their padding is heard."""
    model = ours(folders / family)
    together = model.latents(CAPTIONS, [1, 2, 3], steps=3, guidance=3.0, batch_size=3)
    alone = model.latents(CAPTIONS, [1, 2, 3], steps=3, guidance=3.0, batch_size=1)
    assert torch.allclose(together, alone, atol=1e-4 * float(alone.abs().max()))
    same_noise = model.latents(CAPTIONS, [1, 1, 1], steps=3, guidance=1.0, batch_size=3)
    assert (same_noise[0] - same_noise[2]).abs().max() > 1e-3 * same_noise.abs().max()


@pytest.mark.parametrize(("family", "frames"), [("stable-audio-3", (4, 13)), ("ace-step", (10, 4))])
def test_a_clip_is_made_of_the_frames_that_cover_it_and_cut(folders, family, frames):
    model = ours(folders / family, SECONDS)
    assert model.card.latent_shape == frames
    assert model.generate(["rain"], [1], steps=1, guidance=1.0).shape == (1, 2, int(SECONDS * model.sample_rate))


@pytest.mark.parametrize(
    ("family", "longest"), [("stable-audio-3", 384.0), ("ace-step", 600.0), ("longcat-audiodit", 30.0)]
)
def test_a_clip_that_is_too_long_is_refused(folders, family, longest):
    model = ours(folders / family)
    with pytest.raises(UsageError, match=rf"generation\.seconds = {longest + 1:g}; expected .* at most {longest:g}"):
        model.set_seconds(longest + 1)


def test_time_is_labelled_in_thousandths_where_the_scheduler_counts_no_steps(folders):
    calls = list(ours(folders / "ace-step").trajectories(["rain"], seeds=[4], steps=4, guidance=7.0, batch_size=1))
    assert [call.timestep for call in calls] == [1000, 900, 750, 500]
    assert [float(call.inputs["timestep"][0]) for call in calls] == pytest.approx([1.0, 0.9, 0.75, 0.5])


def test_a_turbo_checkpoint_runs_without_guidance(tmp_path):
    pipeline_directories.seeded(pipeline_directories.ace_step, turbo=True).save_pretrained(tmp_path / "turbo")
    model = ours(tmp_path / "turbo")
    assert model.default_guidance == 1.0
    assert not next(model.trajectories(["rain"], seeds=[4], steps=1, guidance=3.0, batch_size=1)).guided
    with pytest.raises(UsageError, match=r"guidance = 3; it is in this checkpoint's weights: expected 1"):
        model.generate(["rain"], [4], steps=1, guidance=3.0)


@pytest.mark.parametrize("distilled", [True, False])
def test_stable_audio_3_takes_as_many_steps_as_its_scheduler_is_made_for(tmp_path, distilled):
    made = pipeline_directories.seeded(pipeline_directories.stable_audio_3, distilled=distilled)
    made.save_pretrained(tmp_path / "saved")
    assert ours(tmp_path / "saved").default_steps == (8 if distilled else 100)


@pytest.mark.parametrize("family", FAMILIES)
def test_sampling_is_the_pipelines_default(family):
    call = inspect.signature(pipeline_of(family).__call__).parameters
    found = DESCRIBED[family]
    assert found.default_guidance == call["guidance_scale"].default
    assert found.default_steps == (call["num_inference_steps"].default or 8)


def pipeline_of(family: str) -> Any:
    return getattr(diffusers, DESCRIBED[family].pipeline)


NEVER_RUN = {"stable-audio-3": "to_local_embed"}
"""Layers that only another task than generation runs."""


@pytest.mark.parametrize("family", FAMILIES)
def test_what_can_be_quantized_is_known_without_loading(folders, family):
    name = f"dir:{folders / family}"
    assert_told(name, load_model(name))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_backbone_goes_through_quantization(folders, family, tmp_path):
    model = ours(folders / family)
    spec = "naive@w8a8[prompts=2,timesteps=2,steps=2,guidance=3.0]"
    quantized, calibration = quantize_components(model, spec, prompts=CAPTIONS)["backbone"]
    assert calibration is not None
    assert len(calibration) == 2 * 2 * 2  # prompts, timesteps, halves of guidance
    assert all(NEVER_RUN.get(family, "-") in name for name in quantized.report.unquantized)
    full = model.latents(CAPTIONS, [1, 2, 3], steps=3, guidance=3.0, batch_size=2)
    quantized.pack(tmp_path / "checkpoint")
    model.backbone = load_backbone(tmp_path / "checkpoint")
    rounded = model.latents(CAPTIONS, [1, 2, 3], steps=3, guidance=3.0, batch_size=2)
    assert not torch.equal(full, rounded)
    assert (full - rounded).abs().mean() < 0.2 * full.abs().mean()


def test_ace_steps_encoder_of_conditions_goes_through_quantization(folders, tmp_path):
    model = ours(folders / "ace-step")
    before = model.encode_text(CAPTIONS, guided=False)["encoder_hidden_states"]
    spec = "naive@w8a8[prompts=3,timesteps=2,steps=2,guidance=3.0]"
    quantized, calibration = quantize_components(model, spec, ["condition_encoder"], prompts=CAPTIONS)[
        "condition_encoder"
    ]
    assert len(calibration) == 3
    assert not quantized.report.unquantized
    assert 8 in {layer.activation_bits for layer in quantized.report.layers}
    view = view_of(model, "condition_encoder")
    together = view.call_backbone(next(calibration.batches(3)))
    alone = torch.cat([view.call_backbone(inputs) for inputs in calibration.batches(1)])
    torch.testing.assert_close(together, alone)
    quantized.pack(tmp_path / "checkpoint", "condition_encoder")
    model.set_component("condition_encoder", load_backbone(tmp_path / "checkpoint"))
    after = model.encode_text(CAPTIONS, guided=False)["encoder_hidden_states"]
    assert 0 < (before - after).abs().mean() < 0.1 * before.abs().mean()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_text_encoder_goes_through_quantization(folders, family, tmp_path):
    model = ours(folders / family)
    before = model.encode_text(CAPTIONS, guided=False)["encoder_hidden_states"]
    spec = "naive@w8a8[prompts=2,timesteps=2,steps=2,guidance=3.0]"
    quantized, _ = quantize_components(model, spec, ["text_encoder"], prompts=CAPTIONS)["text_encoder"]
    assert not quantized.report.unquantized
    quantized.pack(tmp_path / "checkpoint", "text_encoder")
    model.set_component("text_encoder", load_backbone(tmp_path / "checkpoint"))
    after = model.encode_text(CAPTIONS, guided=False)["encoder_hidden_states"]
    assert 0 < (before - after).abs().mean() < 0.1 * before.abs().mean()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_autoencoder_goes_through_quantization(folders, family, tmp_path):
    assert_autoencoder_is_quantized(ours(folders / family), tmp_path)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_component_that_cannot_be_quantized_is_refused_without_loading(folders, family):
    text = "text_encoder, condition_encoder" if family == "ace-step" else "text_encoder"
    with pytest.raises(UsageError, match=rf"no vocoder that can be quantized; it has backbone, {text}, vae$"):
        check_components_of(f"dir:{folders / family}", ["vocoder"])


@pytest.mark.parametrize("family", FAMILIES)
def test_blocks_are_reconstructed_as_they_run(folders, family):
    model = ours(folders / family)
    spec = (
        "q-diffusion@w4a8[prompts=2,timesteps=2,steps=2,guidance=3.0,samples=4,batch=2,iterations=2,step_iterations=2]"
    )
    quantized, _ = quantize_components(model, spec, prompts=CAPTIONS)["backbone"]
    model.backbone = quantized.module
    assert torch.isfinite(model.latents(CAPTIONS, [1, 2, 3], steps=2, guidance=3.0, batch_size=2)).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_bfloat16_runs(folders, family):
    model = load_model(f"dir:{folders / family}", dtype="bfloat16")
    model.set_seconds(SECONDS)
    assert np.isfinite(model.generate(CAPTIONS[:1], [1], steps=2)).all()
