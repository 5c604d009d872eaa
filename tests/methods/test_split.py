"""Splitting a layer at a concatenation changes nothing in full precision, and survives a checkpoint."""

import json

import pytest
import torch
from torch import nn

from admbench.errors import CheckpointError
from admbench.methods.core.checkpoint.header import MethodHeader, SourceHeader, sealed
from admbench.methods.core.checkpoint.reading import load
from admbench.methods.core.checkpoint.writing import pack
from admbench.methods.core.layers.kinds import quantizable_layers
from admbench.methods.core.layers.policy import quantize_layers, uniform_policy
from admbench.methods.core.layers.quantized import quantized_layers
from admbench.methods.core.layers.split import (
    split_layer,
    split_layers,
    splits_of,
    watching_concatenations,
)
from admbench.methods.core.numbers.quantizer import Quantizer

LAYERS = {
    "linear": (lambda: nn.Linear(6, 5), (3, 7, 6)),
    "conv1d": (lambda: nn.Conv1d(6, 4, 3, stride=2, padding=1, bias=False), (2, 6, 9)),
    "conv2d": (lambda: nn.Conv2d(6, 4, (3, 5), padding=(1, 2), dilation=2), (2, 6, 11, 9)),
}


def whole_numbers(*shape: int) -> torch.Tensor:
    return torch.randint(-20, 20, shape).float()


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("at", [1, 4])
@torch.no_grad()
def test_a_split_layer_computes_what_the_layer_did(kind, at):
    """Bit for bit on whole numbers, whose sums do not depend on their order; to float precision on others."""
    torch.manual_seed(0)
    make, shape = LAYERS[kind]
    layer, x = make(), torch.randn(shape)
    assert torch.allclose(split_layer(layer, at)(x), layer(x), atol=1e-6)
    for parameter in layer.parameters():
        parameter.copy_(whole_numbers(*parameter.shape))
    x = whole_numbers(*shape)
    assert torch.equal(split_layer(layer, at)(x), layer(x))


@pytest.mark.parametrize("at", [0, 6, -1])
def test_both_parts_have_channels(at):
    with pytest.raises(ValueError, match="6 input channels"):
        split_layer(nn.Linear(6, 5), at)


def test_layers_behind_a_concatenation_are_found(model):
    """The 1x1 shortcuts of the up blocks read it as it is; every other layer reads something made from it."""
    inputs = next(model.trajectories(["x"], seeds=[0], steps=1, guidance=1.0, batch_size=1)).inputs
    with watching_concatenations(model.backbone) as found, torch.no_grad():
        model.call_backbone(inputs)
    layers = quantizable_layers(model.backbone)
    assert found.keys() == {name for name in layers if name.startswith("up_blocks") and name.endswith("conv_shortcut")}
    assert all(0 < at < layers[name].weight.shape[1] for name, at in found.items())


@pytest.fixture
def split_and_quantized(model):
    with watching_concatenations(model.backbone) as found, torch.no_grad():
        inputs = next(model.trajectories(["x"], seeds=[0], steps=1, guidance=1.0, batch_size=1)).inputs
        model.call_backbone(inputs)
    split_layers(model.backbone, found)
    return quantize_layers(
        model.backbone,
        uniform_policy(4, 8, ["conv_in", "conv_out"]),
        fit_weight=Quantizer.min_max,
        fit_activation=lambda scheme, name: Quantizer.from_range(
            scheme, torch.tensor(-1.0 if name.endswith("first") else -3.0), torch.tensor(2.0)
        ),
    )


def packed(module: nn.Module, folder) -> None:
    method = MethodHeader(name="test", spec="test", version="1", config={})
    pack(folder, module, method, SourceHeader(model="m", weights_sha256="0" * 64, license=None))


def test_a_split_backbone_packs_and_loads_bit_for_bit(model, split_and_quantized, predict, tmp_path):
    packed(split_and_quantized, tmp_path)
    loaded = load(tmp_path)
    assert splits_of(loaded) == splits_of(split_and_quantized) != {}
    assert torch.equal(predict(model, loaded), predict(model, split_and_quantized))
    name = next(iter(splits_of(loaded)))
    halves = [quantized_layers(loaded)[f"{name}.{part}"] for part in ("first", "second")]
    assert halves[0].activation_quantizer.scale != halves[1].activation_quantizer.scale
    assert halves[0].weight_codes.shape[1] == splits_of(loaded)[name]


def test_a_file_without_the_key_still_loads(audioldm, quantize, predict, tmp_path):
    result = quantize(audioldm, "naive@w4a8")
    result.pack(tmp_path)
    header = json.loads((tmp_path / "quantization.json").read_text())
    assert header.pop("splits") == {}
    (tmp_path / "quantization.json").write_text(json.dumps(sealed(header)))
    assert torch.equal(predict(audioldm, load(tmp_path)), predict(audioldm, result.module))


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({"conv_in": 8}, r"splits\.conv_in: a layer of 8 input channels cannot be split at 8"),
        ({"conv_inn": 2}, r"splits\.conv_inn: UNet2DConditionModel has no such layer"),
        ({"mid_block": 2}, r"splits\.mid_block: UNet2DConditionModel has no such layer"),
        ({"conv_in": 0}, r"splits\.conv_in: Input should be greater"),
        ({"conv_in": 3}, r"layers\.conv_in: UNet2DConditionModel has no such layer"),
    ],
)
def test_a_split_that_cannot_be_is_refused(audioldm, quantize, tmp_path, splits, message):
    quantize(audioldm, "naive@w4a16").pack(tmp_path)
    header = json.loads((tmp_path / "quantization.json").read_text())
    (tmp_path / "quantization.json").write_text(json.dumps(sealed({**header, "splits": splits})))
    with pytest.raises(CheckpointError, match=message):
        load(tmp_path)


@pytest.mark.parametrize("method", ["eda-dm", "tfmq-dm"])
def test_methods_whose_released_code_splits_shortcuts_split_them(method, audioldm, quantize):
    split = splits_of(quantize(audioldm, f"{method}@w4a16[samples=2,iterations=0,calibration=uniform]").module)
    assert split
    assert split == splits_of(quantize(audioldm, "q-diffusion@w4a16[samples=2,iterations=0]").module)
