"""Group norm, SiLU or none, and rounding to a convolution's codes by `norm.cpp`, in one pass."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import ClassVar

import torch
from torch import Tensor, nn

from admbench.methods.core.native.compiled import library

CHANNELS = 16
"""Channels come in multiples of this many."""


class _Call(ctypes.Structure):
    """`Norm` of norm.cpp."""

    _fields_: ClassVar = [
        *((name, ctypes.c_void_p) for name in ("picture", "shift", "weight", "bias", "out")),
        *((name, ctypes.c_int) for name in ("batch", "height", "width", "channels", "groups", "above", "beside")),
        ("epsilon", ctypes.c_float),
        ("inverse_scale", ctypes.c_float),
        *((name, ctypes.c_int) for name in ("zero_point", "lowest", "highest", "threads", "silu")),
    ]


def norm_codes(
    picture: Tensor,
    norm: nn.GroupNorm,
    codes: tuple[float, int, int, int],
    padding: tuple[int, int],
    shift: Tensor | None = None,
    *,
    silu: bool = True,
) -> Tensor:
    """Return the codes of silu(norm(picture + shift)), padded with the zero point; SiLU is within 1e-4 of exact.

    Args:
        picture: float32 (n, channels, height, width) in channels_last; channels in multiples of `CHANNELS`.
        norm: with a weight and a bias.
        codes: scale, zero point, smallest and largest code.
        padding: rows above and below, columns left and right.
        shift: float32 (n, channels), contiguous.
        silu: whether there is SiLU after the norm.

    Returns:
        uint8 (n, channels, height + 2 * padding[0], width + 2 * padding[1]) in channels_last.

    Raises:
        NotCompiledError: there is no library here.
    """
    batch, channels, height, width = picture.shape
    above, beside = padding
    shape = (batch, channels, height + 2 * above, width + 2 * beside)
    out = torch.empty(shape, dtype=torch.uint8, memory_format=torch.channels_last)
    scale, zero_point, lowest, highest = codes
    pointers = (picture, shift, norm.weight, norm.bias, out)
    call = _Call(
        *(None if tensor is None else tensor.data_ptr() for tensor in pointers),
        *(batch, height, width, channels, norm.num_groups, above, beside),
        *(norm.eps, 1 / scale, zero_point, lowest, highest, torch.get_num_threads(), silu),
    )
    _function()(ctypes.byref(call))
    return out


@cache
def _function() -> ctypes._NamedFuncPointer:
    compute = ctypes.CDLL(str(library())).norm_codes
    compute.argtypes, compute.restype = [ctypes.c_void_p], None
    return compute


def takes(norm: nn.Module) -> bool:
    """Return whether `norm_codes` computes a norm."""
    return type(norm) is nn.GroupNorm and norm.affine and norm.num_channels % CHANNELS == 0
