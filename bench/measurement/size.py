"""Bytes of a pipeline on disk: what was really written, never what bit widths suggest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from admbench.bench.models.quantization import checkpoint_folders

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


def size_section(checkpoint: Path, baseline: dict[str, int], nominal_bits: float, fraction: float) -> dict[str, Any]:
    """Return the `size` section of a record.

    Args:
        checkpoint: folder of the packed checkpoint.
        baseline: bytes of every component of the pipeline in fp32.
        nominal_bits: mean bits of a stored parameter of the quantized components.
        fraction: share of their parameters that is stored in fewer than 32 bits.
    """
    written: dict[str, int] = {
        name: sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
        for name, folder in checkpoint_folders(checkpoint).items()
    }
    replaced = sum(baseline[name] for name in written)
    components = {**baseline, **written}
    return {
        "checkpoint_bytes": sum(written.values()),
        "baseline_bytes": replaced,
        "reduction": 1 - sum(written.values()) / replaced,
        "nominal_bits_per_weight": nominal_bits,
        "quantized_fraction": fraction,
        "components": components,
        "pipeline": {
            "bytes": sum(components.values()),
            "baseline_bytes": sum(baseline.values()),
            "reduction": 1 - sum(components.values()) / sum(baseline.values()),
        },
    }
