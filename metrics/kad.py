"""Kernel audio distance: how far apart two sets of embeddings are, without a Gaussian behind it.

Conventions: the unbiased estimate of the squared maximum mean discrepancy, times 100; lower is better; 0 is what sets
of one distribution have on average, so single values can be negative. Independent of n in expectation, unlike the
Frechet distance. The kernel's bandwidth is the median distance between two embeddings of the *reference*, so that all
systems that are scored against one reference are on one scale; swapping the sets changes the value.

    KAD = 100 ( mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean_{(i, j)} k(x_i, y_j) )
    k(a, b) = exp(-|a - b|^2 / (2 s^2)),    s = median_{i < j} |y_i - y_j|,    y: reference

Chung et al. 2025, "KAD: No More FAD! An Effective and Efficient Evaluation Metric for Audio Generation", with the
factor of its toolkit; Gretton et al. 2012, "A kernel two-sample test" (estimates).

The last mean is over all pairs where the sets are of different captions, as published. Where x_i and y_i are of one
caption they are not independent, and it is over the pairs i != j: the one-sample U-statistic (Gretton et al., equation
4), unbiased whatever x_i and y_i have in common, and zero for identical sets. With the n pairs of one caption in it the
value is low by 2/n times what they exceed the others by, which made models look better than real audio.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import cdist, pdist, squareform

from admbench.metrics.arrays import as_matrix, as_pair
from admbench.metrics.base import Metric, given
from admbench.metrics.features import Features
from admbench.metrics.intervals import Statistic, Subsets, Values

SCALE = 100.0
"""Factor on the squared discrepancy."""


def kernel_audio_distance(
    generated: ArrayLike, reference: ArrayLike, bandwidth: float | None = None, *, paired: bool = False
) -> float:
    """Return the kernel audio distance between two sets of embeddings, computed in float64.

    Args:
        generated: (n1, d), n1 >= 2.
        reference: (n2, d), n2 >= 2.
        bandwidth: of the kernel, in units of the embeddings; None is the median distance in the reference.
        paired: whether rows of the same number are of one caption, and so not independent.

    Raises:
        ValueError: not two-dimensional, too few rows, different d, different n of pairs, a value that is not finite, or
            a reference whose embeddings are nearly all the same.

    >>> round(kernel_audio_distance([[0.0], [0.0]], [[3.0], [3.0]], bandwidth=1.0), 3)
    197.778
    """
    first, second = as_matrix(generated, "generated", 2), as_matrix(reference, "reference", 2)
    if first.shape[1] != second.shape[1]:
        raise ValueError(f"embeddings of {first.shape[1]} and {second.shape[1]} dimensions")
    width = median_bandwidth(second) if bandwidth is None else bandwidth
    within = [_kernel(pdist(one, "sqeuclidean"), width).mean() for one in (first, second)]
    across = _kernel(cdist(first, second, "sqeuclidean"), width)
    if paired:
        if len(first) != len(second):
            raise ValueError(f"{len(first)} and {len(second)} clips are no pairs")
        np.fill_diagonal(across, 0)
    pairs = across.size - paired * len(first)
    return float(SCALE * (sum(within) - 2 * across.sum() / pairs))


def median_bandwidth(reference: ArrayLike) -> float:
    """Return the median distance between two of the (n, d) embeddings of a reference.

    Raises:
        ValueError: it is zero, or there are fewer than two embeddings.
    """
    width = float(np.median(pdist(as_matrix(reference, "reference", 2))))
    if not width:
        raise ValueError("the median distance between reference embeddings is zero, so there is no bandwidth")
    return width


@dataclass(frozen=True)
class PairedKernel:
    """The kernel audio distance of n generated to n reference embeddings, row by row of one caption each.

    Without a caption the reference has another median distance, s + h. Where the sets differ, that moves the value as
    much as the caption itself does, so it is followed: with the derivative of the value by the bandwidth instead of n
    new kernels. What is left out, h^2, is a matter of 1/n^2.
    """

    generated: ArrayLike
    """(n, d)."""
    reference: ArrayLike
    """(n, d)."""

    @property
    def n(self) -> int:
        """Number of captions."""
        return len(self._embeddings[0])

    @cached_property
    def value(self) -> float:
        """The distance of all captions."""
        return kernel_audio_distance(*self._embeddings, paired=True)

    def without(self, subsets: Subsets) -> Values:
        """Return the distance without each subset of captions: (s, m) -> (s,)."""
        within, across, within_slope, across_slope = self._kernels
        kept = self.n - subsets.shape[1]
        pairs = kept * (kept - 1)
        value = (_sum_without(within, subsets) - 2 * _sum_without(across, subsets)) / pairs
        slope = (_sum_without(within_slope, subsets) - 2 * _sum_without(across_slope, subsets)) / pairs
        distance: Values = SCALE * (value + slope * (self._bandwidths_without(subsets) - self._bandwidth))
        return distance

    @cached_property
    def _embeddings(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return as_pair(self.generated, "generated", self.reference, "reference", rows=2)

    @cached_property
    def _bandwidth(self) -> float:
        return median_bandwidth(self._embeddings[1])

    @cached_property
    def _kernels(self) -> tuple[NDArray[np.float64], ...]:
        """The kernel within both sets, summed, and between them; and their derivatives. No caption meets itself.

        Four arrays (n, n); the derivatives are by the bandwidth.
        """
        first, second = self._embeddings
        squares = [squareform(pdist(first, "sqeuclidean")), squareform(pdist(second, "sqeuclidean"))]
        within = [_kernel(square, self._bandwidth) for square in squares]
        for kernel in within:
            np.fill_diagonal(kernel, 0)
        square = cdist(first, second, "sqeuclidean")
        across = _kernel(square, self._bandwidth)
        np.fill_diagonal(across, 0)
        slopes = (within[0] * squares[0] + within[1] * squares[1], across * square)
        return within[0] + within[1], across, *(slope / self._bandwidth**3 for slope in slopes)

    @cached_property
    def _distances(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The distances in the reference in ascending order (p,), and the two captions of each (2, p)."""
        distances = pdist(self._embeddings[1])
        order = np.argsort(distances)
        return distances[order], np.stack(np.triu_indices(self.n, 1))[:, order]

    def _bandwidths_without(self, subsets: Subsets) -> Values:
        """Return the median distance in the reference without each subset, (s,)."""
        distances, captions = self._distances
        medians = np.empty(len(subsets))
        for row, subset in enumerate(subsets):
            gone = np.zeros(self.n, dtype=bool)
            gone[subset] = True
            left = distances[~(gone[captions[0]] | gone[captions[1]])]
            medians[row] = (left[(len(left) - 1) // 2] + left[len(left) // 2]) / 2
        return medians


def _kernel(squared_distances: NDArray[np.float64], bandwidth: float) -> NDArray[np.float64]:
    kernel: NDArray[np.float64] = np.exp(squared_distances / (-2 * bandwidth**2))
    return kernel


def _sum_without(matrix: NDArray[np.float64], subsets: Subsets) -> Values:
    """Return the sum of an (n, n) matrix without each subset's rows and columns, (s,)."""
    margins = matrix.sum(axis=0) + matrix.sum(axis=1)
    twice = matrix[subsets[:, :, None], subsets[:, None, :]].sum(axis=(1, 2))  # in a removed row and a removed column
    left: Values = matrix.sum() - margins[subsets].sum(axis=1) + twice
    return left


class KernelAudioDistance(Metric):
    """Kernel audio distance of the tagger's embeddings."""

    name = "kad"
    summary = "Kernel audio distance (unbiased MMD^2 of embeddings, x 100); lower is better, can be negative"
    version = "2"
    higher_is_better = False
    range = (-math.inf, 2 * SCALE)
    needs = frozenset({"embedding"})
    against = ("reference", "baseline")
    paired = False

    def compute(self, generated: Features, against: Features | None) -> float:
        """Return the distance of pairs, or of two sets of different clips."""
        other = given(against)
        return kernel_audio_distance(generated["embedding"], other["embedding"], paired=generated.ids == other.ids)

    def statistic(self, generated: Features, against: Features | None) -> Statistic:
        """Return the distance with fast removal of captions."""
        return PairedKernel(generated["embedding"], given(against)["embedding"])

    def details(self, generated: Features, against: Features | None) -> dict[str, Any]:
        """Return the bandwidth of the kernel and the factor on the squared discrepancy."""
        return {"bandwidth": median_bandwidth(given(against)["embedding"]), "scale": SCALE}
