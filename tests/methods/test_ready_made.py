"""Files that others quantized: their own codes, the values these have, and a line for what is something else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from admbench import methods
from admbench.errors import CheckpointError, UsageError
from admbench.methods.bridges.ready_made import unrotated
from admbench.methods.core.checkpoint import formats
from admbench.methods.core.layers.kinds import quantizable_layers

H4 = torch.tensor([[1.0, 1, 1, -1], [1, 1, -1, 1], [1, -1, 1, 1], [-1, 1, 1, 1]]) / 2


def int8_file(path: Path, backbone: torch.nn.Module, prefix: str = "", **changes: Any) -> dict[str, Tensor]:
    """Write a backbone as ComfyUI's int8: Linear rotated by groups of 16, a convolution with one scale; its values."""
    rotation = torch.kron(H4, H4)
    tensors = dict(backbone.state_dict())
    values = {name: tensor.clone() for name, tensor in tensors.items()}
    for name, layer in quantizable_layers(backbone).items():
        weight = layer.weight.detach()
        rotated = isinstance(layer, torch.nn.Linear) and weight.shape[1] % 16 == 0
        if rotated:
            weight = (weight.unflatten(1, (-1, 16)) @ rotation.T).flatten(1)
        scale = weight.abs().amax(dim=1, keepdim=True) / 127 if rotated else weight.abs().max() / 127
        codes = (weight / scale).round().to(torch.int8)
        tensors[f"{name}.weight"], tensors[f"{name}.weight_scale"] = codes, scale.float().clone()
        mark = {"format": "int8_tensorwise"} | ({"convrot": True, "convrot_groupsize": 16} if rotated else {})
        tensors[f"{name}.comfy_quant"] = torch.tensor(list(json.dumps(mark).encode()), dtype=torch.uint8)
        value = codes * scale
        values[f"{name}.weight"] = (value.unflatten(1, (-1, 16)) @ rotation).flatten(1) if rotated else value
    save_file({prefix + name: tensor.contiguous() for name, tensor in (tensors | changes).items()}, path)
    return values


def gguf_file(path: Path, backbone: torch.nn.Module) -> dict[str, Tensor]:
    """Write a backbone as GGUF: Linear weights of whole blocks in Q8_0, all else float; its values."""
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(path, "test")
    values = {}
    linear = {f"{name}.weight" for name, layer in quantizable_layers(backbone).items() if layer.weight.ndim == 2}
    for name, tensor in backbone.state_dict().items():
        matrix = (tensor.flatten(1) if tensor.ndim > 2 else tensor).numpy()
        if name in linear and tensor.shape[1] % 32 == 0:
            blocks = gguf.quantize(matrix, gguf.GGMLQuantizationType.Q8_0)
            writer.add_tensor(name, blocks, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
            values[name] = torch.from_numpy(gguf.dequantize(blocks, gguf.GGMLQuantizationType.Q8_0))
        else:
            writer.add_tensor(name, matrix)
            values[name] = tensor
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return values


def test_the_rotation_of_convrot_is_its_own_inverse_and_four_times_four_of_the_published_matrix():
    weight = torch.randn(3, 32)
    rotation = torch.kron(H4, H4)
    assert torch.allclose(rotation @ rotation, torch.eye(16), atol=1e-6)
    rotated = (weight.unflatten(1, (-1, 16)) @ rotation.T).flatten(1)
    assert torch.allclose(unrotated(rotated, 16), weight, atol=1e-6)
    with pytest.raises(CheckpointError, match="groups of 8: expected a power of 4"):
        unrotated(weight, 8)


@pytest.mark.parametrize("write", [int8_file, gguf_file])
def test_a_file_is_a_cell_with_its_own_values_and_bytes(write, audioldm, predict, tmp_path):
    name = "model.gguf" if write is gguf_file else "model.safetensors"
    values = write(tmp_path / name, audioldm.backbone)
    before = predict(audioldm)
    method = methods.from_spec(f"ready-made@w8a16[file={tmp_path / name}]")
    assert len(method.config.sha256) == 64
    made = method.quantize(audioldm, None)
    for key, tensor in made.module.state_dict().items():
        assert torch.allclose(tensor, values[key].reshape(tensor.shape), atol=1e-6), key
    assert torch.equal(predict(audioldm), before)  # the model is left as it is
    made.pack(tmp_path / "packed")
    loaded = formats.load(tmp_path / "packed")
    assert torch.equal(predict(audioldm, loaded), predict(audioldm, made.module))
    packed, file = (tmp_path / "packed" / "model.safetensors").stat().st_size, (tmp_path / name).stat().st_size
    assert packed < file * 1.1
    if write is int8_file:
        assert {layer.weight_granularity for layer in made.report.layers} == {"channel", "tensor"}
        assert not made.report.unquantized


def test_names_behind_a_prefix_are_read_and_other_names_are_listed(audioldm, tmp_path):
    int8_file(tmp_path / "a.safetensors", audioldm.backbone, prefix="model.diffusion_model.")
    methods.from_spec(f"ready-made@w8a16[file={tmp_path / 'a.safetensors'}]").quantize(audioldm, None)
    int8_file(tmp_path / "b.safetensors", audioldm.backbone, odd=torch.zeros(1))
    with pytest.raises(CheckpointError, match=r"b\.safetensors: not the tensors of .*; missing: none; left over: odd$"):
        methods.from_spec(f"ready-made@w8a16[file={tmp_path / 'b.safetensors'}]").quantize(audioldm, None)


def test_what_is_something_else_is_one_line(audioldm, tmp_path):
    with pytest.raises(UsageError, match=r"option file, .*: expected a \.gguf or \.safetensors file"):
        methods.from_spec(f"ready-made@w8a16[file={tmp_path / 'none.gguf'}]")
    file = tmp_path / "a.safetensors"
    int8_file(file, audioldm.backbone)
    with pytest.raises(UsageError, match=r"have mostly 8 bits; expected ready-made@w8a16"):
        methods.from_spec(f"ready-made@w4a16[file={file}]").quantize(audioldm, None)
    name = next(iter(quantizable_layers(audioldm.backbone)))
    mark = torch.tensor(list(b'{"format": "nvfp4"}'), dtype=torch.uint8)
    int8_file(file, audioldm.backbone, **{f"{name}.comfy_quant": mark})
    with pytest.raises(CheckpointError, match=rf"{name}\.weight is nvfp4; expected floating point, or int8_tensorwise"):
        methods.from_spec(f"ready-made@w8a16[file={file}]").quantize(audioldm, None)
