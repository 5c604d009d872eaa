"""Reading a packed checkpoint back into the network that was packed.

A checkpoint is read as data from a stranger: nothing in it is executed, and nothing reaches a module before its name,
shape, dtype, hash and values have been checked.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

from admbench.errors import CheckpointError
from admbench.methods.core.checkpoint.architectures import build_network
from admbench.methods.core.checkpoint.header import HEADER_FILE, TENSOR_FILE, Header, read_header
from admbench.methods.core.checkpoint.tensors import (
    DTYPES,
    Slot,
    is_finite,
    most_numbers,
    open_tensors,
    sha256_of,
    slots_of,
)
from admbench.methods.core.layers.attention import AttentionSites, set_sites
from admbench.methods.core.layers.kinds import (
    AnyLayer,
    layer_kind,
    quantizable_layers,
    replace_layer,
    replace_shared,
    weight_of,
    weight_only_layers,
)
from admbench.methods.core.layers.quantized import QuantizedLayer
from admbench.methods.core.layers.split import split_layers
from admbench.methods.core.numbers.packing import packed_size, unpack_bits
from admbench.methods.core.numbers.precision import run_in
from admbench.methods.core.numbers.quantizer import Quantizer
from admbench.methods.core.numbers.timesteps import attach_clock
from admbench.methods.core.reconstruction.correction import NoiseCorrection, correct


def load(directory: str | Path) -> nn.Module:
    """Return the network of a packed checkpoint, on the CPU, in evaluation mode.

    Its codes, scales and zero points are those of the module that was packed, and so are its outputs, bit for bit.
    >>> import tempfile
    >>> from admbench.bench.conformance.tiny_models import tiny_tango
    >>> from admbench.methods import from_spec
    >>> model = tiny_tango()
    >>> quantized = from_spec("hqq@w4a16").quantize(model, calibration=None)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     quantized.pack(folder)
    ...     module = load(folder)
    >>> all(torch.equal(tensor, quantized.module.state_dict()[name]) for name, tensor in module.state_dict().items())
    True

    Tensors are read through a memory map, one at a time, and copied out of it: into memory aligned as torch aligns it
    (on which the last bit of a matrix product may depend), and independent of what becomes of the file.

    Raises:
        CheckpointError: the folder holds no checkpoint, one of another format version, or one that is truncated,
            changed or inconsistent; names the file and, where it is one tensor's fault, the tensor.
    """
    header = read_header(directory)
    path = Path(directory) / TENSOR_FILE
    with open_tensors(path) as file:
        module = _build(header, Path(directory) / HEADER_FILE, most_numbers(path), len(file.keys()))
        slots = slots_of(module)
        _check_names(path, expected=slots.keys(), found=file.keys())
        _check_names(path, expected=header.tensors.keys(), found=file.keys())
        for name, slot in slots.items():
            _fill(slot, _checked(f"{path}: tensor {name}", slot, file.get_tensor(name), header.tensors[name]))
    return module.eval()


def _build(header: Header, path: Path, numbers: int, tensors: int) -> nn.Module:
    """Return the network that a header describes, on the meta device, within what its tensor file can hold."""
    try:
        described = header.backbone
        module = build_network(described.architecture, described.config, numbers=numbers, tensors=tensors)
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


def _checked(what: str, slot: Slot, stored: Tensor, sha256: str) -> Tensor:
    """Return a stored tensor, unpacked and copied, after checking all that can be wrong with it."""
    expected = slot.tensor
    shape, dtype = tuple(expected.shape), expected.dtype
    if slot.bits is not None:
        shape = (packed_size(expected.numel(), slot.bits),)
    if tuple(stored.shape) != shape or stored.dtype != dtype:
        raise CheckpointError(f"{what}: expected {dtype} {shape}, found {stored.dtype} {tuple(stored.shape)}")
    if sha256_of(stored) != sha256:
        raise CheckpointError(f"{what}: its bytes do not have the SHA-256 of the header")
    if slot.bits is not None:
        return _unpacked(what, slot, stored)
    if not is_finite(stored):
        raise CheckpointError(f"{what}: holds NaN or infinity")
    if isinstance(slot.owner, Quantizer):
        _check_quantizer(what, slot.owner, slot.attribute, stored)
    if (
        isinstance(slot.owner, NoiseCorrection)
        and slot.attribute == "timesteps"
        and not bool((stored.diff() > 0).all())
    ):
        raise CheckpointError(f"{what}: holds timesteps that do not increase")
    if slot.attribute == "input_scale" and not bool((stored > 0).all()):
        raise CheckpointError(f"{what}: holds an input scale that is not positive")
    return stored.clone()


def _unpacked(what: str, slot: Slot, stored: Tensor) -> Tensor:
    assert slot.bits is not None
    try:
        codes = torch.from_numpy(unpack_bits(stored.numpy(), slot.bits, slot.tensor.numel()))
    except ValueError as error:
        raise CheckpointError(f"{what}: {error}") from error
    codes = codes.reshape(slot.tensor.shape)
    if isinstance(slot.owner, Quantizer):
        _check_quantizer(what, slot.owner, slot.attribute, codes)
    else:
        assert isinstance(slot.owner, QuantizedLayer)
        assert slot.owner.weight_quantizer is not None
        if refusal := slot.owner.weight_quantizer.refuse_codes(codes):
            raise CheckpointError(f"{what}: {refusal}")
    return codes


def _check_quantizer(what: str, quantizer: Quantizer, attribute: str, stored: Tensor) -> None:
    if not quantizer.allows(attribute, stored):
        raise CheckpointError(f"{what}: holds a {attribute.replace('_', ' ')} that its scheme does not allow")


def _fill(slot: Slot, tensor: Tensor) -> None:
    is_parameter = isinstance(slot.tensor, nn.Parameter)
    value = nn.Parameter(tensor, requires_grad=False) if is_parameter else tensor
    for owner, attribute in [(slot.owner, slot.attribute), *slot.tied]:
        setattr(owner, attribute, value)
