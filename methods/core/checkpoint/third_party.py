"""Checkpoints of other packages: their own tensors in safetensors, and a header that names the package.

A bridge is a method that lets another package do the work. What that package leaves are tensors and modules of its own
kinds, which the packed format does not know. So the folder holds the same two files, but `quantization.json` has the
keys `format` and `bridge`, and a `ThirdPartyFormat` takes the module apart and puts it together again. The rules are
those of the packed format: no pickles, nothing that names code, every tensor hashed, and the structure built from an
allow-list. See docs/checkpoint-format.md.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field, JsonValue, StringConstraints, ValidationError
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from admbench.errors import CheckpointError, PluginError, UsageError
from admbench.files import atomic_directory, write_text_atomic
from admbench.hashing import sha256_tensors
from admbench.methods.core.checkpoint.architectures import build_network, describe_network
from admbench.methods.core.checkpoint.header import (
    HEADER_FILE,
    SEAL,
    TENSOR_FILE,
    BackboneHeader,
    Component,
    MethodHeader,
    Section,
    Sha256,
    SourceHeader,
    Text,
    check_seal,
    sealed,
)
from admbench.methods.core.checkpoint.tensors import most_numbers, open_tensors
from admbench.methods.core.numbers.scheme import LayerKind
from admbench.methods.core.processor import signed_product_refusal

FLOAT_BITS = 16
"""How a spec writes a side that stays in floating point."""
_KINDS: dict[type[nn.Module], LayerKind] = {nn.Linear: "linear", nn.Conv1d: "conv1d", nn.Conv2d: "conv2d"}

TensorName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]+([.:][A-Za-z0-9_]+)*$", max_length=300)]
"""Name of a tensor; packages write `:` too. A key, never a path."""


class ThirdPartyLayer(Section):
    """What a package made of one Linear or convolution."""

    kind: LayerKind
    """Type of the layer."""
    shape: list[Annotated[int, Field(ge=1)]]
    """Shape of its weight, output channels first."""
    weight_bits: Annotated[int, Field(ge=2, le=FLOAT_BITS)]
    """Bits of a weight as it is stored."""
    weight_granularity: Text
    """What has a scale of its own: `channel`, or `group of N`."""
    activation_bits: Annotated[int, Field(ge=2, le=FLOAT_BITS)]
    """Bits that the input is rounded to; 16 leaves it alone."""
    activation_granularity: Text | None
    """What of the input has a scale of its own, such as `token, dynamic`; null if it is left alone."""


class BridgeHeader(Section):
    """The package that a checkpoint's tensors belong to."""

    package: Text
    """Distribution."""
    version: Text
    """Version that wrote the checkpoint."""
    layout: dict[str, JsonValue]
    """What the package needs beside the tensors to put the module together; its format checks it."""


class ThirdPartyHeader(Section):
    """What `quantization.json` holds for a backbone that another package quantized."""

    format: Text
    """Registry name of the format."""
    format_version: Literal[1, 2]
    """Version of this header."""
    component: Component
    """Component of the pipeline that the checkpoint replaces."""
    method: MethodHeader
    """What made it."""
    source: SourceHeader
    """What it was made from."""
    backbone: BackboneHeader
    """Class and configuration of the network."""
    bridge: BridgeHeader
    """The package."""
    layers: dict[TensorName, ThirdPartyLayer]
    """Quantized layers by name."""
    tensors: dict[TensorName, Sha256]
    """Every tensor in the tensor file, with the SHA-256 of its name, type, shape and bytes."""
    sha256: Sha256 | None = None
    """Hash of all other keys, see `header.sealed`; since version 2."""


class ThirdPartyFormat(ABC):
    """How the modules of one package become named tensors and JSON, and modules again. Has no state."""

    name: ClassVar[str]
    """Registry name, which a header's `format` is."""
    package: ClassVar[str]
    """Distribution that the modules are of."""

    @abstractmethod
    def describe(self, module: nn.Module) -> dict[str, ThirdPartyLayer]:
        """Return the layers that the package quantized, by name, as they are in the module."""

    @abstractmethod
    def weight(self, module: nn.Module, name: str) -> Tensor:
        """Return the weight that the module's quantized layer of that name computes with, float32, of its shape."""

    @abstractmethod
    def flatten(self, module: nn.Module) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the module's tensors by name, torch's own, and what else `restore` needs as JSON values."""

    @abstractmethod
    def restore(self, module: nn.Module, tensors: Mapping[str, Tensor], layout: Mapping[str, Any]) -> nn.Module:
        """Return the module that was flattened.

        Args:
            module: the full-precision structure, on the meta device.
            tensors: what `flatten` returned; hashes and finiteness have been checked.
            layout: the same; from a file, so nothing in it may be trusted.

        Raises:
            CheckpointError: tensors and layout do not fit the structure or each other.
        """

    def multiplied_codes(self, module: nn.Module) -> dict[str, Tensor]:
        """Return the weights, int8 (out, in), that the package multiplies with by `torch._int_mm`, by layer."""
        return {}

    def reads(self, written: str, installed: str) -> bool:
        """Return whether an installed version of the package reads what another wrote: same first two numbers."""
        return written.split(".")[:2] == installed.split(".")[:2]


def third_party_layers(module: nn.Module) -> dict[str, ThirdPartyLayer] | None:
    """Return what another package quantized of a module; None if it is none of a bridge's."""
    return getattr(module, "_third_party_layers", None)


def mark(module: nn.Module, layers: dict[str, ThirdPartyLayer]) -> nn.Module:
    """Let a module say what another package quantized of it; return it, for inference."""
    module._third_party_layers = layers  # type: ignore[assignment]
    return module.eval().requires_grad_(False)


def refusals(module: nn.Module, form: ThirdPartyFormat) -> dict[str, str]:
    """Return the layers of a module whose integer products may be wrong on this CPU, and why."""
    reasons = {name: signed_product_refusal(codes) for name, codes in form.multiplied_codes(module).items()}
    return {name: reason for name, reason in reasons.items() if reason is not None}


def guard(module: nn.Module, form: ThirdPartyFormat) -> nn.Module:
    """Let layers of a module refuse what this CPU would multiply wrongly, and return the module.

    A checkpoint may come from a processor that computes it, and a loaded one may yet go to a GPU: so it is the input
    that is refused.
    """
    for name, reason in refusals(module, form).items():
        module.get_submodule(name).register_forward_pre_hook(partial(_refuse_on_cpu, f"layer {name}: {reason}"))
    return module


def _refuse_on_cpu(reason: str, layer: nn.Module, inputs: tuple[Any, ...]) -> None:
    if any(isinstance(value, Tensor) and value.device.type == "cpu" for value in inputs):
        raise UsageError(reason)


def described(
    layer: nn.Module, weight: tuple[int, str], activation: tuple[int, str | None] = (FLOAT_BITS, None)
) -> ThirdPartyLayer:
    """Return the description of a layer, of which the package may have made a subclass.

    Args:
        layer: a Linear or convolution that says its channels, as torch's do.
        weight: bits and granularity of its weight.
        activation: the same of its input.
    """
    kind = next(kind for base, kind in _KINDS.items() if isinstance(layer, base))
    if isinstance(layer, nn.Linear):
        shape = [layer.out_features, layer.in_features]
    else:
        assert isinstance(layer, nn.Conv1d | nn.Conv2d)
        shape = [layer.out_channels, layer.in_channels // layer.groups, *layer.kernel_size]
    return ThirdPartyLayer(
        kind=kind,
        shape=shape,
        weight_bits=weight[0],
        weight_granularity=weight[1],
        activation_bits=activation[0],
        activation_granularity=activation[1],
    )


def pack(
    directory: str | Path,
    module: nn.Module,
    form: ThirdPartyFormat,
    method: MethodHeader,
    source: SourceHeader,
    component: Component = "backbone",
) -> None:
    """Write a module that a package quantized, in place of any older checkpoint there.

    Raises:
        CheckpointError: the network's class is none that a checkpoint may name, a tensor is not finite, or the folder
            cannot be written.
    """
    architecture, config = describe_network(module)
    tensors, layout = form.flatten(module)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    for name, tensor in tensors.items():
        _check_finite(f"tensor {name}", tensor)
    header = ThirdPartyHeader(
        format=form.name,
        format_version=2,
        component=component,
        method=method,
        source=source,
        backbone=BackboneHeader(architecture=architecture, config=json.loads(json.dumps(config)), dtype="float32"),
        bridge=BridgeHeader(package=form.package, version=installed_version(form.package), layout=layout),
        layers=form.describe(module),
        tensors={name: sha256_tensors({name: tensor}) for name, tensor in tensors.items()},
    )
    try:
        with atomic_directory(directory) as folder:
            save_file(tensors, folder / TENSOR_FILE)
            write_text_atomic(
                folder / HEADER_FILE, json.dumps(sealed(header.model_dump(exclude={SEAL})), sort_keys=True) + "\n"
            )
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{directory}: the checkpoint cannot be written ({error})") from error


def parse_header(value: Any, path: Path) -> ThirdPartyHeader:
    """Return a header that was read from `path`.

    Raises:
        CheckpointError: it is malformed; names the key.
    """
    try:
        header = ThirdPartyHeader.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise CheckpointError(f"{path}: {where}: {first['msg']}") from error
    check_seal(path, value, since=2)
    return header


def load(directory: str | Path, header: ThirdPartyHeader, form: ThirdPartyFormat) -> nn.Module:
    """Return the module of a checkpoint, on the CPU, in evaluation mode; its outputs are those of the packed one.

    Raises:
        CheckpointError: the package is missing or of a version that does not read this, or the files are truncated,
            changed or inconsistent; names the file and, where it is one tensor's fault, the tensor.
    """
    place, path = Path(directory) / HEADER_FILE, Path(directory) / TENSOR_FILE
    _check_package(place, header.bridge, form)
    try:
        described, tensors = header.backbone, _read_tensors(path, header)
        module = build_network(
            described.architecture, described.config, numbers=most_numbers(path), tensors=len(tensors)
        )
        shapes = {name: tuple(tensor.shape) for name, tensor in _members(module).items()}
        module = form.restore(module, tensors, header.bridge.layout)
    except CheckpointError as error:
        text = str(error)
        raise CheckpointError(text if text.startswith(str(directory)) else f"{place}: {text}") from error
    except Exception as error:  # a package may fail in any way on a file that is not its own
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:500]
        raise CheckpointError(f"{place}: {form.package} does not read it ({reason})") from error
    _check_restored(place, module, shapes, header, form)
    return guard(mark(module, header.layers), form)


def installed_version(package: str) -> str:
    """Return the installed version of a distribution.

    Raises:
        PluginError: it is not installed.
    """
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        raise PluginError(f"{package} is not installed: pip install {package}") from None


def _check_package(place: Path, bridge: BridgeHeader, form: ThirdPartyFormat) -> None:
    if bridge.package != form.package:
        raise CheckpointError(f"{place}: bridge.package: expected {form.package}, found {bridge.package}")
    try:
        installed = installed_version(form.package)
    except PluginError as error:
        raise CheckpointError(f"{place}: written by {form.package} {bridge.version}; {error}") from error
    if not form.reads(bridge.version, installed):
        raise CheckpointError(
            f"{place}: written by {form.package} {bridge.version}, which {installed}, installed here, is not known to"
            f" read: pip install {form.package}=={bridge.version}"
        )


def _read_tensors(path: Path, header: ThirdPartyHeader) -> dict[str, Tensor]:
    tensors = {}
    with open_tensors(path) as file:
        found = set(file.keys())
        for name in header.tensors.keys() - found:
            raise CheckpointError(f"{path}: tensor {name} is missing")
        for name in found - header.tensors.keys():
            raise CheckpointError(f"{path}: tensor {name!r} is not in the header")
        for name, sha256 in header.tensors.items():
            tensor = file.get_tensor(name).clone()  # out of the memory map: aligned, and independent of the file
            if sha256_tensors({name: tensor}) != sha256:
                raise CheckpointError(f"{path}: tensor {name}: does not have the SHA-256 of the header")
            _check_finite(f"{path}: tensor {name}", tensor)
            tensors[name] = tensor
    return tensors


def _check_restored(
    place: Path,
    module: nn.Module,
    shapes: Mapping[str, tuple[int, ...]],
    header: ThirdPartyHeader,
    form: ThirdPartyFormat,
) -> None:
    """Check that a restored module has every number, shapes as its structure has them, and the layers of the header."""
    if form.describe(module) != header.layers:
        raise CheckpointError(f"{place}: layers: not those that the tensors hold")
    members = _members(module)
    empty = [name for name, tensor in members.items() if tensor.device.type == "meta"]
    if empty:
        raise CheckpointError(f"{place}: {empty[0]} has no numbers")
    for name, shape in shapes.items():
        if name.rpartition(".")[0] in header.layers:
            continue  # in the package's own form; its weight is looked at below
        found = tuple(members[name].shape) if name in members else None
        if found != shape:
            raise CheckpointError(f"{place}: {name}: expected the shape {shape}, found {found}")
    for name, layer in header.layers.items():
        weight = form.weight(module, name)
        if tuple(weight.shape) != shapes[f"{name}.weight"] or list(weight.shape) != layer.shape:
            raise CheckpointError(f"{place}: {name}: its weight has the shape {tuple(weight.shape)}")
        _check_finite(f"{place}: {name}: its weight", weight)


def _members(module: nn.Module) -> dict[str, Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def _check_finite(what: str, tensor: Tensor) -> None:
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor.float()).all()):
        raise CheckpointError(f"{what} holds NaN or infinity")
