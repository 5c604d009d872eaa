"""Any component of a pipeline can be quantized by any method: calibrated, packed, loaded again, counted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import admbench
from admbench import methods
from admbench.bench.measurement.size import component_bytes
from admbench.bench.models import EMBEDDED, quantizable
from admbench.bench.models.component_view import view_of
from admbench.bench.models.components import COMPONENTS, check_components, components_of
from admbench.bench.models.quantization import (
    DrawnSet,
    checkpoint_folders,
    draw_seed,
    quantize_components,
)
from admbench.errors import CheckpointError, UsageError
from admbench.methods.core.checkpoint.architectures import is_allowed
from admbench.methods.core.checkpoint.header import sealed
from admbench.methods.core.checkpoint.reading import load as load_network
from admbench.methods.core.layers.quantized import QuantizedLayer

from .in_process import JUDGES, Here

SPEC = "naive@w4a8[prompts=2,timesteps=2,steps=2]"
PROMPTS = ["a dog barks", "rain falls"]


def clips(model):
    return admbench.generate(model, PROMPTS, [1, 2], steps=2)


@pytest.fixture(scope="module")
def tango():
    return admbench.load_model("tiny-tango")


def test_the_calls_of_a_component_are_those_of_a_pipeline(tango):
    calls = list(view_of(tango, "vae").trajectories(PROMPTS, seeds=[1, 2], steps=2, guidance=3.0, batch_size=2))
    assert [(call.prompt_indices, call.guided) for call in calls] == [((0, 1), False)]
    latents = tango.latents(PROMPTS, [1, 2], steps=2, guidance=3.0, batch_size=2)
    scaled = latents / tango.components["vae"].config.scaling_factor
    torch.testing.assert_close(calls[0].inputs, {"z": scaled})
    (told,) = view_of(tango, "text_encoder").trajectories(PROMPTS, seeds=[1, 2], steps=2, guidance=3.0, batch_size=2)
    assert told.guided
    assert {name: len(tensor) for name, tensor in told.inputs.items()} == {"input_ids": 4, "attention_mask": 4}
    states = view_of(tango, "text_encoder").call_backbone(told.inputs)
    torch.testing.assert_close(states, tango.encode_text(PROMPTS, guided=True)["encoder_hidden_states"])


def test_of_the_backbone_a_method_sees_the_model_itself(tango):
    assert view_of(tango, "backbone") is tango


@pytest.mark.parametrize("name", ["tiny-audioldm", "tiny-tango", "tiny-make-an-audio"])
def test_all_components_come_back_from_a_packed_checkpoint_bit_for_bit(name, tmp_path):
    before = clips(admbench.load_model(name))
    quantized = admbench.quantize(admbench.load_model(name), SPEC, components=["all"])
    assert list(quantized.components) == ["backbone", "text_encoder", "vae"]
    admbench.save_checkpoint(quantized, tmp_path / "packed")
    assert list(checkpoint_folders(tmp_path / "packed")) == ["backbone", "text_encoder", "vae"]
    heard = clips(quantized.model)
    np.testing.assert_array_equal(clips(admbench.load_checkpoint(tmp_path / "packed")), heard)
    assert not np.array_equal(heard, before)


def test_only_what_was_asked_for_is_quantized_and_alone_it_gets_the_bits_of_the_spec(tmp_path):
    quantized = admbench.quantize(admbench.load_model("tiny-tango"), SPEC, components=["vae"])
    admbench.save_checkpoint(quantized, tmp_path / "packed")
    model = admbench.load_checkpoint(tmp_path / "packed")
    assert min(bits_of(model, "vae")) == 4  # first and last layers keep 8
    for name in ("backbone", "text_encoder"):
        assert not bits_of(model, name)
    report = quantized.components["vae"].report
    assert not report.unquantized
    inputs = {layer.name: layer.activation_bits for layer in report.layers}
    weights_alone = {name for name, bits in inputs.items() if bits is None}
    encoder = {name for name in inputs if name.startswith(("encoder.", "quant_conv"))}
    assert weights_alone == encoder, "no clip runs it"


def bits_of(model, component):
    layers = (layer for layer in model.components[component].modules() if isinstance(layer, QuantizedLayer))
    return {layer.scheme.weight.bits for layer in layers}


def test_beside_the_backbone_other_components_keep_eight_bits():
    quantized = quantize_components(admbench.load_model("tiny-tango"), SPEC, ["backbone", "vae"])
    bits = {name: {layer.weight_bits for layer in one.network.report.layers} for name, one in quantized.items()}
    assert max(bits["vae"]) == 8
    assert min(bits["backbone"]) == 4


def test_what_a_method_leaves_alone_of_the_layers_that_run_stays_in_floating_point():
    method = "naive@w4a8[first_last_bits=16,prompts=2,timesteps=2,steps=2]"
    quantized = quantize_components(admbench.load_model("tiny-tango"), method, ["vae"])["vae"]
    assert len(quantized.network.report.unquantized) == 2


def test_a_method_without_bits_is_one_of_the_backbone(plugins):
    assert list(quantize_components(admbench.load_model("fake-adm"), "bf16", ["all"])) == ["backbone"]


def test_a_table_of_tokens_that_two_places_share_is_stored_once_and_still_shared(tango, tmp_path):
    quantized = quantize_components(tango, SPEC, ["text_encoder"])
    quantized["text_encoder"].network.pack(tmp_path / "packed", "text_encoder")
    header = json.loads((tmp_path / "packed" / "quantization.json").read_text())
    assert header["component"] == "text_encoder"
    stored = [name for name in header["tensors"] if "shared" in name or "embed_tokens" in name]
    assert sorted(stored) == ["shared.weight_codes", "shared.weight_scale", "shared.weight_zero_point"]
    from admbench.methods.core.checkpoint.reading import load

    loaded = load(tmp_path / "packed")
    assert loaded.shared is loaded.encoder.embed_tokens


def test_a_table_that_two_places_share_counts_once_in_full_precision_too():
    model = admbench.load_model("tiny-tango")
    numbers = sum(parameter.numel() for parameter in model.components["text_encoder"].parameters())
    assert component_bytes(model)["text_encoder"] == 4 * numbers


def test_a_set_that_was_drawn_before_is_taken_by_its_key_alone(tango, tmp_path):
    method = methods.from_spec("naive@w4a8[prompts=1,timesteps=1,steps=2]")
    key = method.calibration_key(tango, ["rain"], seed=draw_seed(0, 0))
    drawn = method.calibrate(tango, ["rain"], seed=draw_seed(0, 0))
    replace(drawn, seconds=123.0).save(tmp_path / "set")
    for offered, seconds in ((key, True), ("0" * 64, False)):
        given = {"backbone": DrawnSet(offered, tmp_path / "set")}
        quantized = quantize_components(tango, method.spec, prompts=["rain"], drawn=given)["backbone"]
        assert (quantized.calibration.seconds == 123.0) is seconds


def test_a_component_of_another_configuration_or_in_anothers_place_is_refused(tmp_path):
    admbench.save_checkpoint(
        admbench.quantize(admbench.load_model("tiny-tango"), SPEC, components=["vae"]), tmp_path / "packed"
    )
    file = tmp_path / "packed" / "vae" / "quantization.json"
    header = json.loads(file.read_text())
    header["backbone"]["config"]["scaling_factor"] *= 2
    file.write_text(json.dumps(sealed(header)))
    with pytest.raises(CheckpointError, match=r"backbone\.config\.scaling_factor: expected the model's own value"):
        admbench.load_checkpoint(tmp_path / "packed")
    (tmp_path / "packed" / "vae").rename(tmp_path / "packed" / "text_encoder")
    with pytest.raises(CheckpointError, match="component: expected text_encoder, found vae"):
        admbench.load_checkpoint(tmp_path / "packed")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["vocodr"], 'unknown component "vocodr".*vocoder'),
        (["vae", "vae"], "listed twice"),
        ([], f"expected some of {', '.join(COMPONENTS)}, or all"),
    ],
)
def test_names_that_mean_nothing_are_refused(names, message):
    with pytest.raises(ValueError, match=message):
        check_components(names)


def test_a_component_that_the_model_lacks_is_a_usage_error():
    with pytest.raises(UsageError, match="no vocoder that can be quantized; it has backbone, text_encoder, vae"):
        components_of("tiny-tango", ["backbone", "text_encoder", "vae"], ["vocoder"])


@pytest.mark.parametrize("name", EMBEDDED)
def test_what_can_be_quantized_is_known_without_loading(name):
    assert_told(name, admbench.load_model(name))


def assert_told(name, model):
    found = [part for part in COMPONENTS if part in model.components and is_allowed(model.components[part])]
    assert list(quantizable(name)) == found


def assert_autoencoder_is_quantized(model, folder):
    """All that a clip runs of it at 8 bits, the encoder by its weights alone, packed, loaded, and nearly the same."""
    before = clips(model)
    quantized, _ = quantize_components(model, SPEC.replace("w4", "w8"), ["vae"], prompts=PROMPTS)["vae"]
    assert not quantized.report.unquantized
    inputs = {layer.name: layer.activation_bits for layer in quantized.report.layers}
    assert {bits for name, bits in inputs.items() if "encoder" in name.split(".")[0]} == {None}
    assert 8 in inputs.values()
    quantized.pack(folder / "packed", "vae")
    model.set_component("vae", quantized.module)
    heard = clips(model)
    model.set_component("vae", load_network(folder / "packed"))
    np.testing.assert_array_equal(clips(model), heard)
    assert 0 < np.abs(before - heard).mean() < 0.3 * np.abs(before).mean()


def test_a_run_of_a_component_that_a_model_lacks_is_refused_before_it_begins(make_grid):
    from admbench.bench.run.runner import run_grid

    grid = make_grid(models=["tiny-audioldm", "tiny-tango"], methods=[SPEC], components=["vocoder"], limit=4)
    with pytest.raises(UsageError, match=r"tiny-audioldm has no vocoder .*; it has backbone, text_encoder, vae"):
        run_grid(grid, command="bench run")
    assert not grid.out.exists()


def test_a_checkpoint_of_random_weights_is_loaded_into_the_same_random_weights(tmp_path, monkeypatch):
    drawn = admbench.load_model("tiny-tango", random_weights=True)
    assert drawn.weights_sha256 != admbench.load_model("tiny-tango").weights_sha256
    quantized = admbench.quantize(drawn, SPEC, components=["vae"])  # the backbone is none of the checkpoint's
    admbench.save_checkpoint(quantized, tmp_path / "packed")
    again = admbench.load_checkpoint(tmp_path / "packed")
    assert again.random_weights
    np.testing.assert_array_equal(clips(again), clips(quantized.model))
    monkeypatch.setattr("diffusers.__version__", "0.0.1")
    with pytest.raises(CheckpointError, match="other versions of torch, diffusers or transformers drew"):
        admbench.load_checkpoint(tmp_path / "packed")


def test_a_study_takes_a_plugin_with_the_components_that_it_says(plugins):
    from admbench.bench.studies.components import components_by_model

    found = components_by_model(["tiny-tango", "fake-adm"])
    assert found == {"backbone": ("tiny-tango", "fake-adm"), "text_encoder": ("tiny-tango",), "vae": ("tiny-tango",)}


@pytest.mark.slow(100)
def test_each_component_alone_is_a_run_and_a_row_of_the_table(plugins, tmp_path: Path):
    from admbench.bench.studies.components import run_components
    from admbench.leaderboard.component_table import component_rows
    from admbench.leaderboard.reading import read_runs

    study = tmp_path / "study"
    results = run_components(["tiny-tango"], [SPEC], study, limit=4, steps=2, command="bench components")
    assert [result.reason for result in results] == [None, None, None]
    rows = component_rows(item.record for item in read_runs([study / name for name in ("backbone", "text_encoder")]))
    assert [(row.component, row.method, row.n) for row in rows] == [("backbone", SPEC, 4), ("text_encoder", SPEC, 4)]
    assert all(row.bytes < row.baseline_bytes for row in rows)
    assert all(score.value is not None for row in rows for score in row.scores.values())
    lent = [next((study / name).glob("baselines/*/captions.json")) for name in ("backbone", "vae")]
    assert lent[0].samefile(lent[1]), "full precision was not generated again"


def test_a_run_quantizes_and_records_each_component(plugins, make_grid, tmp_path: Path):
    from admbench.bench.run.runner import run_grid
    from admbench.files import read_json

    grid = make_grid(models=["tiny-tango"], methods=["fp32", SPEC], components=["backbone", "vae"], limit=2)
    results = run_grid(grid, command="bench run", judges=JUDGES, executor=Here())
    assert [result.reason for result in results] == [None, None]
    records = {record["method"]["spec"]: record for record in map(read_json, grid.out.glob("cells/*/*/result.json"))}
    assert records["fp32"]["method"]["components"] == ["backbone"]
    record = records[SPEC]
    assert record["method"]["components"] == ["backbone", "vae"]
    names = [layer["name"] for layer in record["method"]["layers"]]
    assert "conv_in" in names
    assert "vae/decoder.conv_in" in names
    size, before = record["size"], records["fp32"]["size"]
    assert size["pipeline"]["bytes"] == sum(size["components"].values())
    assert size["pipeline"]["baseline_bytes"] == before["pipeline"]["bytes"]
    assert size["components"]["text_encoder"] == before["components"]["text_encoder"]
    assert size["components"]["vae"] < before["components"]["vae"]
    assert size["checkpoint_bytes"] == size["components"]["backbone"] + size["components"]["vae"]
