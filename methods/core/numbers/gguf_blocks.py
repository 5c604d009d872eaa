"""A quantized weight as the bytes that a GGUF file has for it, block by block (ggml's `ggml-common.h`).

| format | bytes of a block |
|---|---|
| Q8_0 | d, then 32 signed bytes |
| Q4_0 | d, then 16 bytes: number i in the low half of byte i, number i + 16 in its high half |
| Q4_K | d, m, 12 bytes of scales and minima, 128 bytes of codes: i low, i + 32 high |
| Q5_K | d, m, 12 bytes as above, 32 bytes of fifth bits (bit j of byte i: number 32 j + i), 128 bytes as above |
| Q6_K | 128 bytes of low halves, 64 of upper pairs of bits, 16 signed scales, d |
"""

from __future__ import annotations

import torch
from torch import Tensor

from admbench.methods.core.numbers.gguf import SUPER_BLOCK, HalfScaleQuantizer, SuperBlockQuantizer, super_groups


def to_blocks(quantizer: HalfScaleQuantizer | SuperBlockQuantizer, codes: Tensor) -> Tensor:
    """Return codes (channels, terms) and their scales as GGUF blocks, uint8 (channels, bytes).

    Raises:
        ValueError: the groups or super-blocks are smaller than the format's: a GGUF file has no such weight.
    """
    channels = len(codes)
    if isinstance(quantizer, HalfScaleQuantizer):
        if quantizer.scheme.group_size != 32:
            raise ValueError(f"GGUF has blocks of 32, not of {quantizer.scheme.group_size}")
        groups = codes.view(channels, -1, 32)
        packed = groups ^ 128 if quantizer.scheme.bits == 8 else groups[..., :16] | groups[..., 16:] << 4
        return torch.cat([_bytes(quantizer.half_scale), packed], -1).flatten(1)
    groups_each = super_groups(quantizer.scheme, quantizer.sub_scales.shape[1])
    if groups_each * (quantizer.scheme.group_size or 0) != SUPER_BLOCK:
        raise ValueError(f"GGUF has super-blocks of {SUPER_BLOCK} numbers")
    blocks = codes.view(channels, -1, SUPER_BLOCK)
    subs = quantizer.sub_scales.view(channels, -1, groups_each)
    if quantizer.super_min is None or quantizer.sub_mins is None:
        return torch.cat([*_six_bits(blocks), subs.view(torch.uint8), _bytes(quantizer.super_scale)], -1).flatten(1)
    parts = [_bytes(quantizer.super_scale), _bytes(quantizer.super_min)]
    parts.append(_scales_and_mins(subs, quantizer.sub_mins.view(channels, -1, groups_each)))
    if quantizer.scheme.bits == 5:
        fifth = blocks.view(channels, -1, 8, 32) >> 4
        parts.append(_joined([fifth[..., j, :] << j for j in range(8)]))
    pairs = (blocks & 15).view(channels, -1, 4, 2, 32)
    parts.append((pairs[..., 0, :] | pairs[..., 1, :] << 4).flatten(2))
    return torch.cat(parts, -1).flatten(1)


def _six_bits(blocks: Tensor) -> list[Tensor]:
    """Return the low halves and the upper pairs of bits of codes (channels, blocks, 256)."""
    halves = blocks.view(*blocks.shape[:2], 2, 4, 32)  # of each 128: four runs of 32
    low, high = halves & 15, halves >> 4
    lows = torch.stack([low[..., 0, :] | low[..., 2, :] << 4, low[..., 1, :] | low[..., 3, :] << 4], -2)
    highs = _joined([high[..., j, :] << 2 * j for j in range(4)])
    return [lows.flatten(2), highs.flatten(2)]


def _scales_and_mins(scales: Tensor, mins: Tensor) -> Tensor:
    """Return eight scales and eight minima of 6 bits as ggml packs them into 12 bytes."""
    first = scales[..., :4] | scales[..., 4:] >> 4 << 6
    second = mins[..., :4] | mins[..., 4:] >> 4 << 6
    return torch.cat([first, second, scales[..., 4:] & 15 | (mins[..., 4:] & 15) << 4], -1)


def _joined(parts: list[Tensor]) -> Tensor:
    whole = parts[0]
    for part in parts[1:]:
        whole = whole | part
    return whole


def _bytes(halves: Tensor) -> Tensor:
    """Return float16 (channels, blocks) as bytes (channels, blocks, 2), the low one first."""
    return halves.contiguous().view(torch.uint8).view(*halves.shape, 2)
