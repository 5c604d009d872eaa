"""How many clips go through a model's networks together; imports no torch."""

from __future__ import annotations

from collections.abc import Iterator
from math import lcm

DECODE_BATCH = 8
"""Clips that are decoded together."""


def whole_batches(batch_size: int) -> int:
    """Return the fewest captions that are whole batches, of so many in denoising and of those in decoding.

    >>> whole_batches(8), whole_batches(6)
    (8, 24)
    """
    return lcm(batch_size, DECODE_BATCH)


def batches(count: int, size: int) -> Iterator[list[int]]:
    """Yield the numbers of the clips of each batch.

    >>> list(batches(5, 2))
    [[0, 1], [2, 3], [4]]
    """
    for start in range(0, count, size):
        yield list(range(start, min(count, start + size)))
