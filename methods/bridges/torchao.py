"""`torchao-int8`, `torchao-int4`: torchao (pytorch/ao), `quantize_` with its default choice of layers, every Linear.

Convolutions stay in floating point, and they are most of a U-Net. `torchao-int8@w8a8` multiplies integers
(`torch._int_mm`), with a scale per token found at run time; `w8a16` converts int8 weights to floating point at every
call. `torchao-int4@w4a16` has one layout for CPUs, of a prototype: groups of weights in `_weight_int4pack_mm_for_cpu`.
A Linear whose inputs are no multiple of the group, which torchao skips silently, or whose outputs are no multiple of
16, at which it raises, stays in floating point, and the report lists it.

The order of int4 weights in memory is the processor's. A checkpoint holds the codes in row-major order, two to a byte.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from admbench.errors import CheckpointError
from admbench.methods.base import MethodConfig
from admbench.methods.bridges.base import Bridge
from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.checkpoint.third_party import FLOAT_BITS, ThirdPartyFormat, ThirdPartyLayer, described
from admbench.methods.core.numbers.packing import pack_bits, unpack_bits
from admbench.methods.core.processor import has_vnni, is_x86
from admbench.methods.protocol import DenoisingModel
from admbench.taxonomy import Paper

OUTPUT_BLOCK = 16
_CODES, _SCALES = "._weight_int4_codes", "._weight_int4_scale_and_zero"


class TorchAOInt8(Bridge):
    """Int8 weights per output channel, symmetric; inputs int8 per token, scaled at run time, or left alone."""

    name = "torchao-int8"
    summary = "bridge to torchao: int8 Linear layers, inputs dynamic per token (w8a8) or float (w8a16)"
    requires = ("torchao",)
    version = "1"
    track = "post-training"
    family = "package"
    paper = Paper("torchao: PyTorch-Native Training-to-Serving Model Optimization", "https://github.com/pytorch/ao")
    takes = ("w8a8", "w8a16")

    def form(self) -> ThirdPartyFormat:
        """See `Bridge`."""
        return TorchAOFormat()

    def apply(self, backbone: nn.Module, model: DenoisingModel, calibration: CalibrationSet | None) -> nn.Module:
        """See `Bridge`."""
        from torchao.quantization import Int8DynamicActivationInt8WeightConfig, Int8WeightOnlyConfig, quantize_
        from torchao.utils import should_reduce_range

        config: Any
        if self.spec.activation_bits == FLOAT_BITS:
            config = Int8WeightOnlyConfig(set_inductor_config=False)
        else:  # products of 8 bits overflow on processors without VNNI: torchao's own remedy is 7 bits. It asks the
            # processor for VNNI, and not oneDNN, which may have been told not to use it
            device = next(backbone.parameters()).device
            reduce = should_reduce_range(device) or (device.type == "cpu" and is_x86() and not has_vnni())
            config = Int8DynamicActivationInt8WeightConfig(set_inductor_config=False, reduce_range=reduce)
        quantize_(backbone, config)
        return backbone


class TorchAOInt4Config(MethodConfig):
    """Options of `torchao-int4`."""

    group_size: Literal["32", "64", "128"] = "32"
    """Weights that share a scale. Small, since the widths of U-Nets are multiples of 32 more often than of 128."""


class TorchAOInt4(Bridge):
    """Int4 weights with a scale and a zero point per group of input features; inputs in floating point."""

    name = "torchao-int4"
    summary = "bridge to torchao: int4 Linear weights in groups, a prototype layout for CPUs (w4a16)"
    requires = ("torchao",)
    version = "1"
    track = "post-training"
    family = "package"
    paper = Paper("torchao: PyTorch-Native Training-to-Serving Model Optimization", "https://github.com/pytorch/ao")
    takes = ("w4a16",)
    Config: ClassVar[type[MethodConfig]] = TorchAOInt4Config
    config: TorchAOInt4Config

    def form(self) -> ThirdPartyFormat:
        """See `Bridge`."""
        return TorchAOFormat()

    def apply(self, backbone: nn.Module, model: DenoisingModel, calibration: CalibrationSet | None) -> nn.Module:
        """See `Bridge`."""
        from torchao.prototype.quantization.int4.inference_workflow import PrototypeInt4WeightOnlyConfig
        from torchao.quantization import quantize_

        group = int(self.config.group_size)
        quantize_(
            backbone,
            PrototypeInt4WeightOnlyConfig(group_size=group, set_inductor_config=False),
            lambda layer, name: type(layer) is nn.Linear and fits_int4(layer, group),
        )
        return backbone


def fits_int4(layer: nn.Linear, group: int) -> bool:
    """Return whether the kernel computes a layer: outputs in blocks of 16, inputs in whole groups."""
    return layer.out_features % OUTPUT_BLOCK == 0 and layer.in_features % group == 0


class TorchAOFormat(ThirdPartyFormat):
    """torchao's own flat form of `Int8Tensor`, which is safetensors with JSON; ours of `Int4OpaqueTensor`."""

    summary = "Linear weights of torchao"
    requires = ("torchao",)
    name = "torchao"
    package = "torchao"

    def describe(self, module: nn.Module) -> dict[str, ThirdPartyLayer]:
        """See `ThirdPartyFormat`."""
        layers = {}
        for name, layer in module.named_modules():
            if not isinstance(layer, nn.Linear):
                continue
            weight: Any = layer.weight.data
            kind = type(weight).__name__
            if kind == "Int4OpaqueTensor":
                layers[name] = described(layer, (4, f"group of {weight.block_size[1]}"))
            elif kind == "Int8Tensor":
                dynamic = weight.act_quant_kwargs is not None
                activation = (8, "token, dynamic") if dynamic else (FLOAT_BITS, None)
                layers[name] = described(layer, (8, "channel"), activation)
        return layers

    def multiplied_codes(self, module: nn.Module) -> dict[str, Tensor]:
        """Of layers with dynamic int8 inputs."""
        weights: dict[str, Any] = {name: module.get_submodule(name).weight.data for name in self.describe(module)}
        return {name: w.qdata for name, w in weights.items() if getattr(w, "act_quant_kwargs", None) is not None}

    def weight(self, module: nn.Module, name: str) -> Tensor:
        """See `ThirdPartyFormat`."""
        weight: Any = module.get_submodule(name).weight.data
        if type(weight).__name__ == "Int4OpaqueTensor":
            return _dequantized_int4(weight)
        dequantized: Tensor = weight.dequantize()
        return dequantized

    def flatten(self, module: nn.Module) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """See `ThirdPartyFormat`."""
        from torchao.prototype.safetensors.safetensors_support import flatten_tensor_state_dict

        state = {name: getattr(tensor, "data", tensor) for name, tensor in module.state_dict().items()}
        packed, groups = {}, {}
        for name in [name for name, tensor in state.items() if type(tensor).__name__ == "Int4OpaqueTensor"]:
            weight, layer = state.pop(name), name.removesuffix(".weight")
            codes = _unpack_order(weight.qdata, weight.shape).reshape(-1)
            packed[layer + _CODES] = torch.from_numpy(pack_bits(codes.numpy(), 4))
            packed[layer + _SCALES] = weight.scale_and_zero
            groups[layer] = int(weight.block_size[1])
        tensors, kinds = flatten_tensor_state_dict(state)
        return {**tensors, **packed}, {"tensors": kinds, "int4_group_sizes": groups}

    def restore(self, module: nn.Module, tensors: Mapping[str, Tensor], layout: Mapping[str, Any]) -> nn.Module:
        """See `ThirdPartyFormat`."""
        from torchao.prototype.safetensors.safetensors_support import unflatten_tensor_state_dict

        ordinary = {name: tensor for name, tensor in tensors.items() if not name.endswith((_CODES, _SCALES))}
        kinds, groups = layout.get("tensors"), layout.get("int4_group_sizes")
        if not isinstance(kinds, dict) or not isinstance(groups, dict):
            raise CheckpointError("bridge.layout: expected tensors and int4_group_sizes")
        _check_kinds(kinds)
        state, left = unflatten_tensor_state_dict(ordinary, kinds)
        if left:
            raise CheckpointError(f"tensor {min(left)} belongs to nothing")
        linears = {name: layer for name, layer in module.named_modules() if isinstance(layer, nn.Linear)}
        for name, group in groups.items():
            if name not in linears:
                raise CheckpointError(f"bridge.layout.int4_group_sizes.{name}: there is no such Linear")
            state[f"{name}.weight"] = _restored_int4(name, tuple(linears[name].weight.shape), group, tensors)
        for name, tensor in state.items():
            _check_int8(name, tensor)
        module.requires_grad_(False).load_state_dict(state, assign=True)
        return module


def _check_kinds(kinds: Mapping[str, Any]) -> None:
    """Refuse tensors of other kinds than this bridge writes, before torchao makes anything of them."""
    names = json.loads(kinds.get("tensor_names", "null"))
    if not isinstance(names, list) or not names:
        raise CheckpointError("bridge.layout.tensors.tensor_names: expected a list of names")
    for name in names:
        kind = json.loads(kinds.get(name, "null")) or {}
        if kind.get("_type") not in ("Tensor", "Int8Tensor"):
            raise CheckpointError(f"bridge.layout.tensors.{name}: expected a Tensor or Int8Tensor")


def _check_int8(name: str, tensor: Any) -> None:
    if type(tensor).__name__ != "Int8Tensor":
        return
    rows = (tensor.qdata.shape[0], 1)
    parts = [(tensor.qdata, torch.int8, tuple(tensor.shape)), (tensor.scale, torch.float32, rows)]
    parts += [(tensor.zero_point, torch.int8, rows)] if tensor.zero_point is not None else []
    for part, dtype, shape in parts:
        if part.dtype != dtype or tuple(part.shape) != shape:
            raise CheckpointError(f"tensor {name}: expected {dtype} {shape}, found {part.dtype} {tuple(part.shape)}")
    if tensor.dtype != torch.float32 or list(tensor.block_size) != [1, tensor.qdata.shape[1]]:
        raise CheckpointError(f"tensor {name}: expected float32 with a scale per row")


def _restored_int4(name: str, shape: tuple[int, ...], group: Any, tensors: Mapping[str, Tensor]) -> Tensor:
    from torchao.prototype.quantization.int4 import Int4OpaqueTensor

    rows, columns = shape
    if group not in (32, 64, 128) or columns % group:
        raise CheckpointError(f"bridge.layout.int4_group_sizes.{name}: {group!r} does not divide {columns}")
    codes, scales = tensors.get(name + _CODES), tensors.get(name + _SCALES)
    if codes is None or codes.dtype != torch.uint8 or codes.numel() != -(-rows * columns // 2):
        raise CheckpointError(f"tensor {name + _CODES}: expected the codes of {rows} x {columns} weights")
    if scales is None or scales.dtype != torch.float32 or tuple(scales.shape) != (columns // group, rows, 2):
        raise CheckpointError(f"tensor {name + _SCALES}: expected float32 {(columns // group, rows, 2)}")
    unpacked = torch.from_numpy(unpack_bits(codes.reshape(-1).numpy(), 4, rows * columns)).reshape(shape)
    qdata = torch.ops.aten._convert_weight_to_int4pack_for_cpu(unpacked.to(torch.int32), 1)
    restored: Tensor = Int4OpaqueTensor(qdata, scales, [1, group], torch.Size(shape))
    return restored


def _dequantized_int4(weight: Any) -> Tensor:
    """Return what the int4 kernel multiplies with: (code - 8) * scale + zero, of the group's scale and zero."""
    group = weight.block_size[1]
    codes = _unpack_order(weight.qdata, weight.shape).float()
    scale, zero = weight.scale_and_zero.float().transpose(0, 1).repeat_interleave(group, dim=1).unbind(-1)
    return (codes - 8) * scale + zero


def _unpack_order(qdata: Tensor, shape: torch.Size) -> Tensor:
    """Return the codes of a weight that `_convert_weight_to_int4pack_for_cpu` packed: uint8, of this shape.

    How it orders codes depends on the processor, and there is no operator that undoes it. But it only moves them:
    packing the positions themselves, one hexadecimal digit at a time, shows where each went.
    """
    count = shape.numel()
    positions = torch.arange(count, dtype=torch.int32).reshape(shape)
    origin = np.zeros(count, np.int64)
    for shift in range(0, max(1, (count - 1).bit_length()), 4):
        digit = torch.ops.aten._convert_weight_to_int4pack_for_cpu((positions >> shift) & 15, 1)
        origin |= _nibbles(digit).astype(np.int64) << shift
    codes = np.zeros(count, np.uint8)
    codes[origin] = _nibbles(qdata)
    return torch.from_numpy(codes).reshape(shape)


def _nibbles(packed: Tensor) -> np.ndarray:
    """Return the low and high half of every byte, in turn."""
    data = packed.detach().cpu().contiguous().view(torch.uint8).reshape(-1).numpy()
    return np.stack([data & 15, data >> 4], axis=1).reshape(-1)
