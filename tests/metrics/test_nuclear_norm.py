"""The nuclear norm after changes of low rank: against singular values, and where they are known without computing."""

import numpy as np
import pytest

from admbench.metrics.nuclear_norm import NuclearNorm

RNG = np.random.default_rng(0)


def singular_values(matrix):
    return np.linalg.svd(matrix, compute_uv=False)


@pytest.mark.parametrize(("rows", "columns", "width"), [(5, 5, 1), (7, 5, 2), (5, 9, 2), (60, 60, 4), (3, 3, 3)])
@pytest.mark.parametrize("spectrum", ["flat", "steep", "deficient"])
def test_it_is_the_sum_of_the_changed_matrix_singular_values(rows, columns, width, spectrum):
    matrix = RNG.normal(size=(rows, columns))
    if spectrum == "steep":
        matrix *= np.exp(-np.arange(columns) * 20 / columns)
    if spectrum == "deficient":
        matrix[:, -1] = matrix[:, 0]
    left, right = RNG.normal(size=(6, rows, width)), RNG.normal(size=(6, columns, width))
    expected = [singular_values(matrix - w @ y.T).sum() for w, y in zip(left, right, strict=True)]
    norm = NuclearNorm(matrix)
    assert norm.value == pytest.approx(singular_values(matrix).sum(), rel=1e-12)
    assert norm.without(left, right) == pytest.approx(expected, rel=1e-7 if spectrum == "deficient" else 1e-11)


def test_a_singular_direction_takes_its_value_away():
    left, values, right = np.linalg.svd(RNG.normal(size=(8, 8)))
    norm = NuclearNorm(left * values @ right)
    changed = norm.without((left * values).T[:, :, None], right[:, :, None])
    # the matrix becomes singular, where a determinant of rounding error counts for 1e-8 of the norm
    assert changed == pytest.approx(values.sum() - values, abs=1e-7)


def test_no_change_is_no_change():
    norm = NuclearNorm(RNG.normal(size=(6, 4)))
    assert norm.without(np.zeros((2, 6, 1)), RNG.normal(size=(2, 4, 1))) == pytest.approx([norm.value] * 2, rel=1e-13)


def test_a_matrix_of_zeros_becomes_the_change():
    left, right = np.array([[[3.0], [4.0]]]), np.array([[[1.0], [0.0], [0.0]]])
    assert NuclearNorm(np.zeros((2, 3))).without(left, right) == pytest.approx([5.0])


def test_many_changes_are_done_in_parts(monkeypatch):
    norm = NuclearNorm(RNG.normal(size=(9, 9)))
    left, right = RNG.normal(size=(2, 25, 9, 2))
    whole = norm.without(left, right)
    monkeypatch.setattr("admbench.metrics.nuclear_norm.CHUNK", 1)
    assert norm.without(left, right) == pytest.approx(whole, rel=1e-12)
