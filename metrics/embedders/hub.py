"""Model folders in the format of transformers: in the folder of weights, or in the hub's cache. Imports no torch."""

from __future__ import annotations

from pathlib import Path

from admbench.errors import CheckpointError
from admbench.weights import WEIGHTS_VARIABLE, require_vocabulary, weights_folder

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
"""In the order in which transformers takes them."""


def find_folder(judge: str, weights: str) -> Path:
    """Return a model's folder: `weights` itself, `$ADMBENCH_WEIGHTS/weights`, or the hub's cache of that id.

    Nothing is downloaded.

    Raises:
        CheckpointError: it is in none of them; says how to get it.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    folders = [Path(weights).expanduser()]
    if root := weights_folder():
        folders.append(root / weights)
    for folder in folders:
        if folder.is_dir():
            return folder.resolve()
    try:
        return Path(snapshot_download(weights, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        raise CheckpointError(
            f"{judge}: no weights: {weights} is no folder, not in ${WEIGHTS_VARIABLE} and not in the hub's cache;"
            f" to get them: hf download {weights}"
        ) from None


def find_tokenizer(judge: str, folder: Path, name: str) -> Path:
    """Return the folder of a tokenizer: `folder/name`, beside a judge's weights, else where `find_folder` looks.

    Raises:
        CheckpointError: it is in none of them, or has no vocabulary; says how to get it.
    """
    beside = folder / name
    try:
        return require_vocabulary(beside if beside.is_dir() else find_folder(judge, name))
    except CheckpointError as error:
        raise CheckpointError(
            f"{judge}: no tokenizer {name} in {beside} or in the hub's cache; to get it:"
            f' hf download {name} vocab.json merges.txt --local-dir "${WEIGHTS_VARIABLE}/{name}"'
        ) from error


def weight_file(folder: Path) -> Path:
    """Return the file with a model's weights; CheckpointError if the folder has none."""
    for name in WEIGHT_FILES:
        if (folder / name).is_file():
            return folder / name
    raise CheckpointError(f"{folder}: no weights: expected {' or '.join(WEIGHT_FILES)}")
