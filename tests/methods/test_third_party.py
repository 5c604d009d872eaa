"""Checkpoints of other packages' modules: the same numbers back, and nothing let in that does not fit."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from admbench.errors import CheckpointError, UsageError
from admbench.files import directory_bytes
from admbench.hashing import sha256_tensors
from admbench.methods.core import processor
from admbench.methods.core.checkpoint import formats
from admbench.methods.core.checkpoint.header import MethodHeader, SourceHeader, sealed
from admbench.methods.core.checkpoint.third_party import (
    ThirdPartyFormat,
    ThirdPartyLayer,
    described,
    guard,
    mark,
    third_party_layers,
)
from admbench.methods.core.kernels.observed import DEQUANTIZED, observed
from admbench.methods.core.kernels.select import resident_bytes
from admbench.methods.core.layers.kinds import replace_layer
from admbench.methods.core.third_party import ThirdPartyBackbone, third_party_report


class StrangeLinear(nn.Linear):
    """A Linear as a package might make it: int8 weights with a scale per tensor, real integer products if asked."""

    def __init__(self, layer: nn.Linear, multiplies: bool):
        super().__init__(layer.in_features, layer.out_features, layer.bias is not None, device="meta")
        self.multiplies = multiplies
        self.weight = None
        self.bias = layer.bias
        self.register_buffer("scale", layer.weight.detach().abs().max() / 127)
        self.register_buffer("codes", torch.round(layer.weight.detach() / self.scale).to(torch.int8))

    def dequantized(self) -> Tensor:
        return self.codes.float() * self.scale

    def forward(self, x: Tensor) -> Tensor:
        if not self.multiplies:
            return nn.functional.linear(x, self.dequantized(), self.bias)
        rows = x.reshape(-1, x.shape[-1])
        step = rows.abs().max() / 127
        product = torch._int_mm(torch.round(rows / step).to(torch.int8), self.codes.t()) * (step * self.scale)
        return product.reshape(*x.shape[:-1], -1) + (0 if self.bias is None else self.bias)


class StrangeFormat(ThirdPartyFormat):
    name = "strange"
    package = "numpy"  # a distribution that is installed; its version stands in for the package's

    def describe(self, module: nn.Module) -> dict[str, ThirdPartyLayer]:
        layers = {name: part for name, part in module.named_modules() if isinstance(part, StrangeLinear)}
        return {
            name: described(part, (8, "tensor"), (8, "tensor, dynamic") if part.multiplies else (16, None))
            for name, part in layers.items()
        }

    def weight(self, module: nn.Module, name: str) -> Tensor:
        return module.get_submodule(name).dequantized()

    def flatten(self, module: nn.Module) -> tuple[dict[str, Tensor], dict[str, Any]]:
        layers = {name: part.multiplies for name, part in module.named_modules() if isinstance(part, StrangeLinear)}
        return module.state_dict(), {"multiplies": layers}

    def restore(self, module: nn.Module, tensors: Mapping[str, Tensor], layout: Mapping[str, Any]) -> nn.Module:
        for name, multiplies in layout["multiplies"].items():
            replace_layer(module, name, StrangeLinear(module.get_submodule(name), multiplies))
        module.load_state_dict(dict(tensors), assign=True)
        return module


class MultipliesFormat(StrangeFormat):
    def multiplied_codes(self, module: nn.Module) -> dict[str, Tensor]:
        return {name: part.codes for name, part in module.named_modules() if isinstance(part, StrangeLinear)}


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the registry know the format for one test."""
    monkeypatch.setitem(formats.registry._registered, "strange", StrangeFormat)


def strange(model: Any, *, multiplies: bool = True) -> ThirdPartyBackbone:
    module, form = copy.deepcopy(model.backbone), StrangeFormat()
    for name, part in list(module.named_modules()):
        if type(part) is nn.Linear:
            replace_layer(module, name, StrangeLinear(part, multiplies))
    return ThirdPartyBackbone(
        module=mark(module, form.describe(module)),
        report=third_party_report(model.backbone, module, form, 1.0, simulated=False),
        method=MethodHeader(name="strange", spec="strange", version="1", config={}),
        source=SourceHeader(model=model.name, weights_sha256=model.weights_sha256, license=None),
        format=form,
    )


def linears(module: nn.Module) -> set[str]:
    return {name for name, part in module.named_modules() if type(part) is nn.Linear}


def test_a_loaded_module_gives_the_same_output_bit_for_bit(model, predict, tmp_path):
    result = strange(model)
    in_memory = predict(model, result.module)
    result.pack(tmp_path / "checkpoint")
    loaded = formats.load(tmp_path / "checkpoint")
    shutil.rmtree(tmp_path / "checkpoint")
    assert torch.equal(predict(model, loaded), in_memory)
    assert type(loaded) is type(model.backbone)
    assert third_party_layers(loaded) == third_party_layers(result.module)


def test_a_layer_whose_products_would_saturate_here_refuses_its_input(audioldm, predict, monkeypatch):
    monkeypatch.setattr(processor, "is_x86", lambda: True)
    monkeypatch.setattr(processor, "has_vnni", lambda: True)
    predict(audioldm, guard(strange(audioldm).module, MultipliesFormat()))
    monkeypatch.setattr(processor, "has_vnni", lambda: False)
    with pytest.raises(UsageError, match=r"layer \S+: without VNNI, products of these codes saturate"):
        predict(audioldm, guard(strange(audioldm).module, MultipliesFormat()))


def test_the_report_says_what_was_left_alone_and_how_far_weights_moved(model):
    report = strange(model).report
    assert {layer.name for layer in report.layers} == linears(model.backbone)
    assert {name for name in report.unquantized if "conv" in name}
    assert not {layer.name for layer in report.layers} & set(report.unquantized)
    for layer in report.layers:  # at most half a step off, and a step is at most 1/127 of the largest weight
        largest = model.backbone.get_submodule(layer.name).weight.abs().max().item()
        assert layer.weight_mse <= (largest / 127 / 2) ** 2
    stored = sum(model.backbone.get_submodule(name).weight.numel() for name in linears(model.backbone))
    assert report.quantized_fraction == pytest.approx(stored / report.parameters)
    assert report.nominal_bits_per_weight == pytest.approx(32 - 24 * stored / report.parameters)


def test_the_header_says_which_package_and_version(audioldm, tmp_path):
    import numpy

    strange(audioldm).pack(tmp_path)
    header = formats.read_header(tmp_path)
    assert (header.format, header.component) == ("strange", "backbone")
    assert (header.bridge.package, header.bridge.version) == ("numpy", numpy.__version__)
    assert header.source.weights_sha256 == audioldm.weights_sha256
    assert directory_bytes(tmp_path) < 4 * sum(parameter.numel() for parameter in audioldm.backbone.parameters())


def test_packed_checkpoints_go_through_the_same_door(audioldm, quantize, predict, tmp_path):
    result = quantize(audioldm, "naive@w4a8")
    result.pack(tmp_path)
    assert formats.read_header(tmp_path).method.name == "naive"
    assert torch.equal(predict(audioldm, formats.load(tmp_path)), predict(audioldm, result.module))


# Kernels.


def test_layers_in_which_integers_multiply_are_seen_and_nothing_else_is(audioldm, predict):
    module = strange(audioldm).module
    found = observed(module, lambda: predict(audioldm, module))
    assert {name for name, kernel in found.chosen.items() if kernel == "torch-int8-int8-mm"} == linears(
        audioldm.backbone
    )
    assert set(found.layers) == {"torch-int8-int8-mm", "float"}
    assert found.fallbacks == ()


def test_integers_that_are_only_stored_are_no_kernel(audioldm, predict):
    module = strange(audioldm, multiplies=False).module
    found = observed(module, lambda: predict(audioldm, module))
    assert found.kernels == ()
    assert found.reasons == {DEQUANTIZED: len(linears(audioldm.backbone))}


def test_a_module_of_ours_is_not_watched(audioldm):
    with pytest.raises(ValueError, match="another package"):
        observed(audioldm.backbone, lambda: None)


def test_memory_counts_codes_not_what_they_stand_for(audioldm):
    module = strange(audioldm).module
    assert resident_bytes(module) < 4 * sum(parameter.numel() for parameter in audioldm.backbone.parameters())


# What a stranger, or another release of the package, may hand us.


@pytest.fixture
def checkpoint(audioldm, tmp_path):
    strange(audioldm).pack(tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def edit(folder, change):
    file = folder / "quantization.json"
    header = json.loads(file.read_text())
    change(header)
    file.write_text(json.dumps(sealed(header)))


def refusal(folder) -> str:
    with pytest.raises(CheckpointError) as error:
        formats.load(folder)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda header: header.update(format="strangr"), 'Did you mean "strange"?'),
        (lambda header: header.update(format=["strange"]), "format"),
        (lambda header: header.update(format_version=3), "format_version"),
        (lambda header: header.update(extra=1), "extra"),
        (lambda header: header["bridge"].update(version="0.0.1"), "written by numpy 0.0.1"),
        (lambda header: header["bridge"].update(version="0.0.1"), "pip install numpy==0.0.1"),
        (lambda header: header["bridge"].update(package="scipy"), "expected numpy, found scipy"),
        (lambda header: header["bridge"].update(layout={}), "numpy does not read it (KeyError"),
        (lambda header: header["bridge"]["layout"]["multiplies"].pop("time_embedding.linear_1"), "numpy does not read"),
        (lambda header: header["layers"].pop("time_embedding.linear_1"), "layers: not those"),
        (lambda header: header["layers"]["time_embedding.linear_1"].update(weight_bits=4), "layers: not those"),
        (lambda header: header["backbone"].update(architecture="os.system"), "is not allowed"),
        (lambda header: header["tensors"].update({"../../etc/passwd": "0" * 64}), "etc/passwd"),
        (lambda header: header["tensors"].pop("conv_in.bias"), "conv_in.bias' is not in the header"),
        (lambda header: header["tensors"].update({"more": "0" * 64}), "more is missing"),
    ],
)
def test_a_header_that_does_not_fit(checkpoint, change, reason):
    edit(checkpoint, change)
    assert reason in refusal(checkpoint)


def test_a_header_of_the_first_version_has_no_hash_and_one_of_the_second_has(checkpoint):
    file = checkpoint / "quantization.json"
    header = json.loads(file.read_text())
    unsealed = {key: value for key, value in header.items() if key != "sha256"}
    file.write_text(json.dumps({**unsealed, "format_version": 1}))
    formats.load(checkpoint)
    for wrong in (unsealed, {**header, "format_version": 1}, {**header, "method": {**header["method"], "name": "x"}}):
        file.write_text(json.dumps(wrong))
        assert "sha256: expected" in refusal(checkpoint)


def test_a_file_is_read_by_the_same_two_leading_numbers():
    assert StrangeFormat().reads("0.12.1", "0.12.9")
    assert not StrangeFormat().reads("0.12.1", "0.13.1")
    assert not StrangeFormat().reads("0.12.1", "1.12.1")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda tensors: tensors["conv_in.bias"].fill_(float("inf")), "conv_in.bias holds NaN"),
        (lambda tensors: tensors.update({"conv_in.bias": torch.zeros(3)}), "conv_in.bias"),
        (lambda tensors: tensors["time_embedding.linear_1.scale"].fill_(float("nan")), "scale holds NaN"),
    ],
)
def test_tensors_that_do_not_fit(checkpoint, change, reason):
    file = checkpoint / "model.safetensors"
    tensors = {name: tensor.clone() for name, tensor in load_file(file).items()}
    change(tensors)
    save_file(tensors, file)
    assert "does not have the SHA-256" in refusal(checkpoint)
    hashes = {name: sha256_tensors({name: tensor}) for name, tensor in tensors.items()}
    edit(checkpoint, lambda header: header.update(tensors=hashes))
    assert reason in refusal(checkpoint)


def test_a_truncated_file(checkpoint):
    file = checkpoint / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    assert "truncated" in refusal(checkpoint)


def test_what_is_not_finite_is_not_written(audioldm, tmp_path):
    result = strange(audioldm)
    result.module.conv_norm_out.bias.data[0] = float("nan")
    with pytest.raises(CheckpointError, match=r"conv_norm_out\.bias holds NaN"):
        result.pack(tmp_path / "checkpoint")


def test_a_package_that_is_not_installed_is_one_line_with_the_command(checkpoint, monkeypatch):
    monkeypatch.setattr(StrangeFormat, "package", "no-such-distribution")
    edit(checkpoint, lambda header: header["bridge"].update(package="no-such-distribution"))
    assert "pip install no-such-distribution" in refusal(checkpoint)
