"""Content addresses: SHA-256 of files, of JSON values and of named tensors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


def sha256_file(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """Return the SHA-256 of a JSON value in canonical form (sorted keys, no spaces); NaN and infinity are errors.

    >>> sha256_json({"a": 1, "b": 2}) == sha256_json({"b": 2, "a": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_tensors(tensors: Mapping[str, Any]) -> str:
    """Return the SHA-256 over name, dtype, shape and bytes of each tensor, whatever the order of the mapping.

    Args:
        tensors: name -> numpy array or torch tensor of any dtype and device. An array and a tensor that hold the same
            numbers in the same dtype hash alike.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        dtype, shape, data = _raw(tensors[name])
        digest.update(json.dumps([name, dtype, shape]).encode())
        digest.update(data)
    return digest.hexdigest()


def _raw(tensor: Any) -> tuple[str, list[int], bytes]:
    if isinstance(tensor, np.ndarray):
        return str(tensor.dtype), list(tensor.shape), np.ascontiguousarray(tensor).tobytes()
    import torch

    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return str(tensor.dtype).removeprefix("torch."), list(tensor.shape), flat.view(torch.uint8).numpy().tobytes()
