"""What a transformer does to its rows between two products, by `rows.cpp`: one pass over memory each."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor, nn

from admbench.methods.core.native.compiled import library

Numbers = tuple[float, int, int, int]
"""Scale, zero point, smallest and largest code."""


def layer_norm_codes(x: Tensor, norm: nn.LayerNorm, codes: Numbers) -> Tensor:
    """Return the codes of a layer norm, uint8 of the shape of `x`.

    Args:
        x: float32 (..., width), contiguous.
        norm: over the last dimension, with a weight and a bias.
        codes: that its result is rounded to.

    Raises:
        NotCompiledError: there is no library here.
    """
    out = torch.empty(x.shape, dtype=torch.uint8)
    width = x.shape[-1]
    scale, *others = codes
    _library().layer_norm_codes(
        *(x.data_ptr(), norm.weight.data_ptr(), norm.bias.data_ptr(), out.data_ptr()),
        *(x.numel() // width, width, norm.eps, 1 / scale, *others, torch.get_num_threads()),
    )
    return out


def gated_codes(x: Tensor, activation: Literal["gelu", "silu"], codes: Numbers) -> Tensor:
    """Return the codes of hidden * activation(gate), uint8 (..., width); activations are within 1e-4 of exact.

    Args:
        x: float32 (..., 2 * width), contiguous: hidden, then gate.
        activation: of the gate.
        codes: that the product is rounded to.

    Raises:
        NotCompiledError: there is no library here.
    """
    width = x.shape[-1] // 2
    out = torch.empty(*x.shape[:-1], width, dtype=torch.uint8)
    scale, *others = codes
    _library().gated_codes(
        *(x.data_ptr(), out.data_ptr(), out.numel() // width, width, activation == "gelu"),
        *(1 / scale, *others, torch.get_num_threads()),
    )
    return out


def rotated(x: Tensor, angles: tuple[Tensor, Tensor], heads: int, size: int) -> Tensor:
    """Return bfloat16 `x` with the heads that come first turned by the angles of their positions.

    As `apply_rotary_emb` of diffusers with `use_real_unbind_dim=-2`: of the first features of a head, as many as there
    are angles, the first half is paired with the second.

    Args:
        x: float32 (n, positions, width), contiguous: heads of `size` side by side.
        angles: cosines and sines, float32 (positions, turned), contiguous.
        heads: how many are turned.
        size: features of a head.

    Raises:
        NotCompiledError: there is no library here.
    """
    cosine, sine = (angle.float().contiguous() for angle in angles)
    rows, positions, width = x.shape
    out = torch.empty(x.shape, dtype=torch.bfloat16)
    _library().rotated(
        *(x.data_ptr(), cosine.data_ptr(), sine.data_ptr(), out.data_ptr()),
        *(rows * positions, positions, width // size, heads, size, cosine.shape[-1], torch.get_num_threads()),
    )
    return out


def takes_norm(norm: nn.Module, x: Tensor) -> bool:
    """Return whether `layer_norm_codes` computes the norm of a tensor."""
    return (
        type(norm) is nn.LayerNorm
        and len(norm.normalized_shape) == 1
        and norm.bias is not None
        and x.dtype == torch.float32
        and x.is_contiguous()
    )


@cache
def _library() -> ctypes.CDLL:
    loaded = ctypes.CDLL(str(library()))
    pointer, number, real = ctypes.c_void_p, ctypes.c_int, ctypes.c_float
    codes: list[Any] = [real, number, number, number, number]
    loaded.layer_norm_codes.argtypes = [*[pointer] * 4, ctypes.c_long, number, real, *codes]
    loaded.gated_codes.argtypes = [pointer, pointer, ctypes.c_long, number, number, *codes]
    loaded.rotated.argtypes = [*[pointer] * 4, ctypes.c_long, *[number] * 6]
    for function in (loaded.layer_norm_codes, loaded.gated_codes, loaded.rotated):
        function.restype = None
    return loaded
