"""Bytes of a pipeline on disk: what was really written, never what bit widths suggest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from methods.core.checkpoint import directory_bytes

if TYPE_CHECKING:
    from bench.models.base import AudioDiffusionModel


def other_components(model: AudioDiffusionModel) -> dict[str, int]:
    """Return the bytes of the tensors of every component but the backbone, in the type in which they run."""
    return {
        name: sum(tensor.numel() * tensor.element_size() for tensor in module.state_dict().values())
        for name, module in model.components.items()
        if name != "backbone"
    }


def size_section(
    checkpoint: Path, baseline_bytes: int, nominal_bits: float, fraction: float, others: dict[str, int]
) -> dict[str, Any]:
    """Return the `size` section of a record.

    Args:
        checkpoint: folder of the packed checkpoint.
        baseline_bytes: bytes of the same component in fp32, written through the same door.
        nominal_bits: mean bits of a stored parameter.
        fraction: share of the parameters that is stored in fewer than 32 bits.
        others: bytes of the pipeline's components that are left alone.
    """
    written = directory_bytes(checkpoint)
    return {
        "checkpoint_bytes": written,
        "baseline_bytes": baseline_bytes,
        "reduction": 1 - written / baseline_bytes,
        "nominal_bits_per_weight": nominal_bits,
        "quantized_fraction": fraction,
        "components": {"backbone": written, **others},
    }
