"""How many clips go through a model's networks together; imports no torch."""

from __future__ import annotations

from math import lcm

DECODE_BATCH = 8
"""Clips that are decoded together."""


def whole_batches(batch_size: int) -> int:
    """Return the fewest captions that are whole batches, of so many in denoising and of those in decoding.

    >>> whole_batches(8), whole_batches(6)
    (8, 24)
    """
    return lcm(batch_size, DECODE_BATCH)
