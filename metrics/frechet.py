"""Frechet distance between two sets of embeddings.

Task: how far is the distribution of generated clips from that of real ones (or of the full-precision model's)?
Conventions: lower is better; 0 for identical sets; plug-in estimate with the unbiased covariance (n - 1). It is biased
upwards by an amount that falls with n: compare values of the same n only, and look at a real-against-real value beside.

    FD = |m1 - m2|^2 + Tr S1 + Tr S2 - 2 Tr (S1 S2)^(1/2)

Frechet 1957, Dowson and Landau 1982 (formula); Heusel et al. 2017 (FID); Kilgour et al. 2019 (FAD).

The last trace is the nuclear norm of A1 A2^T, where A = (X - mean) / sqrt(n - 1): with S = A^T A, the non-zero
eigenvalues of S1 S2 are the squared singular values of A1 A2^T. So no matrix square root is taken, the result is real
and the norm non-negative by construction, and a covariance without full rank needs no epsilon. With the singular value
decompositions A = Q R (Q orthonormal, R = diag(s) V^T), the norm is that of R1 R2^T, which is at most d x d.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from admbench.metrics.arrays import as_matrix, as_pair
from admbench.metrics.base import Metric, given
from admbench.metrics.features import Features
from admbench.metrics.intervals import Statistic, Subsets, Values
from admbench.metrics.nuclear_norm import NuclearNorm

RESOLUTION = 1e-11  # a distance below this share of Tr S1 + Tr S2 is rounding, and zero


def frechet_distance(generated: ArrayLike, reference: ArrayLike) -> float:
    """Return the Frechet distance between two sets of embeddings, computed in float64.

    Args:
        generated: (n1, d), n1 >= 2.
        reference: (n2, d), n2 >= 2.

    Raises:
        ValueError: not two-dimensional, too few rows, different d, or a value that is not finite.

    >>> frechet_distance([[0.0], [2.0]], [[3.0], [5.0]])
    9.0
    """
    return _distance(_Moments(as_matrix(generated, "generated", 2)), _Moments(as_matrix(reference, "reference", 2)))


@dataclass(frozen=True)
class PairedFrechet:
    """The Frechet distance of n generated to n reference embeddings, row by row of one caption each.

    Removing captions S changes the scatter matrix C^T C = R^T R (C: centred rows, C = Q R) to R^T (I - B B^T) R with
    B = Q_S^T (I + 11^T / (n - |S|))^(1/2), the second term because the mean moves. I - B B^T has the symmetric square
    root I - B G B^T. So R1 R2^T changes by a matrix of rank 2 |S|, which `NuclearNorm` follows: nothing is factorized
    anew, whatever the numbers of captions and dimensions.
    """

    generated: ArrayLike
    """(n, d)."""
    reference: ArrayLike
    """(n, d)."""

    @property
    def n(self) -> int:
        """Number of captions."""
        return self._moments[0].n

    @cached_property
    def value(self) -> float:
        """The distance of all captions."""
        return _distance(*self._moments)

    def without(self, subsets: Subsets) -> Values:
        """Return the distance without each subset of captions: (s, m) -> (s,)."""
        first, second = self._moments
        core = self._core
        left, left_gain = first.removal(subsets)
        right, right_gain = second.removal(subsets)
        across = left.transpose(0, 2, 1) @ core  # B1^T M
        across = across - ((across @ right) * right_gain) @ right.transpose(0, 2, 1)
        changes = np.concatenate([left * left_gain, (core @ right) * right_gain], axis=2)
        norms = self._norm.without(changes, np.concatenate([across.transpose(0, 2, 1), right], axis=2))
        means = first.mean_without(subsets) - second.mean_without(subsets)
        scatters = first.scatter_without(subsets) + second.scatter_without(subsets)
        traces = scatters - 2 * norms
        traces = np.where(traces > RESOLUTION * scatters, traces, 0.0)
        distances: Values = np.square(means).sum(axis=1) + traces / (self.n - subsets.shape[1] - 1)
        return distances

    @cached_property
    def _moments(self) -> tuple[_Moments, _Moments]:
        generated, reference = as_pair(self.generated, "generated", self.reference, "reference", rows=2)
        return _Moments(generated), _Moments(reference)

    @cached_property
    def _core(self) -> NDArray[np.float64]:
        first, second = self._moments
        core: NDArray[np.float64] = first.factor @ second.factor.T
        return core

    @cached_property
    def _norm(self) -> NuclearNorm:
        return NuclearNorm(self._core)


class _Moments:
    """Mean and factored scatter matrix of (n, d) embeddings."""

    def __init__(self, embeddings: NDArray[np.float64]) -> None:
        self.n = len(embeddings)
        self.mean = embeddings.mean(axis=0)
        self.centred = embeddings - self.mean
        self.scatter = float(np.square(self.centred).sum())
        left, singular, right = np.linalg.svd(self.centred, full_matrices=False)
        rank = np.count_nonzero(singular > singular[0] * max(self.centred.shape) * np.finfo(np.float64).eps)
        self.rows = left[:, :rank]  # Q: orthonormal and, as no direction beyond the rank is kept, orthogonal to 1
        self.factor = singular[:rank, None] * right[:rank]  # R: (rank, d)

    def mean_without(self, subsets: Subsets) -> NDArray[np.float64]:
        """Return the mean without each subset, (s, d)."""
        mean: NDArray[np.float64] = self.mean - self.centred[subsets].sum(axis=1) / (self.n - subsets.shape[1])
        return mean

    def scatter_without(self, subsets: Subsets) -> Values:
        """Return the trace of the scatter matrix without each subset, (s,)."""
        gone = self.centred[subsets]
        of_mean = np.square(gone.sum(axis=1)).sum(axis=1) / (self.n - subsets.shape[1])
        trace: Values = self.scatter - np.square(gone).sum(axis=(1, 2)) - of_mean
        return trace

    def removal(self, subsets: Subsets) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return B (s, k, m), with orthogonal columns, and the diagonal of G (s, 1, m) of each subset."""
        m = subsets.shape[1]
        shrink, axes = np.linalg.eigh(np.eye(m) + np.ones((m, m)) / (self.n - m))
        rows = (axes * np.sqrt(shrink)) @ axes.T @ self.rows[subsets]
        leverage, rotation = np.linalg.eigh(rows @ rows.transpose(0, 2, 1))
        gain = 1 / (1 + np.sqrt(1 - np.clip(leverage, 0, 1)))
        return rows.transpose(0, 2, 1) @ rotation, gain[:, None, :]


def _distance(first: _Moments, second: _Moments) -> float:
    if len(first.mean) != len(second.mean):
        raise ValueError(f"embeddings of {len(first.mean)} and {len(second.mean)} dimensions")
    left = first.factor / np.sqrt(first.n - 1)
    right = second.factor / np.sqrt(second.n - 1)
    traces = float(np.square(left).sum() + np.square(right).sum())
    distance = float(np.square(first.mean - second.mean).sum()) + traces - 2 * float(_nuclear_norm(left @ right.T))
    return distance if distance > RESOLUTION * traces else 0.0


def _nuclear_norm(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    norm: NDArray[np.float64] = np.linalg.svd(matrix, compute_uv=False).sum(axis=-1)
    return norm


class FrechetDistance(Metric):
    """Frechet distance of the tagger's embeddings."""

    name = "fd"
    summary = "Frechet distance of embeddings; lower is better, compare at equal n only"
    higher_is_better = False
    ratio_scale = True
    range = (0.0, math.inf)
    needs = frozenset({"embedding"})
    against = ("reference", "baseline")
    paired = False

    def compute(self, generated: Features, against: Features | None) -> float:
        """Return the distance; the two sets may be of different clips."""
        return frechet_distance(generated["embedding"], given(against)["embedding"])

    def statistic(self, generated: Features, against: Features | None) -> Statistic:
        """Return the distance with fast removal of captions."""
        return PairedFrechet(generated["embedding"], given(against)["embedding"])
