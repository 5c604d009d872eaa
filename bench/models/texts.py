"""The conditioning of a suite's captions: encoded once for all cells of a model, and mapped by each."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from admbench.bench.models.batching import batches
from admbench.hashing import sha256_json
from admbench.progress import track

MOST_BYTES = 1 << 30
"""When so much is kept, no more is: each cell encodes the captions that are left."""
_INDEX = "batches"


class Texts(NamedTuple):
    """Conditioning that was kept."""

    path: Path
    """What `keep_texts` wrote: the same bytes for the same captions."""
    captions: int
    """How many were kept."""
    seconds: float
    """That encoding them took."""


def keep_texts(model: Any, prompts: Sequence[str], *, guided: bool, batch_size: int, path: Path) -> Texts:
    """Encode captions in the batches that a model generates them in, and write down what comes out.

    A row that comes again, as that of the empty caption does in each batch, is written once. Of a model that encodes
    captions in a way of its own, without `encode_text`, nothing is kept.

    Args:
        model: whose captions they are.
        prompts: captions.
        guided: whether the empty caption's rows are wanted too.
        batch_size: captions of a batch.
        path: of the safetensors file.

    Returns:
        What was kept: all captions, or the first ones, where these come to `MOST_BYTES`.
    """
    rows, index, kept, seconds = _Rows(), dict[str, Any](), 0, 0.0
    of_all = list(batches(len(prompts), batch_size)) if hasattr(model, "encode_text") else []
    for indices in track(of_all, f"{model.name}: encoding captions"):
        if rows.bytes >= MOST_BYTES:
            break
        own = [prompts[i] for i in indices]
        started = time.perf_counter()
        conditioning = model.encode_text(own, guided=guided)
        seconds += time.perf_counter() - started
        index[_key(own, guided)] = {name: rows.add(name, tensor) for name, tensor in conditioning.items()}
        kept += len(own)
    save_file(rows.tables(), path, {_INDEX: json.dumps(index)})
    return Texts(path, kept, seconds)


class _Rows:
    """Rows of tensors, each once; those of one name, type and shape in a table."""

    def __init__(self) -> None:
        self._tables: dict[str, dict[bytes, tuple[int, Tensor]]] = {}
        self.bytes = 0

    def add(self, name: str, tensor: Tensor) -> tuple[str, list[int]]:
        """Return the name of a table, and which of its rows make up a tensor (n, ...)."""
        table = f"{name} {str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape[1:])}"
        known, numbers = self._tables.setdefault(table, {}), []
        for row in tensor.detach().cpu().contiguous():
            digest = hashlib.sha256(row.reshape(-1).view(torch.uint8).numpy()).digest()
            if digest not in known:
                known[digest] = len(known), row.clone()
                self.bytes += row.nbytes
            numbers.append(known[digest][0])
        return table, numbers

    def tables(self) -> dict[str, Tensor]:
        """Return each table as a tensor (rows, ...)."""
        return {name: torch.stack([row for _, row in known.values()]) for name, known in self._tables.items()}


class KeptTexts:
    """Stands in `encode_text`'s place: gives what was kept of a batch, and encodes what was not.

    The first batch that was kept is encoded all the same and held against it. So a conditioner that says something else
    than before is found, whatever the cause, and encodes all captions itself; and a process that generates needs no
    less memory than the whole pipeline does.

    Args:
        model: whose captions they are.
        texts: what was kept.
    """

    def __init__(self, model: Any, texts: Texts) -> None:
        self._encode, self._device, self._name = model.encode_text, model.device, model.name
        self._file, self._pace = safe_open(texts.path, framework="pt"), texts.seconds / max(1, texts.captions)
        self._index: dict[str, Any] = json.loads(self._file.metadata()[_INDEX])
        self._compared = False
        self.spared = 0.0
        """Seconds that the captions which were not encoded here took when they were."""

    def __call__(self, prompts: Sequence[str], *, guided: bool) -> dict[str, Tensor]:
        """See `AudioDiffusionModel.encode_text`."""
        found = self._index.get(_key(prompts, guided))
        if found is None:
            return self._encoded(prompts, guided)
        # a copy of the batch: where a tensor begins in memory may decide in which order its products are added
        kept = {
            name: self._file.get_tensor(table)[torch.tensor(numbers)].to(self._device)
            for name, (table, numbers) in found.items()
        }
        if self._compared:
            self.spared += self._pace * len(prompts)
            return kept
        own = self._encoded(prompts, guided)
        if not _equal(own, kept):
            print(f"{self._name}: captions are encoded to other bits than the baseline's; all are encoded", flush=True)
            self._index = {}
            return own
        self._compared = True
        return kept

    def _encoded(self, prompts: Sequence[str], guided: bool) -> dict[str, Tensor]:
        encoded: dict[str, Tensor] = self._encode(prompts, guided=guided)
        return encoded


@contextmanager
def known_texts(model: Any, texts: Texts | None) -> Iterator[KeptTexts | None]:
    """Let a model read what was kept of captions inside of the block; None where it encodes all of them itself."""
    if texts is None or not hasattr(model, "encode_text"):
        yield None
        return
    model.encode_text = kept = KeptTexts(model, texts)
    try:
        yield kept
    finally:
        del model.encode_text


def _equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        tensor.dtype == other[name].dtype and torch.equal(tensor, other[name]) for name, tensor in one.items()
    )


def _key(prompts: Sequence[str], guided: bool) -> str:
    return sha256_json([list(prompts), guided])
