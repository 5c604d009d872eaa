"""Packed checkpoints: a folder with `model.safetensors` and `quantization.json`, written and read.

The format is specified in docs/checkpoint-format.md. A checkpoint is read as data from a stranger: nothing in it is
executed, and nothing reaches a module before its name, shape, dtype, hash and values have been checked.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, ValidationError, model_validator
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from admbench.errors import CheckpointError, DataError
from admbench.files import atomic_directory, read_json, write_text_atomic
from admbench.methods.core.checkpoint.architectures import build_network, describe_network
from admbench.methods.core.layers.attention import AttentionSites, attention_sites, set_sites
from admbench.methods.core.layers.quantized import (
    AnyLayer,
    QuantizedLayer,
    layer_kind,
    quantizable_layers,
    quantized_layers,
    replace_layer,
    replace_shared,
    weight_of,
    weight_only_layers,
)
from admbench.methods.core.layers.split import split_layers, splits_of
from admbench.methods.core.numbers.codebooks import NF4_LEVELS
from admbench.methods.core.numbers.packing import pack_bits, packed_size, unpack_bits
from admbench.methods.core.numbers.precision import run_in
from admbench.methods.core.numbers.quantizer import Quantizer
from admbench.methods.core.numbers.scheme import (
    PLAIN,
    AttentionScheme,
    LayerKind,
    LayerParts,
    LayerScheme,
    Scheme,
)
from admbench.methods.core.numbers.timesteps import attach_clock
from admbench.methods.core.reconstruction.correction import NoiseCorrection, correct, correction_of

FORMAT_VERSION: Literal[3] = 3
READABLE_VERSIONS = (1, 2, 3)
"""Version 2 is version 3 without quantized embeddings, transposed convolutions and corrections; version 1 is version 2
without attentions, parts of layers, and any scheme but static uniform ones."""
FloatType = Literal["float32", "bfloat16"]
LATER_KINDS: tuple[LayerKind, ...] = ("conv_transpose1d", "conv_transpose2d", "embedding")
"""Since version 3."""
Component = Literal[
    "backbone", "text_encoder", "text_encoder_2", "language_model", "condition_encoder", "vae", "vocoder"
]
"""Parts of a pipeline that can be quantized."""
TENSOR_FILE = "model.safetensors"
HEADER_FILE = "quantization.json"
MAX_HEADER_BYTES = 16 * 2**20
DTYPES: dict[FloatType, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*$", max_length=300)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=1000)]


class _Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class MethodHeader(_Section):
    """The method that made a checkpoint."""

    name: Text
    """Registry name."""
    spec: Text
    """As typed."""
    version: Text
    """Version of the method's implementation."""
    config: dict[str, JsonValue]
    """Every option with its value, defaults expanded."""


class SourceHeader(_Section):
    """The model that a checkpoint was made from."""

    model: Text
    """Name that the model is loaded by."""
    weights_sha256: Sha256
    """Hash of its full-precision weights."""
    license: Text | None
    """Licence of its weights, which a checkpoint made from them inherits; null if the source states none."""


class BackboneHeader(_Section):
    """The structure that the tensors belong to."""

    architecture: Text
    """Class of diffusers, one of an allow-list."""
    config: dict[str, JsonValue]
    """Arguments of its constructor."""
    dtype: FloatType
    """Floating-point type of the parameters that are not quantized, which is also the one it computes in."""


class LayerHeader(LayerScheme):
    """One quantized layer: its schemes, and what it must be in the backbone."""

    kind: LayerKind
    """Type of the layer."""
    shape: list[Annotated[int, Field(ge=1)]]
    """Shape of its weight, output channels first."""
    parts: LayerParts = PLAIN
    """What it has besides codes and quantizers."""


class Header(_Section):
    """What `quantization.json` holds."""

    format_version: Literal[1, 2, 3]
    """Version of the format."""
    component: Component
    """Component of the pipeline that the checkpoint replaces."""
    method: MethodHeader
    """What made it."""
    source: SourceHeader
    """What it was made from."""
    backbone: BackboneHeader
    """Class and configuration of the network."""
    splits: dict[Name, Annotated[int, Field(ge=1)]] = {}
    """Layers that are a sum of two, `NAME.first` and `NAME.second`: input channel that the second part starts at.
    Files from before there were any have no such key."""
    attentions: dict[Name, AttentionScheme] = {}
    """Attentions with quantized operands by name; files of version 1 have no such key."""
    correction: Annotated[int, Field(ge=0)] = 0
    """Timesteps with a correction of the prediction. Where there is none, 0, files have no such key."""
    layers: dict[Name, LayerHeader]
    """Quantized layers by name."""
    tensors: dict[Name, Sha256]
    """Every tensor in the tensor file, with the SHA-256 of its bytes there."""

    @model_validator(mode="after")
    def _check_version(self) -> Header:
        """A reader of that version must have known all that is in it."""
        kinds = {layer.kind for layer in self.layers.values()}
        if self.format_version < 3 and (self.correction or not kinds.isdisjoint(LATER_KINDS)):
            raise ValueError(f"version {self.format_version} has no corrections and no {', '.join(LATER_KINDS)} layers")
        if self.format_version < 2 and (self.attentions or any(layer.parts != PLAIN for layer in self.layers.values())):
            raise ValueError("version 1 has no attentions, and no parts of layers")
        return self


class _Slot(NamedTuple):
    """A tensor of a module, and where it is."""

    owner: nn.Module
    attribute: str
    tensor: Tensor
    bits: int | None
    """Bits of a code where the file holds the tensor packed, None where it holds it as it is."""
    tied: list[tuple[nn.Module, str]]
    """Other places that hold the very same parameter, such as T5's table of tokens."""


def pack(
    directory: str | Path,
    module: nn.Module,
    method: MethodHeader,
    source: SourceHeader,
    component: Component = "backbone",
) -> None:
    """Write a network, quantized or not, as a packed checkpoint; the folder is replaced as a whole or not at all.

    Raises:
        CheckpointError: the network's class is none that a checkpoint may name, a tensor is not finite, or the folder
            cannot be written.
    """
    architecture, config = describe_network(module)
    correction = correction_of(module)
    tensors = {name: _stored(name, slot) for name, slot in _slots(module).items()}
    header = Header(
        format_version=FORMAT_VERSION,
        component=component,
        method=method,
        source=source,
        backbone=BackboneHeader(
            architecture=architecture, config=json.loads(json.dumps(config)), dtype=_float_dtype(module)
        ),
        splits=splits_of(module),
        attentions={name: sites.scheme for name, sites in attention_sites(module).items()},
        correction=0 if correction is None else len(correction.mean),
        layers={name: _layer_header(layer) for name, layer in quantized_layers(module).items()},
        tensors={name: _sha256(tensor) for name, tensor in tensors.items()},
    )
    try:
        with atomic_directory(directory) as folder:
            save_file(tensors, folder / TENSOR_FILE)
            keys = header.model_dump(exclude=None if header.correction else {"correction"})
            write_text_atomic(folder / HEADER_FILE, json.dumps(keys, sort_keys=True) + "\n")
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{directory}: the checkpoint cannot be written ({error})") from error


def load(directory: str | Path) -> nn.Module:
    """Return the network of a packed checkpoint, on the CPU, in evaluation mode.

    Its codes, scales and zero points are those of the module that was packed, and so are its outputs, bit for bit.
    Tensors are read through a memory map, one at a time, and copied out of it: into memory aligned as torch aligns it
    (on which the last bit of a matrix product may depend), and independent of what becomes of the file.

    Raises:
        CheckpointError: the folder holds no checkpoint, one of another format version, or one that is truncated,
            changed or inconsistent; names the file and, where it is one tensor's fault, the tensor.
    """
    header = read_header(directory)
    path = Path(directory) / TENSOR_FILE
    module = _build(header, Path(directory) / HEADER_FILE)
    slots = _slots(module)
    try:
        with safe_open(path, framework="pt") as file:
            _check_names(path, expected=slots.keys(), found=file.keys())
            _check_names(path, expected=header.tensors.keys(), found=file.keys())
            for name, slot in slots.items():
                _fill(slot, _checked(f"{path}: tensor {name}", slot, file.get_tensor(name), header.tensors[name]))
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: cannot be read, or is truncated ({error})") from error
    return module.eval()


def read_header(directory: str | Path) -> Header:
    """Return what `quantization.json` says, checked against the format but not against the tensors.

    Raises:
        CheckpointError: there is none, it is malformed, or of another format version; names the file.
    """
    path = Path(directory) / HEADER_FILE
    if not path.is_file():
        raise CheckpointError(f"{directory}: not a packed checkpoint (it has no {HEADER_FILE})")
    if path.stat().st_size > MAX_HEADER_BYTES:
        raise CheckpointError(f"{path}: larger than {MAX_HEADER_BYTES} bytes")
    try:
        value = read_json(path)
    except DataError as error:
        raise CheckpointError(str(error)) from error
    version = value.get("format_version") if isinstance(value, dict) else None
    if version not in READABLE_VERSIONS:
        expected = " or ".join(map(str, READABLE_VERSIONS))
        raise CheckpointError(f"{path}: format version {version!r} is not known; expected {expected}")
    try:
        return Header.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "format_version"
        raise CheckpointError(f"{path}: {where}: {first['msg'].removeprefix('Value error, ')}") from error


def directory_bytes(directory: str | Path) -> int:
    """Return the bytes of all files in a folder and its subfolders: what lies on disk."""
    return sum(path.stat().st_size for path in Path(directory).rglob("*") if path.is_file())


def _slots(module: nn.Module) -> dict[str, _Slot]:
    """Return every parameter and buffer of a module, by its name in the tensor file."""
    slots: dict[str, _Slot] = {}
    parameters: dict[int, _Slot] = {}
    for prefix, owner in module.named_modules():
        members = [*owner.named_parameters(recurse=False), *owner.named_buffers(recurse=False)]
        for attribute, tensor in members:
            if id(tensor) in parameters:
                parameters[id(tensor)].tied.append((owner, attribute))
                continue
            name = f"{prefix}.{attribute}".removeprefix(".").replace("_quantizer.", "_")
            if name in slots:
                raise CheckpointError(f"two tensors of the network would be called {name}")
            slots[name] = _Slot(owner, attribute, tensor, _code_bits(owner, attribute), [])
            if isinstance(tensor, nn.Parameter):
                parameters[id(tensor)] = slots[name]
    return slots


def _code_bits(owner: nn.Module, attribute: str) -> int | None:
    if isinstance(owner, QuantizedLayer) and attribute == "weight_codes" and owner.weight_quantizer is not None:
        return owner.weight_quantizer.scheme.bits
    return None


def _stored(name: str, slot: _Slot) -> Tensor:
    """Return a tensor as it goes into the file."""
    tensor = slot.tensor.detach().cpu().contiguous()
    if slot.bits is not None:
        return torch.from_numpy(pack_bits(tensor.reshape(-1).numpy(), slot.bits))
    if not _is_finite(tensor):
        raise CheckpointError(f"tensor {name} holds NaN or infinity and cannot be written to a checkpoint")
    return tensor


def _layer_header(layer: QuantizedLayer) -> LayerHeader:
    scheme = layer.scheme
    return LayerHeader(
        weight=scheme.weight,
        activation=scheme.activation,
        kind=layer.kind,
        shape=list(layer.shape),
        parts=layer.parts,
    )


def _float_dtype(module: nn.Module) -> FloatType:
    found = {parameter.dtype for parameter in module.parameters()}
    names = [name for name, dtype in DTYPES.items() if found <= {dtype}]
    if not names:
        raise CheckpointError(f"parameters must all be of one type, {' or '.join(DTYPES)}; found {found}")
    return names[0]


def _build(header: Header, path: Path) -> nn.Module:
    """Return the network that a header describes, on the meta device."""
    try:
        described = header.backbone
        module = build_network(described.architecture, described.config, most_layers=len(header.tensors))
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    if header.layers and described.dtype != "float32":
        raise CheckpointError(f"{path}: quantized layers compute in float32, not in {described.dtype}")
    run_in(module, DTYPES[described.dtype])
    _split(module, header, path)
    weight_only = weight_only_layers(module)
    layers: dict[str, AnyLayer] = {**quantizable_layers(module), **weight_only}
    for name, layer_header in header.layers.items():
        if name not in layers:
            raise CheckpointError(f"{path}: layers.{name}: {described.architecture} has no such layer to quantize")
        if layer_header.weight is None and layer_header.activation is None:
            raise CheckpointError(f"{path}: layers.{name}: quantizes nothing")
        kind, shape = layer_kind(layers[name]), list(weight_of(layers[name]).shape)
        if (layer_header.kind, layer_header.shape) != (kind, shape):
            raise CheckpointError(f"{path}: layers.{name}: expected a {kind} of shape {shape}")
        try:
            layer = QuantizedLayer.unfitted(layers[name], layer_header, layer_header.parts)
        except ValueError as error:
            raise CheckpointError(f"{path}: layers.{name}: {error}") from error
        if name in weight_only:
            replace_shared(module, name, layer)
        else:
            replace_layer(module, name, layer)
    for name, scheme in header.attentions.items():
        try:
            set_sites(module, name, AttentionSites.unfitted(scheme))
        except (KeyError, ValueError) as error:
            raise CheckpointError(f"{path}: attentions.{name}: no such attention to quantize ({error})") from error
    if header.correction:
        correct(module, NoiseCorrection.empty(header.correction))
    attach_clock(module)
    return module


def _split(module: nn.Module, header: Header, path: Path) -> None:
    for name in header.splits:
        if name not in quantizable_layers(module):
            raise CheckpointError(f"{path}: splits.{name}: {header.backbone.architecture} has no such layer to split")
    try:
        split_layers(module, header.splits)
    except ValueError as error:
        raise CheckpointError(f"{path}: splits.{error}") from error


def _check_names(path: Path, *, expected: Iterable[str], found: Iterable[str]) -> None:
    missing, extra = set(expected) - set(found), set(found) - set(expected)
    if missing:
        raise CheckpointError(f"{path}: tensor {min(missing)} is missing ({len(missing)} in all)")
    if extra:
        raise CheckpointError(f"{path}: tensor {min(extra)!r} does not belong to the network ({len(extra)} in all)")


def _checked(what: str, slot: _Slot, stored: Tensor, sha256: str) -> Tensor:
    """Return a stored tensor, unpacked and copied, after checking all that can be wrong with it."""
    expected = slot.tensor
    shape, dtype = tuple(expected.shape), expected.dtype
    if slot.bits is not None:
        shape = (packed_size(expected.numel(), slot.bits),)
    if tuple(stored.shape) != shape or stored.dtype != dtype:
        raise CheckpointError(f"{what}: expected {dtype} {shape}, found {stored.dtype} {tuple(stored.shape)}")
    if _sha256(stored) != sha256:
        raise CheckpointError(f"{what}: its bytes do not have the SHA-256 of the header")
    if slot.bits is not None:
        return _unpacked(what, slot, stored)
    if not _is_finite(stored):
        raise CheckpointError(f"{what}: holds NaN or infinity")
    if isinstance(slot.owner, Quantizer):
        _check_quantizer(what, slot.owner.scheme, slot.attribute, stored)
    if (
        isinstance(slot.owner, NoiseCorrection)
        and slot.attribute == "timesteps"
        and not bool((stored.diff() > 0).all())
    ):
        raise CheckpointError(f"{what}: holds timesteps that do not increase")
    if slot.attribute == "input_scale" and not bool((stored > 0).all()):
        raise CheckpointError(f"{what}: holds an input scale that is not positive")
    return stored.clone()


def _unpacked(what: str, slot: _Slot, stored: Tensor) -> Tensor:
    assert isinstance(slot.owner, QuantizedLayer)
    assert slot.owner.weight_quantizer is not None
    scheme = slot.owner.weight_quantizer.scheme
    try:
        codes = torch.from_numpy(unpack_bits(stored.numpy(), scheme.bits, slot.tensor.numel()))
    except ValueError as error:
        raise CheckpointError(f"{what}: {error}") from error
    if codes.numel() and int(codes.min()) < scheme.code_min:
        raise CheckpointError(f"{what}: code {int(codes.min())} is below {scheme.code_min}")
    return codes.reshape(slot.tensor.shape)


def _check_quantizer(what: str, scheme: Scheme, attribute: str, stored: Tensor) -> None:
    if attribute == "scale":
        valid = bool((stored > 0).all())
    elif attribute == "timesteps":
        valid = bool((stored.diff() > 0).all())
    elif scheme.zero == "float":
        valid = True  # any finite number
    elif scheme.codebook == "nf4":
        valid = bool((stored == NF4_LEVELS.index(0.0)).all())
    elif scheme.codebook == "log2":
        valid = bool((stored == scheme.code_max).all())
    elif scheme.symmetric:
        valid = bool((stored == 2 ** (scheme.bits - 1)).all())
    else:
        valid = bool((stored <= scheme.code_max).all())
    if not valid:
        raise CheckpointError(f"{what}: holds a {attribute.replace('_', ' ')} that its scheme does not allow")


def _fill(slot: _Slot, tensor: Tensor) -> None:
    is_parameter = isinstance(slot.tensor, nn.Parameter)
    value = nn.Parameter(tensor, requires_grad=False) if is_parameter else tensor
    for owner, attribute in [(slot.owner, slot.attribute), *slot.tied]:
        setattr(owner, attribute, value)


def _is_finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())


def _sha256(tensor: Tensor) -> str:
    """Return the SHA-256 of a tensor's bytes as they lie in the file."""
    return hashlib.sha256(tensor.reshape(-1).view(torch.uint8).numpy().data).hexdigest()
