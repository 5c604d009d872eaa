"""Bridges to other packages: what they say where the package is missing, and what they do where it is not."""

from __future__ import annotations

import importlib
import json
from importlib import metadata

import pytest
import torch

from admbench import methods
from admbench.errors import CheckpointError, PluginError, UsageError
from admbench.methods.bridges import torchao
from admbench.methods.core import processor
from admbench.methods.core.checkpoint import formats
from admbench.methods.core.checkpoint.header import sealed
from admbench.methods.core.kernels.observed import DEQUANTIZED, observed
from admbench.methods.core.processor import has_vnni, is_x86

PACKAGES = {"torchao": "torchao", "quanto": "optimum-quanto", "nncf": "nncf", "sdnq": "sdnq"}
KERNELS = {
    "torchao-int8@w8a8": {"torch-int8-int8-mm", "float"},
    "torchao-int8@w8a16": {"float"},
    "torchao-int4@w4a16": {"torch-int4-weight-mm", "float"},
    "quanto-int8@w8a8": {"torch-int8-int8-mm", "float"},
    "quanto-int8@w8a16": {"float"},
    "quanto-int4@w4a16": {"float"},
    "quanto-int4@w4a8": {"simulated", "float"},
    "quanto-int2@w2a16": {"float"},
    "nncf-int8@w8a16": {"float"},
    "sdnq-int8@w8a16[smallest=512]": {"float"},
    "sdnq-int8@w8a8[smallest=512]": {"torch-int8-int8-mm", "simulated", "float"},
    "sdnq-int8@w8a8[smallest=512,hadamard=true]": {"torch-int8-int8-mm", "simulated", "float"},
    "sdnq-int4@w4a16[smallest=512]": {"float"},
    "sdnq-int4@w4a16[smallest=512,hadamard=true]": {"float"},
}
"""Spec -> what computes Linear layers and convolutions, in all, on a CPU."""
BRIDGES = tuple(name for name in methods.BUILTIN if name.partition("-")[0] in PACKAGES)


def package_of(name: str) -> str:
    return PACKAGES[name.partition("-")[0]]


def installed(name: str) -> bool:
    return any(metadata.distributions(name=package_of(name)))


SATURATES = "quanto-int8@w8a8"
"""Without VNNI its products would be wrong, and the package cannot do otherwise."""


@pytest.fixture(params=KERNELS)
def spec(request) -> str:
    if not installed(request.param):
        pytest.skip(f"{package_of(request.param)} is not installed")
    if request.param == SATURATES and is_x86() and not has_vnni():
        pytest.skip("8-bit products saturate on this processor")
    return request.param


@pytest.mark.parametrize("name", BRIDGES)
def test_a_bridge_is_listed_with_the_package_it_needs(name):
    info = methods.registry.info(name)
    package = package_of(name)
    assert info.requires == (package,)
    assert info.unavailable == (None if installed(name) else f"needs {package}: pip install {package}")


@pytest.mark.parametrize("name", BRIDGES)
def test_a_bridge_says_which_bits_its_package_does(name):
    takes = methods.registry.get(name).takes
    known = {spec.partition("[")[0] for spec in KERNELS if spec.startswith(f"{name}@")}
    assert {f"{name}@{bits}" for bits in takes} >= known
    with pytest.raises(UsageError, match=f"{name}@{takes[0]}"):
        methods.from_spec(f"{name}@w5a5")
    with pytest.raises(UsageError, match="bits are missing"):
        methods.from_spec(name)


@pytest.mark.parametrize("name", BRIDGES)
def test_without_its_package_a_bridge_quantizes_nothing_and_says_how_to_get_it(name, audioldm, monkeypatch):
    method = methods.from_spec(f"{name}@{methods.registry.get(name).takes[0]}")
    monkeypatch.setattr(type(method), "requires", ("no-such-distribution",))
    with pytest.raises(PluginError, match="pip install no-such-distribution"):
        method.quantize(audioldm, None)


def test_a_group_that_torchao_does_not_have():
    with pytest.raises(UsageError, match="option group_size"):
        methods.from_spec("torchao-int4@w4a16[group_size=48]")


def test_a_loaded_backbone_gives_the_same_output_bit_for_bit(spec, model, quantize, predict, tmp_path):
    before = predict(model)
    result = quantize(model, spec)
    in_memory = predict(model, result.module)
    result.pack(tmp_path)
    loaded = formats.load(tmp_path)
    assert torch.equal(predict(model, loaded), in_memory)
    with torch.inference_mode():  # as pipelines run
        assert torch.equal(predict(model, loaded), in_memory)
    assert torch.equal(predict(model), before)  # the model is left as it is
    error, power = (in_memory - before).square().mean(), before.square().mean()
    assert 0 < error < power * {8: 0.01, 4: 0.1, 2: 1}[methods.from_spec(spec).spec.weight_bits]


def saturated(monkeypatch) -> None:
    """Let this be an x86 processor without VNNI, as far as is asked."""
    monkeypatch.setattr(processor, "is_x86", lambda: True)
    monkeypatch.setattr(processor, "has_vnni", lambda: False)


def test_a_product_that_would_saturate_is_refused(audioldm, quantize, monkeypatch):
    pytest.importorskip("optimum.quanto")
    saturated(monkeypatch)
    with pytest.raises(UsageError, match=r"layer .*: without VNNI, products of these codes saturate"):
        quantize(audioldm, SATURATES)


def test_a_checkpoint_of_a_processor_with_vnni_is_refused_without(audioldm, quantize, predict, monkeypatch, tmp_path):
    pytest.importorskip("torchao")
    monkeypatch.setattr("torchao.utils.should_reduce_range", lambda device: False)
    monkeypatch.setattr(processor, "has_vnni", lambda: True)
    monkeypatch.setattr(torchao, "has_vnni", lambda: True)
    quantize(audioldm, "torchao-int8@w8a8").pack(tmp_path)
    saturated(monkeypatch)
    loaded = formats.load(tmp_path)
    with pytest.raises(UsageError, match=r"layer .*: without VNNI, products of these codes saturate"):
        predict(audioldm, loaded)


def test_what_multiplies_is_what_the_page_says(spec, model, quantize, predict):
    module = quantize(model, spec).module
    found = observed(module, lambda: predict(model, module))
    if spec.startswith("sdnq"):  # which multiplies integers where a layer has 32 rows: on networks that are less tiny
        assert set(found.layers) <= KERNELS[spec]
    else:
        assert set(found.layers) == KERNELS[spec]
    if KERNELS[spec] == {"float"}:
        assert set(found.reasons) == {DEQUANTIZED}


def test_the_report_counts_every_layer_once(spec, model, quantize):
    result = quantize(model, spec)
    weight, activation = methods.from_spec(spec).spec.bits
    layers = {layer.name: layer for layer in result.report.layers}
    floats = {
        name for name, part in model.backbone.named_modules() if isinstance(part, torch.nn.Linear | torch.nn.Conv2d)
    }
    assert layers.keys() | set(result.report.unquantized) == floats
    assert layers.keys().isdisjoint(result.report.unquantized)
    assert {layer.weight_bits for layer in layers.values()} == {weight}
    for layer in layers.values():  # quanto rounds the input of a Linear, not of a convolution
        aligned = not spec.startswith("sdnq") or all(side >= 32 and side % 16 == 0 for side in layer.shape[:2])
        rounded = activation != 16 and layer.kind == "linear" and aligned
        assert layer.activation_bits == (activation if rounded else None)
    convolutions = {name for name in floats if isinstance(model.backbone.get_submodule(name), torch.nn.Conv2d)}
    if spec.startswith("sdnq"):  # which leaves small layers alone, and some by their names
        assert all(layer.shape[1] >= 32 for layer in layers.values())
        convolutions &= layers.keys()
        assert convolutions
    assert convolutions.isdisjoint(layers) if spec.startswith("torchao") else convolutions <= layers.keys()


def test_torchao_leaves_alone_what_its_int4_kernel_does_not_compute(model, quantize):
    pytest.importorskip("torchao")
    result = quantize(model, "torchao-int4@w4a16")
    for name in result.report.unquantized:
        layer = model.backbone.get_submodule(name)
        if isinstance(layer, torch.nn.Linear):
            assert layer.in_features % 32 or layer.out_features % 16
    for layer in result.report.layers:
        assert not layer.shape[1] % 32
        assert not layer.shape[0] % 16


def test_torchao_int4_takes_four_bits_a_code_on_disk_in_row_major_order(model, quantize, tmp_path):
    pytest.importorskip("torchao")
    from safetensors.torch import load_file

    from admbench.methods.core.numbers.packing import unpack_bits

    result = quantize(model, "torchao-int4@w4a16")
    result.pack(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    for layer in result.report.layers:
        packed = stored[f"{layer.name}._weight_int4_codes"]
        rows, columns = layer.shape
        assert packed.numel() * 2 == rows * columns
        codes = torch.from_numpy(unpack_bits(packed.numpy(), 4, rows * columns)).reshape(rows, columns).float()
        scale, zero = stored[f"{layer.name}._weight_int4_scale_and_zero"].transpose(0, 1).unbind(-1)
        weight = (codes.reshape(rows, -1, 32) - 8) * scale[..., None] + zero[..., None]
        original = model.backbone.get_submodule(layer.name).weight.reshape(rows, -1, 32)
        # nearest of 16 evenly spaced values between a group's smallest and largest
        assert ((weight - original).abs() <= scale[..., None] * 0.51 + 1e-6).all()


@pytest.mark.parametrize("bridge", PACKAGES)
def test_a_checkpoint_that_was_tampered_with_is_refused(bridge, audioldm, quantize, tmp_path):
    spec = next(spec for spec in KERNELS if spec.startswith(bridge))
    if not installed(spec):
        pytest.skip(f"{package_of(spec)} is not installed")
    quantize(audioldm, spec).pack(tmp_path)
    file = tmp_path / "quantization.json"
    good = file.read_text()

    def refused(change) -> str:
        header = json.loads(good)
        change(header)
        file.write_text(json.dumps(sealed(header)))
        with pytest.raises(CheckpointError) as error:
            formats.load(tmp_path)
        assert "\n" not in str(error.value)
        return str(error.value)

    package = PACKAGES[bridge]
    assert f"pip install {package}==0.1.0" in refused(lambda header: header["bridge"].update(version="0.1.0"))
    assert "bridge.layout" in refused(lambda header: header["bridge"].update(layout={}))
    name = next(iter(json.loads(good)["layers"]))
    assert "layers" in refused(lambda header: header["layers"].pop(name))
    file.write_text(good)
    formats.load(tmp_path)


@pytest.mark.parametrize(
    ("bridge", "module"), [("torchao", "torchao"), ("quanto", "quanto"), ("nncf", "nncf"), ("sdnq", "sdnq")]
)
def test_a_format_imports_without_its_package(bridge, module):
    imported = importlib.import_module(f"admbench.methods.bridges.{module}")
    assert formats.registry.get(bridge).__module__ == imported.__name__
