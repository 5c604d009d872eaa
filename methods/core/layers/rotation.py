"""Rotations of a layer's input: groups of channels multiplied by a Hadamard matrix, which spreads outliers over them.

With an orthogonal matrix R over the input channels, x W^T = (x R) (W R)^T: in full precision nothing changes, and what
is rounded, x R and W R, has no channel that sticks out of its group. (QuaRot, arXiv 2404.00456.)

R is block-diagonal, a regular Hadamard matrix a group (ConvRot, arXiv 2512.03673): all its rows have the same sum, so
that numbers of one sign do not pile up in the first channel, as they do under Sylvester's matrix. There are regular
ones of 4^k channels: Kronecker products of

     1  1  1 -1
     1  1 -1  1
     1 -1  1  1
    -1  1  1  1

They are symmetric, so that R is its own inverse.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

ORDER = 4
"""Of the smallest regular Hadamard matrix."""


def rotation_size(channels: int, most: int) -> int:
    """Return the largest power of 4 that divides some channels and is not above `most`; 0 where 4 does not divide them.

    >>> rotation_size(96, 256), rotation_size(128, 256), rotation_size(1024, 256), rotation_size(6, 256)
    (16, 64, 256, 0)
    """
    size = ORDER
    while size * ORDER <= most and channels % (size * ORDER) == 0:
        size *= ORDER
    return 0 if channels % ORDER or most < ORDER else size


def is_rotation_size(size: int) -> bool:
    """Return whether there is a regular Hadamard matrix of that size here: a power of 4, but not 1."""
    return size >= ORDER and size & (size - 1) == 0 and size.bit_length() % 2 == 1


@cache
def regular_hadamard(size: int) -> Tensor:
    """Return the orthogonal regular Hadamard matrix of a size, (size, size) float64, symmetric; not to be changed.

    Raises:
        ValueError: the size is no power of 4.
    """
    if not is_rotation_size(size):
        raise ValueError(f"a rotation has 4, 16, 64, ... channels, not {size}")
    least = torch.ones(ORDER, ORDER, dtype=torch.float64) - 2 * torch.eye(ORDER, dtype=torch.float64).flip(0)
    matrix = least
    while len(matrix) < size:
        matrix = torch.kron(least, matrix)
    return matrix / size**0.5


def rotate(values: Tensor, size: int, dimension: int) -> Tensor:
    """Return values with every group of `size` neighbours along a dimension rotated; twice is as they were.

    >>> bool(torch.allclose(rotate(rotate(torch.eye(8), 4, 0), 4, 0), torch.eye(8)))
    True
    """
    matrix = regular_hadamard(size).to(values.device, values.dtype)
    last = values.ndim - 1  # dimensions are counted from the front: tracing to ONNX keeps a negative one as it is
    groups = values.movedim(dimension % values.ndim, last).unflatten(last, (-1, size))
    return (groups @ matrix).flatten(last).movedim(last, dimension % values.ndim)
