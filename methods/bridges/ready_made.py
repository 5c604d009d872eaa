"""`ready-made`: a backbone that somebody else quantized, read from the file in which it is published.

    ready-made@w4a16[file=model.gguf]            the package gguf reads its blocks, whatever their types
    ready-made@w8a16[file=model.safetensors]     ComfyUI's `int8_tensorwise`, with ConvRot or without

Names of tensors are those of the network's parameters in diffusers, all of them perhaps behind one prefix of a wrapper.
The cell holds the file's own blocks and codes, bit for bit, and computes with the values that they have: weights alone
are rounded. An engine that rounds inputs too, as ComfyUI's kernels do, is a little further from full precision.

`int8_tensorwise`: int8 `L.weight`, float32 `L.weight_scale` (one, or one for each output channel), and `L.comfy_quant`,
whose bytes are JSON. With `convrot` the weight of a Linear is rotated by groups of `convrot_groupsize` inputs: by the
regular Hadamard matrix that is a Kronecker power of (1, 1, 1, -1; 1, 1, -1, 1; 1, -1, 1, 1; -1, 1, 1, 1), over the root
of its size, which is its own inverse. Facts from public readers of such files; comfy-kitchen itself was not run.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor, nn

from admbench.errors import CheckpointError, PluginError, UsageError
from admbench.hashing import remembered_sha256
from admbench.methods.base import MethodConfig
from admbench.methods.bridges.base import Bridge
from admbench.methods.core.calibration.calibration_set import CalibrationSet
from admbench.methods.core.checkpoint.tensors import open_tensors
from admbench.methods.core.checkpoint.third_party import FLOAT_BITS, ThirdPartyFormat, ThirdPartyLayer, described
from admbench.methods.core.layers.kinds import quantizable_layers
from admbench.methods.core.layers.rotation import is_rotation_size, rotate
from admbench.methods.protocol import DenoisingModel
from admbench.registry import missing_distributions
from admbench.taxonomy import Paper

GGUF_BITS = {
    "Q8_0": 8,
    "Q6_K": 6,
    "Q5_0": 5,
    "Q5_1": 5,
    "Q5_K": 5,
    "Q4_0": 4,
    "Q4_1": 4,
    "Q4_K": 4,
    "Q3_K": 3,
    "Q2_K": 2,
}
"""ggml's types of blocks that weights may have, and the bits of a code."""
GGUF_FLOATS = ("F32", "F16", "BF16")
INT8 = "int8_tensorwise"
CODES, SCALE, MARK = "codes", "weight_scale", "comfy_quant"
ATTRIBUTE = "_ready_made"


@dataclass(frozen=True)
class Stored:
    """What a file holds of one layer's weight."""

    kind: str
    """A type of `GGUF_BITS`, or `int8_tensorwise`."""
    codes: Tensor
    """uint8 bytes of GGUF's blocks (rows, bytes); int8 codes of the weight's shape."""
    scale: Tensor | None = None
    """Of int8: float32, one number or one for each output channel."""
    rotation: int = 0
    """Inputs that are rotated together; 0: none are."""

    @property
    def bits(self) -> int:
        """Bits of a code."""
        return GGUF_BITS.get(self.kind, 8)

    @property
    def granularity(self) -> str:
        """What of the weight has a scale of its own."""
        if self.scale is None:
            return f"blocks of {self.kind}"
        return "tensor" if self.scale.numel() == 1 else "channel"

    def weight(self, shape: torch.Size) -> Tensor:
        """Return the weight that it stands for, float32.

        Raises:
            CheckpointError: it does not hold a weight of that shape.
        """
        if self.scale is None:
            return _dequantized_blocks(self.kind, self.codes, shape)
        if self.codes.shape != shape or self.scale.numel() not in (1, shape[0]):
            raise CheckpointError(f"expected int8 {tuple(shape)} and a scale, or {shape[0]} of them")
        weight = self.codes.float() * self.scale.float().reshape(-1, *[1] * (len(shape) - 1))
        return unrotated(weight, self.rotation) if self.rotation else weight


class ReadyMadeConfig(MethodConfig):
    """Options of `ready-made`."""

    file: str = Field("", validate_default=True)
    """A .gguf or .safetensors file; required."""
    sha256: str = Field("", validate_default=True)
    """Hash of the file, which is found out: cells of another file under the same name are others."""

    @field_validator("file")
    @classmethod
    def _is_there(cls, file: str) -> str:
        if not file or not Path(file).expanduser().is_file():
            raise ValueError("expected a .gguf or .safetensors file")
        return file

    @field_validator("sha256")
    @classmethod
    def _is_of_the_file(cls, told: str, info: ValidationInfo) -> str:
        if "file" not in info.data:  # which is being refused
            return told
        try:
            found = remembered_sha256(Path(info.data["file"]).expanduser())
        except OSError as error:
            raise ValueError(str(error)) from error
        if told and told != found:
            raise ValueError(f"expected {found[:12]}, the hash of {info.data['file']}")
        return found


class ReadyMade(Bridge):
    """The weights of a published file; nothing is quantized here."""

    name = "ready-made"
    summary = "a quantized backbone as others published it: a GGUF file, or ComfyUI's int8_tensorwise; option file"
    requires = ()
    version = "1"
    track = "post-training"
    family = "package"
    paper = Paper("GGUF: ggml's file format", "https://github.com/ggml-org/ggml/blob/master/docs/gguf.md")
    takes = ("w8a16", "w6a16", "w5a16", "w4a16", "w3a16", "w2a16")
    Config: ClassVar[type[MethodConfig]] = ReadyMadeConfig
    config: ReadyMadeConfig

    def form(self) -> ThirdPartyFormat:
        """See `Bridge`."""
        return ReadyMadeFormat()

    def apply(self, backbone: nn.Module, model: DenoisingModel, calibration: CalibrationSet | None) -> nn.Module:
        """See `Bridge`.

        Raises:
            CheckpointError: the file's tensors are not those of the backbone, or of a type that is not known here.
            UsageError: most of its weights have another number of bits than the spec says.
        """
        path = Path(self.config.file).expanduser()
        stored, floats = read(path, backbone)
        counts = Counter[int]()
        for layer in stored.values():
            counts[layer.bits] += layer.codes.numel()
        bits = counts.most_common(1)[0][0] if counts else FLOAT_BITS
        if bits != self.spec.weight_bits:
            expected = f"expected {self.name}@w{bits}a16" if counts else "expected quantized ones"
            raise UsageError(f'method "{self.spec}": the weights of {path.name} have mostly {bits} bits; {expected}')
        return fill(backbone, stored, floats, str(path))


def read(path: Path, backbone: nn.Module) -> tuple[dict[str, Stored], dict[str, Tensor]]:
    """Read a file: layers whose weights are quantized, by name, and all other tensors, in the file's float type.

    Raises:
        CheckpointError: the file is damaged, or holds other tensors than the backbone's.
        PluginError: it takes the package gguf, which is not installed.
    """
    entries = _gguf_entries(path) if path.suffix == ".gguf" else _safetensors_entries(path)
    expected = backbone.state_dict().keys()
    prefix = _prefix(list(entries), expected)
    entries = {name.removeprefix(prefix): entry for name, entry in entries.items()}
    missing, left = sorted(expected - entries.keys()), sorted(entries.keys() - expected)
    if missing or left:
        lists = f"missing: {', '.join(missing[:5]) or 'none'}; left over: {', '.join(left[:5]) or 'none'}"
        raise CheckpointError(f"{path}: not the tensors of {type(backbone).__name__}; {lists}")
    layers = quantizable_layers(backbone)
    stored: dict[str, Stored] = {}
    floats: dict[str, Tensor] = {}
    for name, entry in entries.items():
        if isinstance(entry, Tensor):
            floats[name] = entry
        elif name.removesuffix(".weight") in layers and name.endswith(".weight"):
            stored[name.removesuffix(".weight")] = entry
        else:
            raise CheckpointError(f"{path}: {name} is {entry.kind}; expected floating point: it is no layer's weight")
    return stored, floats


def fill(backbone: nn.Module, stored: Mapping[str, Stored], floats: Mapping[str, Tensor], where: str) -> nn.Module:
    """Give a network the values that stored tensors stand for, let its layers keep these tensors, and return it."""
    state = backbone.state_dict()
    values = {}
    for name, tensor in floats.items():
        if tensor.numel() != state[name].numel():
            raise CheckpointError(f"{where}: {name} has {tensor.numel()} numbers; expected {tuple(state[name].shape)}")
        values[name] = tensor.to(state[name].dtype).reshape(state[name].shape)
    for name, layer in stored.items():
        try:
            values[f"{name}.weight"] = layer.weight(state[f"{name}.weight"].shape)
        except CheckpointError as error:
            raise CheckpointError(f"{where}: {name}.weight: {error}") from error
    backbone.load_state_dict(values, assign=True)
    setattr(backbone, ATTRIBUTE, dict(stored))
    backbone._ready_made_types = {name: tensor.dtype for name, tensor in floats.items()}  # type: ignore[assignment]
    return backbone


class ReadyMadeFormat(ThirdPartyFormat):
    """The file's blocks, codes and scales as they are, and its floating-point tensors in their own type."""

    summary = "weights as a GGUF or int8_tensorwise file has them"
    requires = ()
    name = "ready-made"
    package = "admbench"

    def describe(self, module: nn.Module) -> dict[str, ThirdPartyLayer]:
        """See `ThirdPartyFormat`."""
        stored: dict[str, Stored] = getattr(module, ATTRIBUTE)
        return {
            name: described(module.get_submodule(name), (layer.bits, layer.granularity))
            for name, layer in stored.items()
        }

    def weight(self, module: nn.Module, name: str) -> Tensor:
        """See `ThirdPartyFormat`."""
        weight: Any = module.get_submodule(name).weight
        return weight.detach()

    def flatten(self, module: nn.Module) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """See `ThirdPartyFormat`."""
        stored: dict[str, Stored] = getattr(module, ATTRIBUTE)
        types: Any = module._ready_made_types
        tensors = {name: value.to(types[name]) for name, value in module.state_dict().items() if name in types}
        layers: dict[str, Any] = {}
        for name, layer in stored.items():
            tensors[f"{name}.{CODES}"] = layer.codes
            layers[name] = {"kind": layer.kind, "rotation": layer.rotation}
            if layer.scale is not None:
                tensors[f"{name}.{SCALE}"] = layer.scale
        return {name: tensor.contiguous() for name, tensor in tensors.items()}, {"layers": layers}

    def restore(self, module: nn.Module, tensors: Mapping[str, Tensor], layout: Mapping[str, Any]) -> nn.Module:
        """See `ThirdPartyFormat`."""
        layers = layout.get("layers")
        known = quantizable_layers(module)
        if not isinstance(layers, dict) or not layers:
            raise CheckpointError("bridge.layout.layers: expected the quantized layers")
        stored = {}
        for name, entry in layers.items():
            kind = entry.get("kind") if isinstance(entry, dict) else None
            rotation = entry.get("rotation") if isinstance(entry, dict) else None
            if name not in known or kind not in (*GGUF_BITS, INT8) or not isinstance(rotation, int):
                raise CheckpointError(f"bridge.layout.layers.{name[:80]}: not a layer that this format has")
            codes, scale = tensors.get(f"{name}.{CODES}"), tensors.get(f"{name}.{SCALE}")
            if codes is None or (scale is None) != (kind in GGUF_BITS):
                raise CheckpointError(f"tensor {name}.{CODES}: missing, or without its scale")
            stored[name] = Stored(kind, codes, scale, rotation)
        expected = module.state_dict().keys() - {f"{name}.weight" for name in stored}
        floats = {name: tensors[name] for name in expected if name in tensors}
        used = {*floats, *(f"{name}.{part}" for name in stored for part in (CODES, SCALE))}
        if odd := (expected - floats.keys()) | (tensors.keys() - used):
            raise CheckpointError(f"tensor {min(odd)} is missing, or belongs to nothing")
        return fill(module, stored, floats, "checkpoint")

    def reads(self, written: str, installed: str) -> bool:
        """Every version of this package reads it."""
        return True


def unrotated(weight: Tensor, group: int) -> Tensor:
    """Undo ConvRot's rotation of a Linear weight (out, in), of groups of `group` inputs.

    Raises:
        CheckpointError: the group is no power of 4, or does not divide the inputs; or it is no Linear's weight.
    """
    if weight.ndim != 2 or not is_rotation_size(group) or weight.shape[1] % group:
        raise CheckpointError(f"a rotation of groups of {group}: expected a power of 4 that divides a Linear's inputs")
    return rotate(weight, group, 1)


def _gguf_entries(path: Path) -> dict[str, Stored | Tensor]:
    if missing := missing_distributions(("gguf",)):
        raise PluginError(f"{path.name}: {missing}")
    import gguf

    try:
        tensors = gguf.GGUFReader(path).tensors
    except (ValueError, OSError, IndexError, KeyError) as error:
        raise CheckpointError(f"{path}: cannot be read as GGUF ({error})") from error
    entries: dict[str, Stored | Tensor] = {}
    for one in tensors:
        kind = one.tensor_type.name
        if kind in GGUF_FLOATS:
            data = torch.from_numpy(gguf.dequantize(one.data, one.tensor_type).copy())
            entries[one.name] = {"F16": data.half(), "BF16": data.bfloat16()}.get(kind, data)
        elif kind in GGUF_BITS:
            entries[one.name] = Stored(kind, torch.from_numpy(one.data.copy()))
        else:
            raise CheckpointError(f"{path}: {one.name} is {kind}; expected {', '.join((*GGUF_FLOATS, *GGUF_BITS))}")
    return entries


def _safetensors_entries(path: Path) -> dict[str, Stored | Tensor]:
    with open_tensors(path) as opened:
        tensors: dict[str, Tensor] = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    entries: dict[str, Stored | Tensor] = {}
    for name, tensor in tensors.items():
        layer, _, part = name.rpartition(".")
        if part in (SCALE, MARK):
            continue
        if tensor.is_floating_point() and tensor.element_size() > 1:
            entries[name] = tensor
            continue
        mark = _mark(path, layer, tensors.get(f"{layer}.{MARK}"))
        scale = tensors.get(f"{layer}.{SCALE}")
        if part != "weight" or tensor.dtype != torch.int8 or mark.get("format", INT8) != INT8 or scale is None:
            kind = mark.get("format", str(tensor.dtype).removeprefix("torch."))
            raise CheckpointError(f"{path}: {name} is {kind}; expected floating point, or int8_tensorwise with a scale")
        rotation = mark.get("convrot_groupsize", 256) if mark.get("convrot") else 0
        if not isinstance(rotation, int):
            raise CheckpointError(f"{path}: {layer}.{MARK}: convrot_groupsize is no number")
        entries[name] = Stored(INT8, tensor, scale.float(), rotation)
    return entries


def _mark(path: Path, layer: str, tensor: Tensor | None) -> dict[str, Any]:
    if tensor is None:
        return {}
    try:
        mark = json.loads(bytes(tensor.to(torch.uint8).tolist()))
    except ValueError as error:
        raise CheckpointError(f"{path}: {layer}.{MARK}: expected JSON") from error
    if not isinstance(mark, dict):
        raise CheckpointError(f"{path}: {layer}.{MARK}: expected an object")
    return mark


def _prefix(names: list[str], expected: Any) -> str:
    """Return what all names begin with beyond the network's own, as a wrapper leaves it."""
    some = next(iter(expected))
    found = [name.removesuffix(some) for name in names if name == some or name.endswith(f".{some}")]
    return next((prefix for prefix in found if all(name.startswith(prefix) for name in names)), "")


def _dequantized_blocks(kind: str, codes: Tensor, shape: torch.Size) -> Tensor:
    if missing := missing_distributions(("gguf",)):
        raise PluginError(f"weights of {kind} {missing}")
    import gguf

    try:
        values = gguf.dequantize(codes.numpy(), gguf.GGMLQuantizationType[kind])
    except (ValueError, AssertionError) as error:
        raise CheckpointError(f"no whole blocks of {kind}") from error
    if values.size != shape.numel():
        raise CheckpointError(f"{values.size} numbers; expected {tuple(shape)}")
    return torch.from_numpy(values.copy()).reshape(shape)
