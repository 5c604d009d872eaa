"""Transposed convolutions whose weight has the output channels first, as that of every other layer has.

torch keeps the weight of a transposed convolution as (in, out / groups, ...), so that dimension 0, along which weights
have their scales, is the input's. Here it is (out, in / groups, ...): one scale belongs to one output channel.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional as F


def swap_channels(weight: Tensor, groups: int) -> Tensor:
    """Return a weight (in, out / groups, ...) as (out, in / groups, ...), contiguous; and the other way round.

    >>> import torch
    >>> weight = torch.arange(8).view(4, 2, 1)  # two groups of two inputs and two outputs each
    >>> swap_channels(weight, 2)[..., 0].tolist()
    [[0, 2], [1, 3], [4, 6], [5, 7]]
    >>> torch.equal(swap_channels(swap_channels(weight, 2), 2), weight)
    True
    """
    first, second, *kernel = weight.shape
    grouped = weight.reshape(groups, first // groups, second, *kernel).transpose(1, 2)
    return grouped.reshape(groups * second, first // groups, *kernel).contiguous()


def conv_transpose1d(x: Tensor, weight: Tensor, bias: Tensor | None = None, **geometry: Any) -> Tensor:
    """As `torch.nn.functional.conv_transpose1d`, of a weight (out, in / groups, k)."""
    return F.conv_transpose1d(x, swap_channels(weight, geometry.get("groups", 1)), bias, **geometry)


def conv_transpose2d(x: Tensor, weight: Tensor, bias: Tensor | None = None, **geometry: Any) -> Tensor:
    """As `torch.nn.functional.conv_transpose2d`, of a weight (out, in / groups, k, k)."""
    return F.conv_transpose2d(x, swap_channels(weight, geometry.get("groups", 1)), bias, **geometry)
