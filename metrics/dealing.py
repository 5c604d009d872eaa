"""An order of clips that follows from what they are, not from what their files are called.

Some scores deal clips to parts: the splits of the Inception score, the parts of FAD-infinity. By the place of a clip in
its folder, they would change when files are renamed. By a hash of its numbers, they would change when one of them
differs in its last bit. So clips are ordered along a fixed random direction: such a difference moves nothing, or
exchanges two clips that are nearly alike. From that order they are dealt at random, as drawn from their number alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def content_order(rows: NDArray[np.float64], *others: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the order of clips along a fixed direction, (n,): the same clips, whatever order they come in.

    Args:
        rows: (n, d), by which clips are ordered.
        others: (n, ...), of the same clips, which decide where rows are equal.

    >>> content_order(np.array([[3.0], [1.0], [2.0]])).tolist() in ([1, 2, 0], [0, 2, 1])
    True
    """
    direction = np.random.default_rng(0).normal(size=rows.shape[1])
    along = (rows * direction).sum(axis=1)  # row by row: a product of matrices may round by where a row stands
    columns = [column for matrix in (rows, *others) for column in matrix.T]
    order: NDArray[np.int64] = np.lexsort([*reversed(columns), along])
    return order
