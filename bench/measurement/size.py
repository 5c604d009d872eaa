"""Bytes of a pipeline on disk: what was really written, never what bit widths suggest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from methods.core.checkpoint import directory_bytes


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
