"""First and second moments of a clip's windows, from which the statistics of any set of clips follow.

An embedder of windows of a clip gives as many vectors as the clip is long. A Frechet distance between all
windows of two sets needs no more of a clip than their number, their sum, and the sum of their outer products: a row of
one length for clips of any length, by which a clip can be taken out of a sum again.
"""

from __future__ import annotations

from math import isqrt

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


def moments(windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the moments of each clip: (n, w, d) -> (n, 1 + d + d (d + 1) / 2).

    Of each clip: the number of its windows, their sum, and the upper triangle of the sum of their outer products.

    >>> moments(np.array([[[1.0, 2.0], [3.0, 4.0]]], dtype=np.float32))
    array([[ 2.,  4.,  6., 10., 14., 20.]], dtype=float32)
    """
    exact = windows.astype(np.float64)
    products = exact.transpose(0, 2, 1) @ exact
    upper = np.triu_indices(windows.shape[2])
    counts = np.full((len(windows), 1), windows.shape[1])
    return np.concatenate([counts, exact.sum(axis=1), products[:, *upper]], axis=1).astype(np.float32)


def mean_and_covariance(total: NDArray[np.float64]) -> tuple[Matrix, Matrix]:
    """Return mean (d,) and unbiased covariance (d, d) of all windows of which `total` sums the moments.

    Raises:
        ValueError: there are fewer than two windows.
    """
    count = total[0]
    if count < 2:
        raise ValueError(f"{count:.0f} windows; expected two or more")
    dim = (isqrt(8 * len(total) + 1) - 3) // 2  # of 1 + d + d (d + 1) / 2 numbers
    mean = total[1 : 1 + dim] / count
    products = np.zeros((dim, dim))
    products[np.triu_indices(dim)] = total[1 + dim :]
    products += np.triu(products, 1).T
    return mean, (products - count * np.outer(mean, mean)) / (count - 1)
