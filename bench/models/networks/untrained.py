"""Architectures at their true size without their weights: for latency, memory and size, where quality says nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import diffusers
import torch
import transformers
from transformers import BatchEncoding

from admbench.hashing import sha256_json

RANDOM_SEED = 1234
"""Of all weights that are drawn instead of loaded."""


@contextmanager
def seeded() -> Iterator[None]:
    """Makes what modules are initialised with inside of the block follow from `RANDOM_SEED` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(RANDOM_SEED)
        yield


def random_sha256(name: str, trained: str | None = None) -> str:
    """What stands for the hash of the weights: that they are drawn for this model, from which seed, and by what.

    Weights are the same where this is: how a module is initialised may change between versions of these libraries.

    Args:
        name: of the model.
        trained: hash of the weights of which some components are, if not all are drawn.
    """
    drawn_by = [module.__version__ for module in (torch, diffusers, transformers)]
    return sha256_json(["random weights", name, RANDOM_SEED, drawn_by, trained])


class ByteTokenizer:
    """UTF-8 bytes as token ids, for text encoders without a tokenizer because they have no trained weights either.

    Args:
        length: tokens of every caption, padded or cut.
        pad: id of the padding. Bytes come after the first four ids, which are special in RoBERTa and in T5.
    """

    def __init__(self, length: int, pad: int) -> None:
        self.model_max_length, self.pad = length, pad

    def __call__(self, captions: Sequence[str], *, truncation: bool = True, **_: Any) -> BatchEncoding:
        """`input_ids` and `attention_mask`, each (n, length) int64; without truncation all ids, as lists."""
        most = self.model_max_length - 1 if truncation else None
        rows = [[*(4 + byte for byte in caption.encode()[:most]), 2] for caption in captions]
        if not truncation:
            return BatchEncoding({"input_ids": rows})
        ids = torch.full((len(rows), self.model_max_length), self.pad)
        for row, values in zip(ids, rows, strict=True):
            row[: len(values)] = torch.tensor(values)
        return BatchEncoding({"input_ids": ids, "attention_mask": (ids != self.pad).long()})
