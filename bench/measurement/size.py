"""Bytes of a pipeline on disk: what was really written, never what bit widths suggest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from admbench.bench.models.quantization import checkpoint_folders
from admbench.methods.core.checkpoint.header import TENSOR_FILE

if TYPE_CHECKING:
    from torch import nn

    from admbench.bench.models.base import AudioDiffusionModel


def component_bytes(model: AudioDiffusionModel) -> dict[str, int]:
    """Return the bytes of the tensors of every component, in the type in which they run; a shared one counts once."""
    return {name: _tensor_bytes(module) for name, module in model.components.items()}


def _tensor_bytes(module: nn.Module) -> int:
    # a table of tokens that two places share has two names and one address
    tensors = {tensor.data_ptr(): tensor for tensor in module.state_dict().values()}
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def tensor_bytes(folder: Path) -> int:
    """Return the bytes of all tensors of one component's packed checkpoint, without headers."""
    file = folder / TENSOR_FILE
    with file.open("rb") as opened:
        header = int.from_bytes(opened.read(8), "little")  # safetensors: the header's length, the header, the tensors
    return file.stat().st_size - 8 - header


def size_section(
    checkpoint: Path, baseline: dict[str, int], *, parameters: int, nominal_bits: float, fraction: float
) -> dict[str, Any]:
    """Return the `size` section of a record.

    Args:
        checkpoint: folder of the packed checkpoint.
        baseline: bytes of every component of the pipeline in fp32.
        parameters: of the quantized components, in full precision.
        nominal_bits: mean bits of a stored parameter of the quantized components.
        fraction: share of their parameters that is stored in fewer than 32 bits.
    """
    folders = checkpoint_folders(checkpoint)
    written: dict[str, int] = {
        name: sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
        for name, folder in folders.items()
    }
    replaced = sum(baseline[name] for name in written)
    components = {**baseline, **written}
    return {
        "checkpoint_bytes": sum(written.values()),
        "baseline_bytes": replaced,
        "reduction": 1 - sum(written.values()) / replaced,
        "nominal_bits_per_weight": nominal_bits,
        "effective_bits_per_weight": 8 * sum(map(tensor_bytes, folders.values())) / parameters,
        "quantized_fraction": fraction,
        "components": components,
        "pipeline": {
            "bytes": sum(components.values()),
            "baseline_bytes": sum(baseline.values()),
            "reduction": 1 - sum(components.values()) / sum(baseline.values()),
        },
    }
