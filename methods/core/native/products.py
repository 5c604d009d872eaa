"""Products of bytes for small layers by `products.cpp`: what oneDNN computes, without what torch does around it."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from admbench import arithmetic
from admbench.methods.core.native.compiled import library

MOST = 1 << (22 if "amx_int8" in arithmetic.instruction_sets() else 24)
"""Multiplications of a call, at most: above it what torch does around oneDNN's hardly shows. With AMX, which it has and
we have not, that is sooner: reckoned, not measured."""
_LANES, _BLOCK, _QUAD = 16, 64, 4
_OUTPUTS = {torch.float32: 0, torch.bfloat16: 1}
_ADDED = 2


class _Call(ctypes.Structure):
    """`Product` of products.cpp."""

    _fields_: ClassVar = [
        *((name, ctypes.c_void_p) for name in ("codes", "weights", "scale", "bias", "correction", "out", "taps")),
        *((name, ctypes.c_int) for name in ("batch", "high", "wide", "inputs", "out_high", "out_wide", "outputs")),
        *((name, ctypes.c_int) for name in ("tap_count", "stride_high", "stride_wide")),
        ("input_scale", ctypes.c_float),
        *((name, ctypes.c_int) for name in ("mode", "threads")),
    ]


class SmallProduct(nn.Module):
    """Weights arranged for `products.cpp`, and what is multiplied and added after.

    Args:
        weights: int8 (out, in), or (out, in, height, width) of a convolution; inputs in multiples of 4.
        scale: float32 (out,): of the weights.
        bias: float32 (out,), or None.
        input_scale: of the input codes.
        zero_point: theirs.
        stride: of a convolution.
        dilation: of a convolution.
    """

    def __init__(
        self,
        weights: Tensor,
        scale: Tensor,
        bias: Tensor | None,
        input_scale: float,
        zero_point: int,
        stride: Sequence[int] = (1, 1),
        dilation: Sequence[int] = (1, 1),
    ) -> None:
        super().__init__()
        weights = weights if weights.ndim == 4 else weights[..., None, None]
        self.outputs, self.inputs, *self._size = weights.shape
        self._input_scale, self._stride, self._dilation = input_scale, stride, dilation
        missing = -self.outputs % _LANES
        taps = F.pad(weights.flatten(2).permute(0, 2, 1), (0, 0, 0, 0, 0, missing))
        blocks = [
            part.unflatten(2, (-1, _QUAD)).permute(1, 2, 0, 3).contiguous().flatten() for part in taps.split(_BLOCK)
        ]
        self._weights = torch.cat(blocks)
        self._scale, self._bias = (_padded(numbers, missing) for numbers in (scale, bias))
        sums = weights.flatten(1).sum(1, dtype=torch.int32) * zero_point
        self._correction = _padded(sums, missing)
        self._calls: dict[torch.Size, tuple[_Call, tuple[int, ...], Tensor]] = {}

    def product(self, codes: Tensor, dtype: torch.dtype = torch.float32, onto: Tensor | None = None) -> Tensor:
        """Return the products of uint8 codes.

        Args:
            codes: (rows, in), contiguous; or (n, in, height, width) in channels_last, the border around it.
            dtype: float32 or bfloat16.
            onto: float32, of the shape of the result, contiguous: the result is added to it, and it is returned.
        """
        layout = torch.contiguous_format if codes.ndim == 2 else torch.channels_last
        codes = codes.contiguous(memory_format=layout)
        call, shape, _ = self._calls.get(codes.shape) or self._prepared(codes.shape)
        out = torch.empty(shape, dtype=dtype, memory_format=layout) if onto is None else onto
        call = _Call.from_buffer_copy(call)  # threads of Python may call at once
        call.codes, call.out = codes.data_ptr(), out.data_ptr()
        call.mode, call.threads = _ADDED if onto is not None else _OUTPUTS[dtype], torch.get_num_threads()
        _function()(ctypes.byref(call))
        return out

    def __getstate__(self) -> dict[str, Any]:
        """Return all but what points into memory: copies find that out by themselves."""
        return self.__dict__ | {"_calls": {}}

    def _prepared(self, shape: torch.Size) -> tuple[_Call, tuple[int, ...], Tensor]:
        """Return what a call on codes of a shape is told, the shape of its result, and what it points to."""
        batch, _, high, wide = shape if len(shape) == 4 else (1, 0, 1, shape[0])
        out_high, out_wide = (
            (extent - step * (taps - 1) - 1) // stride + 1
            for extent, step, taps, stride in zip((high, wide), self._dilation, self._size, self._stride, strict=True)
        )
        taps = torch.tensor(
            [
                (y * self._dilation[0] * wide + x * self._dilation[1]) * self.inputs
                for y in range(self._size[0])
                for x in range(self._size[1])
            ]
        )
        numbers = (None, self._weights, self._scale, self._bias, self._correction, None, taps)
        call = _Call(
            *(None if tensor is None else tensor.data_ptr() for tensor in numbers),
            *(batch, high, wide, self.inputs, out_high, out_wide, self.outputs, len(taps), *self._stride),
            *(self._input_scale, 0, 1),
        )
        out = (shape[0], self.outputs) if len(shape) == 2 else (batch, self.outputs, out_high, out_wide)
        self._calls[shape] = (call, out, taps)
        return self._calls[shape]


def takes(weights: Sequence[int], rows: int, groups: int = 1) -> bool:
    """Return whether weights of a shape, (out, in, ...), and a number of rows of the result are a small product."""
    return groups == 1 and weights[1] % _QUAD == 0 and rows * math.prod(weights) <= MOST


def _padded(numbers: Tensor | None, missing: int) -> Tensor | None:
    return None if numbers is None else F.pad(numbers, (0, missing)).contiguous()


@cache
def _function() -> Any:
    compute = ctypes.CDLL(str(library())).product
    compute.argtypes, compute.restype = [ctypes.c_void_p], None
    return compute
