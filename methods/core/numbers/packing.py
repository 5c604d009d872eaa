"""Bit packing: codes of b bits, one after the other, in a stream of bytes.

Code i takes the bits i*b .. i*b + b - 1 of the stream, where bit k of the stream is bit k % 8 (0 the least significant)
of byte k // 8. So two 4-bit codes share a byte, the earlier in its low half, and eight 3-bit codes take three bytes.
The last byte is filled with zero bits.

Eight codes of b bits are exactly b bytes, and fit one 64-bit word: all words are built at once, in eight steps.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]


def packed_size(count: int, bits: int) -> int:
    """Return how many bytes `count` codes of `bits` bits take."""
    return -(-count * bits // 8)


def pack_bits(codes: Bytes, bits: int) -> Bytes:
    """Pack codes.

    Args:
        codes: (n,) uint8, each below 2**bits.
        bits: 1..8.

    Returns:
        (ceil(n * bits / 8),) uint8.

    >>> pack_bits(np.array([1, 2, 3], np.uint8), 4).tolist()
    [33, 3]
    """
    groups = np.zeros((-(-codes.size // 8), 8), np.uint8)
    groups.reshape(-1)[: codes.size] = codes
    words = np.zeros(len(groups), "<u8")
    for position in range(8):
        words |= groups[:, position].astype("<u8") << np.uint64(position * bits)
    packed = words.view(np.uint8).reshape(-1, 8)[:, :bits].reshape(-1)
    return packed[: packed_size(codes.size, bits)]


def unpack_bits(packed: Bytes, bits: int, count: int) -> Bytes:
    """Return the `count` codes of `bits` bits that `pack_bits` packed, (count,) uint8.

    Raises:
        ValueError: the number of bytes does not belong to that many codes, or a bit after the last code is set.

    >>> unpack_bits(np.array([33, 3], np.uint8), 4, 3).tolist()
    [1, 2, 3]
    """
    if packed.size != packed_size(count, bits):
        raise ValueError(f"{count} codes of {bits} bits take {packed_size(count, bits)} bytes, not {packed.size}")
    groups = np.zeros((-(-count // 8), 8), np.uint8)
    by_group = np.zeros(len(groups) * bits, np.uint8)
    by_group[: packed.size] = packed
    groups[:, :bits] = by_group.reshape(-1, bits)
    words = groups.view("<u8").reshape(-1)
    codes = np.empty((len(words), 8), np.uint8)
    for position in range(8):
        codes[:, position] = (words >> np.uint64(position * bits)) & np.uint64(2**bits - 1)
    if codes.reshape(-1)[count:].any():
        raise ValueError("a bit after the last code is set")
    return codes.reshape(-1)[:count]
