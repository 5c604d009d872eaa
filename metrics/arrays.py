"""The one check that every metric makes of its input arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def as_matrix(values: ArrayLike, name: str, rows: int = 1) -> NDArray[np.float64]:
    """Return values as a float64 matrix (n, d) with n >= `rows` and d >= 1, all finite.

    Raises:
        ValueError: they are not; says what `name` is instead.
    """
    matrix = np.asarray(values, dtype=np.float64)
    if matrix.ndim != 2 or not matrix.shape[1]:
        raise ValueError(f"{name}: expected a matrix (n, d), got shape {matrix.shape}")
    if len(matrix) < rows:
        raise ValueError(f"{name}: needs at least {rows} clip{'s' if rows > 1 else ''}, got {len(matrix)}")
    if not np.isfinite(matrix).all():
        raise ValueError(f"{name}: {np.count_nonzero(~np.isfinite(matrix).all(axis=1))} rows are not finite")
    return matrix


def as_pair(
    first: ArrayLike, first_name: str, second: ArrayLike, second_name: str, rows: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return two such matrices of one shape; ValueError if their shapes differ."""
    matrices = as_matrix(first, first_name, rows), as_matrix(second, second_name, rows)
    if matrices[0].shape != matrices[1].shape:
        raise ValueError(f"{first_name} and {second_name} differ in shape: {matrices[0].shape}, {matrices[1].shape}")
    return matrices
