"""Branches of low rank beside a layer: the leading singular components of a weight, or of its error, in 16 bits."""

from __future__ import annotations

import torch
from torch import Tensor


def leading_components(weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return the best approximation of a weight (out, ...) of some rank, as float16 (rank, ...) and (out, rank).

    It is found through the eigenvectors of the smaller Gram matrix of the weight, in float64.
    """
    matrix = weight.flatten(1).double()
    wide = matrix.shape[0] <= matrix.shape[1]
    small = matrix if wide else matrix.T
    squares, vectors = torch.linalg.eigh(small @ small.T)  # increasing
    root = squares[-rank:].flip(0).clamp(min=0).pow(0.25)  # of the singular values
    basis = vectors[:, -rank:].flip(1)
    other = (basis.T @ small) / root.clamp(min=torch.finfo(torch.float32).tiny)[:, None]
    own = basis * root
    up, down = (own, other) if wide else (other.T, own.T)
    return down.half().view(rank, *weight.shape[1:]).contiguous(), up.half().contiguous()


def branch_weight(branch: tuple[Tensor, Tensor], weight: Tensor) -> Tensor:
    """Return what a branch (rank, ...), (out, rank) adds to a weight, of the weight's shape, float32."""
    down, up = branch
    return (up.float() @ down.float().flatten(1)).view(weight.shape)


def rank_of_branch(weight: Tensor, most: int) -> int:
    """Return the rank of a weight's branch: `most`, but no more than half of what the weight could have.

    >>> rank_of_branch(torch.empty(40, 16, 3), 32), rank_of_branch(torch.empty(40, 16), 32)
    (20, 8)
    """
    return max(1, min(most, min(weight.flatten(1).shape) // 2))
