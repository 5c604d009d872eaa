"""Folders that diffusers saved quantized: the cell computes what diffusers computes, or one line says why not."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from admbench import methods
from admbench.errors import CheckpointError, UsageError
from admbench.methods.bridges.quanto import outside_inference_mode
from admbench.methods.core.checkpoint import formats


def needs(*packages: str) -> None:
    for package in packages:
        if not any(metadata.distributions(name=package)):
            pytest.skip(f"{package} is not installed")


def quanto(bits: int) -> Any:
    needs("optimum-quanto", "accelerate")
    return diffusers.QuantoConfig(weights_dtype=f"int{bits}")


def torchao(name: str) -> Any:
    needs("torchao", "accelerate")
    from torchao import quantization

    return diffusers.TorchAoConfig(getattr(quantization, name)(set_inductor_config=False))


def sdnq(weights: str) -> Any:
    needs("sdnq", "accelerate")
    from sdnq import SDNQConfig

    return SDNQConfig(weights_dtype=weights, minimum_allowed_numel=0)


SAVED: dict[str, tuple[Callable[[], Any], str]] = {
    "quanto-int8": (lambda: quanto(8), "w8a16"),
    "quanto-int4": (lambda: quanto(4), "w4a16"),
    "torchao-int8": (lambda: torchao("Int8WeightOnlyConfig"), "w8a16"),
    "torchao-int8-inputs": (lambda: torchao("Int8DynamicActivationInt8WeightConfig"), "w8a8"),
    "sdnq-int8": (lambda: sdnq("int8"), "w8a16"),
    "sdnq-uint4": (lambda: sdnq("uint4"), "w4a16"),
}


@pytest.fixture
def full(audioldm, tmp_path: Path) -> Path:
    """A folder in full precision."""
    audioldm.backbone.save_pretrained(tmp_path / "full")
    return tmp_path / "full"


@pytest.mark.parametrize("name", SAVED)
def test_a_folder_is_a_cell_that_computes_what_diffusers_does(name, full, audioldm, predict, tmp_path):
    make, bits = SAVED[name]
    config = make()
    network = type(audioldm.backbone)
    options = {"torch_dtype": torch.float32, "local_files_only": True}
    quantized = network.from_pretrained(full, quantization_config=config, **options)
    quantized.save_pretrained(tmp_path / "pipeline" / "unet")
    before = predict(audioldm)
    method = methods.from_spec(f"diffusers-quantized@{bits}[folder={tmp_path / 'pipeline'}]")
    made = method.quantize(audioldm, None)
    theirs = network.from_pretrained(tmp_path / "pipeline" / "unet", **options).eval()
    outside_inference_mode(theirs)  # where quanto's packed weights cannot be read
    with torch.no_grad():
        assert torch.allclose(predict(audioldm, made.module), predict(audioldm, theirs), rtol=1e-4, atol=1e-5)
    assert torch.equal(predict(audioldm), before)  # the model is left as it is
    made.pack(tmp_path / "packed")
    assert torch.equal(predict(audioldm, formats.load(tmp_path / "packed")), predict(audioldm, made.module))
    with pytest.raises(UsageError, match=rf"mostly {bits}; expected diffusers-quantized@{bits}$"):
        methods.from_spec(f"diffusers-quantized@w2a16[folder={tmp_path / 'pipeline'}]").quantize(audioldm, None)


@pytest.mark.parametrize(
    ("by", "message"),
    [
        (
            "bitsandbytes",
            r"quant_method is bitsandbytes \(diffusers loads it on a GPU alone\); expected quanto, torchao",
        ),
        ("modelopt", r"quant_method is modelopt \(its layers have no format here\); expected quanto"),
        ("awq", r"quant_method is awq; expected quanto, torchao, sdnq"),
        (None, r"config\.json: expected quantization_config with its quant_method"),
    ],
)
def test_what_is_not_read_is_one_line(by, message, full):
    content = json.loads((full / "config.json").read_text()) | (
        {"quantization_config": {"quant_method": by}} if by else {}
    )
    (full / "config.json").write_text(json.dumps(content))
    with pytest.raises(UsageError, match=message):
        methods.from_spec(f"diffusers-quantized@w8a16[folder={full}]")


def test_another_network_is_refused_by_its_key(full, audioldm):
    needs("optimum-quanto", "accelerate")
    method_of = f"diffusers-quantized@w8a16[folder={full}]"
    content = json.loads((full / "config.json").read_text()) | {"quantization_config": {"quant_method": "quanto"}}
    for change, message in (
        ({"in_channels": 9}, "in_channels is 9; expected"),
        ({"_class_name": "X"}, "is X; expected"),
    ):
        (full / "config.json").write_text(json.dumps(copy.deepcopy(content) | change))
        with pytest.raises(CheckpointError, match=message):
            methods.from_spec(method_of).quantize(audioldm, None)


def test_what_its_bridge_cannot_store_is_one_line(full, audioldm, tmp_path):
    config = torchao("Int8WeightOnlyConfig")
    quantized = type(audioldm.backbone).from_pretrained(
        full, quantization_config=config, torch_dtype=torch.bfloat16, local_files_only=True
    )
    quantized.save_pretrained(tmp_path / "half")
    with pytest.raises(CheckpointError, match=r"half: not as torchao's bridge stores it: .*float32"):
        methods.from_spec(f"diffusers-quantized@w8a16[folder={tmp_path / 'half'}]").quantize(audioldm, None)
