"""Networks in the format of transformers, from a local folder: complete, or refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from admbench.errors import CheckpointError


def load_pretrained(network: Any, weights: Path, kind: str, **options: Any) -> Any:
    """Return a model of transformers in float32, without dropout.

    Args:
        network: its class.
        weights: file in the model's folder, beside its configuration.
        kind: what the folder should hold, such as `a CLAP model`.
        options: further arguments of `from_pretrained`.

    Raises:
        CheckpointError: the folder holds something else, or lacks weights of the network; names it.
    """
    import torch

    folder = weights.parent
    try:
        model, about = network.from_pretrained(
            folder, local_files_only=True, output_loading_info=True, dtype=torch.float32, **options
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise not_a(kind, folder, error) from error
    if about["missing_keys"]:
        raise CheckpointError(f"{weights}: lacks {min(about['missing_keys'])} of the network")
    return model.eval()


def not_a(kind: str, folder: Path, error: Exception) -> CheckpointError:
    """Return the one line for a folder of something else than a model of transformers of some kind."""
    return CheckpointError(f"{folder}: not {kind} of transformers ({(str(error).splitlines() or ['?'])[0]})")
