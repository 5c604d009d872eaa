"""Scaled dot product attention by `attention.cpp`: bfloat16 queries, keys and values, out in float32 or as codes."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import ClassVar

import torch
from torch import Tensor

from admbench.methods.core.native.compiled import library


class _Call(ctypes.Structure):
    """`Attention` of attention.cpp."""

    _fields_: ClassVar = [
        *((name, ctypes.c_void_p) for name in ("query", "key", "value", "bias", "out", "scratch")),
        *((name, ctypes.c_long) for name in ("query_row", "query_batch", "key_row", "key_batch")),
        *((name, ctypes.c_int) for name in ("batch", "heads", "key_heads", "queries", "keys", "size")),
        ("scale", ctypes.c_float),
        ("codes", ctypes.c_int),
        ("inverse_scale", ctypes.c_float),
        *((name, ctypes.c_int) for name in ("zero_point", "lowest", "highest", "threads")),
    ]


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    heads: int,
    *,
    bias: Tensor | None = None,
    codes: tuple[float, int, int, int] | None = None,
) -> Tensor:
    """Return what `F.scaled_dot_product_attention` does, of heads that lie side by side.

    Weights of values are rounded to bfloat16; scores, sums and the result are float32.

    Args:
        query: bfloat16 (n, queries, heads * size), features contiguous; size is even, and at most `WIDEST`.
        key: bfloat16 (n, keys, key_heads * size), features contiguous; a head of keys serves heads / key_heads.
        value: the same shape and strides as `key`.
        heads: number of heads.
        bias: float32 (n, keys), contiguous, added to the scores of all queries.
        codes: scale, zero point, smallest and largest code that the result is rounded to; None is no rounding.

    Returns:
        (n, queries, heads * size), contiguous: float32, or uint8 codes.

    Raises:
        NotCompiledError: there is no library here.
    """
    batch, queries, width = query.shape
    keys, size = key.shape[1], width // heads
    key_heads = key.shape[2] // size
    compute, scratch_numbers = _functions()
    scratch = torch.empty(scratch_numbers(batch, key_heads, keys, size), dtype=torch.int32)
    out = torch.empty(batch, queries, width, dtype=torch.float32 if codes is None else torch.uint8)
    scale, zero_point, lowest, highest = (1.0, 0, 0, 0) if codes is None else codes
    pointers = (query, key, value, bias, out, scratch)
    call = _Call(
        *(None if tensor is None else tensor.data_ptr() for tensor in pointers),
        *(query.stride(1), query.stride(0), key.stride(1), key.stride(0)),
        *(batch, heads, key_heads, queries, keys, size),
        size**-0.5,
        codes is not None,
        1 / scale,
        *(zero_point, lowest, highest, torch.get_num_threads()),
    )
    compute(ctypes.byref(call))
    return out


WIDEST = 256
"""Features of a head, at most."""


def takes(query: Tensor, key: Tensor, value: Tensor, heads: int) -> bool:
    """Return whether `attention` computes with these."""
    size = query.shape[-1] // heads
    return (
        size % 2 == 0
        and size <= WIDEST
        and key.shape[-1] % size == 0
        and heads % (key.shape[-1] // size) == 0
        and all(tensor.dtype == torch.bfloat16 and tensor.stride(-1) == 1 for tensor in (query, key, value))
        and key.stride() == value.stride()
    )


@cache
def _functions() -> tuple[ctypes._NamedFuncPointer, ctypes._NamedFuncPointer]:
    loaded = ctypes.CDLL(str(library()))
    compute, scratch = loaded.attention, loaded.attention_scratch
    compute.argtypes, compute.restype = [ctypes.c_void_p], None
    scratch.argtypes, scratch.restype = [ctypes.c_int] * 4, ctypes.c_long
    return compute, scratch
