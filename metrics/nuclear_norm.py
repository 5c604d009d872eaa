"""The nuclear norm of a matrix after many changes of low rank, without a factorization for each.

With M' = M - W Y^T (W, Y of k columns) and A = M M^T, A' = M' M'^T,

    |M'|_* - |M|_* = 1/pi * integral over s > 0 of log det(A' + s^2) / det(A + s^2)

because the integral of log(1 + a / s^2) is pi sqrt(a) for each eigenvalue a. The ratio of determinants is that of a
2k x 2k matrix (Sylvester's determinant identity, on [[s, iM], [iM^T, s]], whose determinant is det(A + s^2)):

    | I - C^T   -s D_Y |      C   = W^T (A + s^2)^-1 M Y
    |  s D_W     I - C |      D_W = W^T (A + s^2)^-1 W,   D_Y = Y^T (M^T M + s^2)^-1 Y

and all of these are sums over the singular vectors of M, found once. The integrand is analytic in log s for a distance
of pi/2 around the real line, so that a sum over evenly spaced nodes converges as exp(-pi^2 / spacing). The result is
good to about 1e-12 of the norm; to a few 1e-8 where M is singular before or after, as then the determinant falls
below its own rounding error at small s.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Matrices = NDArray[np.float64]

SPACING = 0.3
"""Of the nodes in log s; the sum is exact to about 1e-14 of the integral."""
LOWEST, HIGHEST = 1e-13, 1e5
"""Reach of the nodes in units of the largest singular value."""
CHUNK = 2**22  # doubles in one batch of products: 32 MiB


class NuclearNorm:
    """The nuclear norm of M, and what it becomes.

    Args:
        matrix: M, (p, q), float64.
    """

    def __init__(self, matrix: Matrices) -> None:
        self._left, singular, right = np.linalg.svd(matrix)
        self._right = right.T
        self.value = float(singular.sum())
        """Of M itself."""
        self._singular = singular
        self._top = float(singular.max(initial=0.0))
        count = int(np.log(HIGHEST / LOWEST) / SPACING) + 1
        self._nodes = self._top * LOWEST * np.exp(SPACING * np.arange(count))

    def without(self, left: Matrices, right: Matrices) -> NDArray[np.float64]:
        """Return the nuclear norm of M - W Y^T for each of many W and Y.

        Args:
            left: W, (n, p, k).
            right: Y, (n, q, k).

        Returns:
            (n,).
        """
        if not self._top:
            return np.array([np.linalg.svd(w @ y.T, compute_uv=False).sum() for w, y in zip(left, right, strict=True)])
        width = left.shape[2]
        size = max(1, CHUNK // (width * width * max(left.shape[1], right.shape[1], 4 * len(self._nodes))))
        parts = [
            self._changes(left[start : start + size], right[start : start + size])
            for start in range(0, len(left), size)
        ]
        return np.maximum(self.value + np.concatenate(parts), 0.0)

    def _changes(self, left: Matrices, right: Matrices) -> NDArray[np.float64]:
        w, y = left.transpose(0, 2, 1) @ self._left, right.transpose(0, 2, 1) @ self._right  # (n, k, p), (n, k, q)
        rank = len(self._singular)
        crossed = w[:, :, None, :rank] * y[:, None, :, :rank]
        within = [one[:, :, None] * one[:, None] for one in (w, y)]
        square = np.square(self._nodes)
        cross = np.moveaxis(crossed @ self._resolvent(rank, self._singular), -1, 1)
        of_left, of_right = (
            np.moveaxis(products @ self._resolvent(products.shape[-1]), -1, 1) * self._nodes[:, None, None]
            for products in within
        )
        identity = np.eye(w.shape[1])
        ratio = np.linalg.det(np.block([[identity - cross.swapaxes(-1, -2), -of_right], [of_left, identity - cross]]))
        # The change of the trace of A is what log ratio is over s^2 for large s. Without it the rest falls as s^-4.
        overlap = np.einsum("nabp,p->nab", crossed, self._singular)
        gram = within[0].sum(-1) @ within[1].sum(-1)
        trace = np.trace(gram, axis1=1, axis2=2) - 2 * np.trace(overlap, axis1=1, axis2=2)
        tail = trace[:, None] / (square + self._top**2)
        tiny = np.finfo(np.float64).tiny
        rest = ((np.log(np.maximum(np.abs(ratio), tiny)) - tail) * self._nodes).sum(axis=1) * SPACING / np.pi
        change: NDArray[np.float64] = rest + trace / (2 * self._top)
        return change

    def _resolvent(self, size: int, numerator: NDArray[np.float64] | None = None) -> Matrices:
        """Return numerator / (s^2 + sigma^2) of each singular vector, zeros included, and node: (size, nodes)."""
        squares = np.zeros(size)
        squares[: len(self._singular)] = np.square(self._singular)
        above = np.ones(size) if numerator is None else numerator
        resolvent: Matrices = above[:, None] / (squares[:, None] + np.square(self._nodes))
        return resolvent
