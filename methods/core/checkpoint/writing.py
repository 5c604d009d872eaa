"""Writing a packed checkpoint: a folder with `model.safetensors` and `quantization.json`."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from admbench.errors import CheckpointError
from admbench.files import atomic_directory, write_text_atomic
from admbench.methods.core.checkpoint.architectures import describe_network
from admbench.methods.core.checkpoint.header import (
    HEADER_FILE,
    SEAL,
    TENSOR_FILE,
    BackboneHeader,
    Component,
    FloatType,
    Header,
    LayerHeader,
    MethodHeader,
    SourceHeader,
    sealed,
    version_of,
)
from admbench.methods.core.checkpoint.tensors import DTYPES, Slot, is_finite, sha256_of, slots_of
from admbench.methods.core.layers.attention import attention_sites
from admbench.methods.core.layers.quantized import QuantizedLayer, quantized_layers
from admbench.methods.core.layers.split import splits_of
from admbench.methods.core.numbers.packing import pack_bits
from admbench.methods.core.reconstruction.correction import correction_of


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
    tensors = {name: _stored(name, slot) for name, slot in slots_of(module).items()}
    layers = {name: _layer_header(layer) for name, layer in quantized_layers(module).items()}
    header = Header(
        format_version=version_of(layers.values()),
        component=component,
        method=method,
        source=source,
        backbone=BackboneHeader(
            architecture=architecture, config=json.loads(json.dumps(config)), dtype=_float_dtype(module)
        ),
        splits=splits_of(module),
        attentions={name: sites.scheme for name, sites in attention_sites(module).items()},
        correction=0 if correction is None else len(correction.mean),
        layers=layers,
        tensors={name: sha256_of(tensor) for name, tensor in tensors.items()},
    )
    try:
        with atomic_directory(directory) as folder:
            save_file(tensors, folder / TENSOR_FILE)
            keys = header.model_dump(exclude={SEAL} if header.correction else {SEAL, "correction"})
            write_text_atomic(folder / HEADER_FILE, json.dumps(sealed(keys), sort_keys=True) + "\n")
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{directory}: the checkpoint cannot be written ({error})") from error


def _stored(name: str, slot: Slot) -> Tensor:
    """Return a tensor as it goes into the file."""
    tensor = slot.tensor.detach().cpu().contiguous()
    if slot.bits is not None:
        return torch.from_numpy(pack_bits(tensor.reshape(-1).numpy(), slot.bits))
    if not is_finite(tensor):
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
