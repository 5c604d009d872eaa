"""Packed checkpoints: the same numbers back, the bytes they should take, and nothing damaged or hostile let in."""

import json
import shutil
import struct
from hashlib import sha256

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from admbench.errors import CheckpointError
from admbench.files import directory_bytes
from admbench.methods.core.checkpoint.header import READABLE_VERSIONS, read_header, sealed
from admbench.methods.core.checkpoint.reading import load
from admbench.methods.core.checkpoint.writing import pack
from admbench.methods.core.layers.quantized import quantized_layers

SPECS = ["fp32", "bf16", "naive@w16a16", "naive@w16a8", "naive@w4a16", "naive@w4a8[weights=tensor]"]
SPECS += [f"naive@w{bits}a{bits}" for bits in range(2, 9)]


@pytest.mark.parametrize("spec", SPECS)
def test_a_loaded_backbone_gives_the_same_output_bit_for_bit(model, quantize, predict, tmp_path, spec):
    result = quantize(model, spec)
    in_memory = predict(model, result.module)
    result.pack(tmp_path / "checkpoint")
    loaded = load(tmp_path / "checkpoint")
    shutil.rmtree(tmp_path / "checkpoint")
    assert type(loaded) is type(model.backbone)
    assert torch.equal(predict(model, loaded), in_memory)
    expected, state = result.module.state_dict(), loaded.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], expected[name]) for name in expected)


def test_the_header_says_what_it_is(audioldm, quantize, tmp_path):
    quantize(audioldm, "naive@w4a8[weights=tensor]").pack(tmp_path)
    header = read_header(tmp_path)
    assert header.method.spec == "naive@w4a8[prompts=2,timesteps=2,steps=2,weights=tensor]"
    assert header.method.config["weights"] == "tensor"
    assert header.source.model == "tiny-audioldm"
    assert header.source.weights_sha256 == audioldm.weights_sha256
    assert header.source.license == "Apache-2.0"
    assert header.backbone.architecture == "UNet2DConditionModel"
    assert header.layers["conv_in"].weight.bits == 8
    assert header.layers["time_embedding.linear_1"].weight.bits == 4


def test_packing_twice_gives_the_same_bytes(audioldm, quantize, tmp_path):
    for name in ("first", "second"):
        quantize(audioldm, "naive@w3a8").pack(tmp_path / name)
    for file in ("model.safetensors", "quantization.json"):
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()


@pytest.mark.parametrize("bits", range(2, 9))
def test_codes_take_their_bits_on_disk(audioldm, quantize, tmp_path, bits):
    result = quantize(audioldm, f"naive@w{bits}a16")
    result.pack(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    for name, layer in quantized_layers(result.module).items():
        width = 8 if name in ("conv_in", "conv_out") else bits
        assert stored[f"{name}.weight_codes"].numel() == -(-layer.weight_codes.numel() * width // 8)
        assert f"{name}.weight" not in stored


def test_the_size_is_that_of_the_files(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "one").write_bytes(bytes(7))
    (tmp_path / "inner" / "two").write_bytes(bytes(5))
    assert directory_bytes(tmp_path) == 12


def test_a_backbone_of_an_unknown_class_cannot_be_packed(audioldm, quantize, tmp_path):
    result = quantize(audioldm, "fp32")
    with pytest.raises(CheckpointError, match="a Linear cannot be written"):
        pack(tmp_path / "checkpoint", nn.Linear(2, 2), result.method, result.source)


def test_what_could_not_be_loaded_is_not_written(audioldm, quantize, tmp_path):
    result = quantize(audioldm, "naive@w4a8")
    result.pack(tmp_path / "checkpoint")
    before = (tmp_path / "checkpoint" / "model.safetensors").read_bytes()
    with torch.no_grad():
        result.module.conv_norm_out.bias[0] = float("nan")
    with pytest.raises(CheckpointError, match=r"tensor conv_norm_out\.bias holds NaN"):
        result.pack(tmp_path / "checkpoint")
    assert (tmp_path / "checkpoint" / "model.safetensors").read_bytes() == before


def test_a_place_that_cannot_be_written_is_one_line(audioldm, quantize, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CheckpointError, match="cannot be written"):
        quantize(audioldm, "fp32").pack(tmp_path / "file" / "checkpoint")


# What follows is what a stranger, or a failing disk, may hand us.


class Tampering:
    """A good checkpoint, and ways to spoil it."""

    def __init__(self, folder):
        self.folder = folder
        self.header_file = folder / "quantization.json"
        self.tensor_file = folder / "model.safetensors"

    def edit_header(self, change):
        header = json.loads(self.header_file.read_text())
        change(header)
        self.header_file.write_text(json.dumps(sealed(header)))

    def edit_tensors(self, change, rehash=True):
        """Change the tensors; with `rehash`, as someone would who knows how to make the hashes fit."""
        tensors = {name: tensor.clone() for name, tensor in load_file(self.tensor_file).items()}
        change(tensors)
        save_file(tensors, self.tensor_file)
        if rehash:
            hashes = {
                name: sha256(tensor.reshape(-1).view(torch.uint8).numpy().tobytes()).hexdigest()
                for name, tensor in tensors.items()
            }
            self.edit_header(lambda header: header.update(tensors=hashes))

    def refusal(self):
        with pytest.raises(CheckpointError) as error:
            load(self.folder)
        assert "\n" not in str(error.value)
        return str(error.value)


@pytest.fixture(scope="module")
def good(make_audioldm, quantize, tmp_path_factory):
    folder = tmp_path_factory.mktemp("good") / "checkpoint"
    quantize(make_audioldm(), "naive@w4a8").pack(folder)
    return folder


@pytest.fixture
def checkpoint(good, tmp_path):
    return Tampering(shutil.copytree(good, tmp_path / "checkpoint"))


def test_the_checkpoint_that_is_tampered_with_below_is_good(checkpoint):
    checkpoint.edit_tensors(lambda tensors: None)
    load(checkpoint.folder)


def test_a_folder_that_is_no_checkpoint(tmp_path):
    assert "not a packed checkpoint" in Tampering(tmp_path).refusal()
    assert "not a packed checkpoint" in Tampering(tmp_path / "nothing").refusal()


@pytest.mark.attack("packed checkpoint, damaged")
@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format_version": NaN}', "{}", "\x00\xff"])
def test_a_header_that_is_none(checkpoint, text):
    checkpoint.header_file.write_text(text)
    assert "quantization.json" in checkpoint.refusal()


@pytest.mark.attack("packed checkpoint, damaged")
def test_a_header_of_more_than_16_mebibytes(checkpoint):
    with checkpoint.header_file.open("a") as file:
        file.truncate(16 * 2**20 + 1)
    assert "quantization.json: larger than 16777216 bytes" in checkpoint.refusal()


@pytest.mark.attack("packed checkpoint, damaged")
@pytest.mark.parametrize("version", [0, READABLE_VERSIONS[-1] + 1, "1", None])
def test_an_unknown_format_version(checkpoint, version):
    checkpoint.edit_header(lambda header: header.update(format_version=version))
    assert f"format version {version!r} is not known" in checkpoint.refusal()


def _layer(header):
    return header["layers"]["time_embedding.linear_1"]


@pytest.mark.attack("packed checkpoint, edited to fit its hashes")
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda header: header.update(extra=1), "extra"),
        (lambda header: header.pop("source"), "source"),
        (lambda header: header["source"].update(weights_sha256="x"), "source.weights_sha256"),
        (lambda header: header.update(component="scheduler"), "component"),
        (lambda header: _layer(header)["weight"].update(bits=9), "bits"),
        (lambda header: _layer(header)["weight"].update(bits=4.0), "bits"),
        (lambda header: _layer(header)["weight"].update(granularity="row"), "granularity"),
        (lambda header: _layer(header).update(kind="conv2d"), "layers.time_embedding.linear_1: expected a linear"),
        (lambda header: _layer(header).update(shape=[1]), "layers.time_embedding.linear_1: expected a linear"),
        (lambda header: _layer(header).update(weight=None, activation=None), "quantizes nothing"),
        (lambda header: header["layers"].update({"no.such": _layer(header)}), "layers.no.such"),
        (lambda header: header["layers"].update({"conv_norm_out": _layer(header)}), "layers.conv_norm_out"),
        (lambda header: header["layers"].update({"../../etc/passwd": _layer(header)}), "etc/passwd"),
        (lambda header: header["tensors"].update({"../../etc/passwd": "0" * 64}), "etc/passwd"),
        (
            lambda header: header["backbone"].update(architecture="DiffusionPipeline"),
            '"DiffusionPipeline" is not allowed',
        ),
        (lambda header: header["backbone"].update(architecture="os.system"), "is not allowed"),
        (lambda header: header["backbone"].update(dtype="float64"), "backbone.dtype"),
        (lambda header: header["backbone"].update(dtype="bfloat16"), "quantized layers compute in float32"),
        (lambda header: header["backbone"]["config"].update(in_chanels=8), 'Did you mean "in_channels"?'),
        (lambda header: header["backbone"]["config"].update(norm_num_groups=3), "cannot be built"),
        (lambda header: header["backbone"]["config"].update(act_fn="__import__"), "cannot be built"),
        (lambda header: header["backbone"]["config"].update(layers_per_block=10**9), "more layers"),
        (lambda header: header["backbone"]["config"].update(layers_per_block=[1, 10**9]), "more layers"),
        (lambda header: header["backbone"]["config"].update(in_channels=4), "layers.conv_in: expected a conv2d"),
    ],
)
def test_a_header_that_was_edited(checkpoint, change, reason):
    checkpoint.edit_header(change)
    message = checkpoint.refusal()
    assert "quantization.json" in message
    assert reason in message


@pytest.mark.attack("packed checkpoint, damaged")
@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "header length", "a pickle"])
def test_a_tensor_file_that_is_none(checkpoint, damage):
    whole = checkpoint.tensor_file.read_bytes()
    if damage == "missing":
        checkpoint.tensor_file.unlink()
    else:
        spoiled = {
            "empty": b"",
            "truncated": whole[:-10],
            "header length": struct.pack("<Q", 2**60) + whole[8:],
            "a pickle": b"\x80\x04\x95" + whole,
        }
        checkpoint.tensor_file.write_bytes(spoiled[damage])
    message = checkpoint.refusal()
    assert "model.safetensors" in message
    assert "cannot be read" in message


def test_of_several_faults_the_first_in_the_order_of_the_page_is_said(checkpoint):
    good = json.loads(checkpoint.header_file.read_text())
    whole = checkpoint.tensor_file.read_bytes()
    checkpoint.edit_tensors(lambda tensors: tensors["conv_in.bias"].add_(1), rehash=False)
    changed = checkpoint.tensor_file.read_bytes()

    def said(tensors, *changes):
        checkpoint.tensor_file.write_bytes(tensors)
        checkpoint.header_file.write_text(json.dumps(good))
        checkpoint.edit_header(lambda header: [change(header) for change in changes])
        return checkpoint.refusal()

    of_tensors = [lambda header: header["tensors"].update({"more": "0" * 64})]
    of_layers = [lambda header: _layer(header).update(kind="conv2d"), *of_tensors]
    of_network = [lambda header: header["backbone"].update(architecture="os.system"), *of_layers]
    of_header = [lambda header: header.update(extra=1), *of_network]
    assert "extra" in said(whole[:-10], *of_header)
    assert "cannot be read" in said(whole[:-10], *of_network)
    assert "is not allowed" in said(changed, *of_network)
    assert "expected a linear" in said(changed, *of_layers)
    assert "more" in said(changed, *of_tensors)
    assert "do not have the SHA-256" in said(changed)


CODES = "time_embedding.linear_1.weight_codes"
SCALE = "time_embedding.linear_1.weight_scale"
ZERO_POINT = "time_embedding.linear_1.weight_zero_point"


def _set(name, value, index=0):
    def change(tensors):
        tensors[name].reshape(-1)[index] = value

    return change


def _replace(name, make):
    return lambda tensors: tensors.update({name: make(tensors[name])})


@pytest.mark.attack("packed checkpoint, edited to fit its hashes")
@pytest.mark.parametrize(
    ("change", "name", "reason"),
    [
        (lambda tensors: tensors.pop(CODES), CODES, "is missing"),
        (lambda tensors: tensors.update({"../../evil": torch.zeros(1)}), "../../evil", "layers"),
        (lambda tensors: tensors.update({"evil": torch.zeros(1)}), "evil", "does not belong"),
        (_replace(CODES, lambda codes: codes[:-1].clone()), CODES, "expected torch.uint8"),
        (_replace(CODES, lambda codes: codes.to(torch.int8)), CODES, "found torch.int8"),
        (_replace(SCALE, lambda scale: scale.double()), SCALE, "found torch.float64"),
        (_replace(SCALE, lambda scale: scale[:1].clone()), SCALE, "expected torch.float32"),
        (_replace("conv_norm_out.weight", lambda weight: weight.reshape(2, -1)), "conv_norm_out.weight", "found"),
        (_set(SCALE, float("nan")), SCALE, "NaN"),
        (_set(SCALE, float("inf")), SCALE, "infinity"),
        (_set(SCALE, 0.0), SCALE, "a scale that its scheme does not allow"),
        (_set(SCALE, -1.0), SCALE, "a scale that its scheme does not allow"),
        (_set("conv_out.activation_scale", float("nan")), "conv_out.activation_scale", "NaN"),
        (_set(ZERO_POINT, 16), ZERO_POINT, "a zero point that its scheme does not allow"),
        (_set("conv_in.weight_zero_point", 127), "conv_in.weight_zero_point", "a zero point"),
        (_set("conv_in.weight_codes", 0), "conv_in.weight_codes", "code 0 is below 1"),
        (_set("conv_norm_out.bias", float("nan")), "conv_norm_out.bias", "NaN"),
    ],
)
def test_tensors_that_were_edited_to_fit_their_hashes(checkpoint, change, name, reason):
    checkpoint.edit_tensors(change)
    message = checkpoint.refusal()
    assert name in message
    if not name.startswith(".."):
        assert "model.safetensors" in message
        assert reason in message


@pytest.mark.attack("packed checkpoint, damaged")
@pytest.mark.parametrize("name", [CODES, SCALE, ZERO_POINT, "conv_norm_out.weight", "conv_in.bias"])
def test_a_changed_byte_is_refused_with_the_tensor_named(checkpoint, name):
    def change(tensors):
        tensors[name].view(torch.uint8).reshape(-1)[0] ^= 1

    checkpoint.edit_tensors(change, rehash=False)
    message = checkpoint.refusal()
    assert f"tensor {name}" in message
    assert "SHA-256" in message


@pytest.mark.attack("packed checkpoint, damaged")
@pytest.mark.parametrize(
    "change",
    [
        lambda header: header["backbone"]["config"].update(norm_eps=1e-3),
        lambda header: header["method"].update(name="another"),
        lambda header: header["source"].update(model="another"),
        lambda header: _layer(header)["weight"].update(bits=5),
        lambda header: header.pop("sha256"),
        lambda header: header.update(sha256="0" * 64),
    ],
)
def test_a_header_that_was_changed_is_refused_whatever_was_changed(checkpoint, change):
    header = json.loads(checkpoint.header_file.read_text())
    change(header)
    checkpoint.header_file.write_text(json.dumps(header))
    assert "quantization.json: sha256: expected that of all other keys; the header was changed" in checkpoint.refusal()
