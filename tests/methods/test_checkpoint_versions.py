"""A stored checkpoint of each format version loads, and computes what it did when it was written, forever."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from admbench import methods
from admbench.bench.conformance.tiny_models import tiny_tango
from admbench.errors import CheckpointError
from admbench.methods.core.checkpoint.header import read_header, sealed
from admbench.methods.core.checkpoint.reading import load
from admbench.methods.core.checkpoint.writing import pack
from admbench.methods.core.kernels import with_kernels
from admbench.methods.core.layers.quantized import quantized_layers

from .rounding import FLIPS, assert_layers_agree
from .tiny_components import COMPONENTS, output_of

STORED = Path(__file__).parent / "checkpoints"


@pytest.mark.parametrize("component", ["text_encoder", "vocoder"])
def test_what_a_version_does_not_have_is_refused_in_its_name(component, tmp_path):
    folder = shutil.copytree(STORED / "version-3" / component, tmp_path / "older")
    header = folder / "quantization.json"
    header.write_text(json.dumps(json.loads(header.read_text()) | {"format_version": 2}))
    with pytest.raises(CheckpointError, match="version 2 has no corrections and no conv_transpose1d"):
        read_header(folder)


def test_a_version_has_the_hash_of_its_header_or_none(tmp_path):
    for version, change in ((3, {"sha256": "0" * 64}), (4, {"sha256": "0" * 64}), (5, {"sha256": None})):
        folder = shutil.copytree(STORED / f"version-{version}" / "vocoder", tmp_path / str(version))
        header = folder / "quantization.json"
        header.write_text(json.dumps(json.loads(header.read_text()) | change))
        with pytest.raises(CheckpointError, match=r"sha256: expected .*; the header was changed"):
            read_header(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"granularity": "group", "group_size": 2},
        {"codebook": "nf4", "bits": 4, "symmetric": True},
        {"zero": "float", "symmetric": False},
    ],
)
def test_the_first_version_has_static_uniform_schemes_alone(change, tmp_path):
    folder = shutil.copytree(STORED / "version-1", tmp_path / "first")
    path = folder / "quantization.json"
    header = json.loads(path.read_text())
    header["layers"][min(header["layers"])]["weight"].update(change)
    path.write_text(json.dumps(header))
    with pytest.raises(CheckpointError, match="version 1 has no schemes but static uniform ones"):
        read_header(folder)


@pytest.mark.parametrize("version", [1, 2])
def test_a_stored_checkpoint_of_a_format_version_still_loads(version, audioldm):
    folder = STORED / f"version-{version}"
    assert read_header(folder).format_version == version
    audioldm.backbone = load(folder)
    stored = load_file(folder / "expected.safetensors")
    inputs = {name.removeprefix("inputs."): tensor for name, tensor in stored.items() if name != "output"}
    with torch.no_grad():
        # another processor sums in another order, and a code flips here and there
        torch.testing.assert_close(audioldm.call_backbone(inputs), stored["output"], rtol=0.05, atol=0.02)


@pytest.mark.parametrize("version", [3, 4, 5])
@pytest.mark.parametrize("component", COMPONENTS)
def test_a_stored_checkpoint_still_loads_embeddings_and_transposed_convolutions(component, version):
    folder = STORED / f"version-{version}" / component
    header = read_header(folder)
    assert (header.format_version, header.component) == (version, component)
    expected = {"text_encoder": "embedding", "vocoder": "conv_transpose1d"}[component]
    assert expected in {layer.kind for layer in header.layers.values()}
    stored = load_file(folder / "expected.safetensors")
    torch.testing.assert_close(output_of(load(folder), stored["inputs"]), stored["output"], rtol=1e-3, atol=1e-4)


def test_a_stored_checkpoint_still_loads_inputs_that_are_clipped_by_timestep(audioldm):
    folder = STORED / "version-7"
    header = read_header(folder)
    assert header.format_version == 7
    assert {layer.parts.timesteps for layer in header.layers.values() if layer.clipped} == {1, 3}
    audioldm.backbone = load(folder)
    stored = load_file(folder / "expected.safetensors")
    inputs = {name.removeprefix("inputs."): tensor for name, tensor in stored.items() if name != "output"}
    torch.testing.assert_close(audioldm.call_backbone(inputs), stored["output"], rtol=0.05, atol=0.05)


def test_a_stored_checkpoint_still_loads_rotated_inputs():
    folder = STORED / "version-6" / "text_encoder"
    header = read_header(folder)
    assert header.format_version == 6
    assert {layer.parts.rotation for layer in header.layers.values()} == {4}
    stored = load_file(folder / "expected.safetensors")
    torch.testing.assert_close(output_of(load(folder), stored["inputs"]), stored["output"], rtol=1e-3, atol=1e-4)


def test_rotations_have_a_version_of_their_own_and_files_without_them_do_not_know_the_key(tmp_path):
    for version, change in ((5, {"format_version": 5}), (6, {})):
        folder = shutil.copytree(STORED / "version-6" / "text_encoder", tmp_path / str(version))
        header = folder / "quantization.json"
        header.write_text(json.dumps(sealed(json.loads(header.read_text()) | change)))
        if version == 5:
            with pytest.raises(CheckpointError, match="version 5 has no rotated inputs"):
                read_header(folder)
        else:
            assert read_header(folder).layers
    method = methods.from_spec("convrot@w8a8[rotation=0]")
    method.quantize(tiny_tango(), None).pack(tmp_path / "plain")
    assert '"format_version": 5' in (tmp_path / "plain" / "quantization.json").read_text()
    assert "rotation" not in json.dumps(json.loads((tmp_path / "plain" / "quantization.json").read_text())["layers"])


@pytest.mark.attack("packed checkpoint, edited to fit its hashes")
@pytest.mark.parametrize("size", [3, 16, -4, 2**40])
def test_a_rotation_that_cannot_be_is_refused(size, tmp_path):
    folder = shutil.copytree(STORED / "version-6" / "text_encoder", tmp_path / "packed")
    path = folder / "quantization.json"
    header = json.loads(path.read_text())
    name = min(header["layers"])
    header["layers"][name]["parts"]["rotation"] = size
    path.write_text(json.dumps(sealed(header)))
    with pytest.raises(CheckpointError, match=r"layers\..*rotat"):
        load(folder)


def test_every_part_comes_back_bit_for_bit(everything, audioldm, predict, tmp_path):
    module, method, source = everything
    pack(tmp_path / "checkpoint", module, method, source)
    loaded = load(tmp_path / "checkpoint")
    assert torch.equal(predict(audioldm, loaded), predict(audioldm, module))
    before, after = (quantized_layers(network) for network in (module, loaded))
    assert {name: (layer.scheme, layer.parts) for name, layer in before.items()} == {
        name: (layer.scheme, layer.parts) for name, layer in after.items()
    }


@pytest.mark.attack("packed checkpoint, edited to fit its hashes")
@pytest.mark.parametrize(
    ("part", "number", "reason"),
    [
        ("input_scale", 0.0, "holds an input scale that is not positive"),
        ("activation_quantizer.timesteps", 999.0, "holds a timesteps that its scheme does not allow"),
    ],
)
def test_a_part_that_cannot_be_is_refused_with_the_tensor_named(everything, part, number, reason, tmp_path):
    module, method, source = everything
    names = [name for name in module.state_dict() if name.endswith(f".{part}")]
    module.state_dict()[names[0]].view(-1)[0] = number
    pack(tmp_path / "packed", module, method, source)
    with pytest.raises(CheckpointError, match=f"tensor {names[0].replace('_quantizer.', '_')}: {reason}"):
        load(tmp_path / "packed")


@pytest.mark.attack("packed checkpoint, edited to fit its hashes")
@pytest.mark.parametrize(
    "change",
    [
        {"granularity": "channel"},
        {"granularity": "group", "group_size": 2},
        {"zero": "float"},
        {"codebook": "nf4", "bits": 4, "symmetric": True},
        {"codebook": "e4m3", "symmetric": True, "dynamic": True, "granularity": "token"},
    ],
)
def test_a_scheme_that_an_operand_of_attention_does_not_have_is_refused(everything, change, tmp_path):
    module, method, source = everything
    pack(tmp_path / "packed", module, method, source)
    path = tmp_path / "packed" / "quantization.json"
    header = json.loads(path.read_text())
    (name,) = header["attentions"]
    header["attentions"][name]["query"].update(change)
    path.write_text(json.dumps(sealed(header)))
    with pytest.raises(CheckpointError, match=rf"quantization.json: attentions\.{name}: no such attention to quantize"):
        load(tmp_path / "packed")


def test_layers_that_no_kernel_knows_are_simulated_with_the_reason_and_compute_the_same(everything, audioldm, predict):
    module, _, _ = everything
    chosen = with_kernels(module, glue="float32")
    expected, out = predict(audioldm, module), predict(audioldm, chosen.module)
    assert (out - expected).pow(2).mean() <= FLIPS * expected.pow(2).mean()
    layers = with_kernels(module, glue="float32", streamlined=False).module
    assert_layers_agree(module, layers, lambda: predict(audioldm, module))
    assert all(fallback.reason for fallback in chosen.fallbacks)


@pytest.mark.parametrize("change", [{"codebook": "e4m3"}, {"bits": 4, "codebook": "e2m1", "scales": "e8m0"}])
def test_an_older_version_has_no_number_formats(change, tmp_path):
    folder = shutil.copytree(STORED / "version-3" / "vocoder", tmp_path / "older")
    path = folder / "quantization.json"
    header = json.loads(path.read_text())
    scheme = header["layers"][min(header["layers"])]["weight"]
    grouped = {"granularity": "group", "group_size": 4} if "scales" in change else {"granularity": "channel"}
    scheme.update(change | grouped | {"symmetric": True})
    path.write_text(json.dumps(header))
    with pytest.raises(CheckpointError, match="version 3 has no number formats"):
        read_header(folder)
