"""Frechet distance: closed forms, invariances, and removal of captions without computing anew."""

import time

import numpy as np
import pytest

from admbench.metrics.frechet import PairedFrechet, frechet_distance

RNG = np.random.default_rng(0)


def sample(mean, covariance, n=200, seed=0):
    """Return n points whose sample mean and unbiased covariance are exactly these."""
    normal = np.random.default_rng(seed).normal(size=(n, len(mean)))
    orthonormal = np.linalg.qr(normal - normal.mean(axis=0))[0]
    return orthonormal * np.sqrt(n - 1) @ np.linalg.cholesky(covariance).T + mean


def test_gaussians_with_diagonal_covariances_match_the_closed_form():
    first = sample([1.0, -2.0, 0.5], np.diag([4.0, 1.0, 0.25]), seed=1)
    second = sample([0.0, 0.0, 0.5], np.diag([1.0, 9.0, 0.25]), n=150, seed=2)
    expected = (1 + 4) + (2 - 1) ** 2 + (1 - 3) ** 2  # |m1 - m2|^2 + sum (sqrt a - sqrt b)^2
    assert frechet_distance(first, second) == pytest.approx(expected, abs=1e-9)


def test_gaussians_whose_covariances_do_not_commute_match_the_closed_form():
    covariances = np.array([[2.0, 0.8], [0.8, 1.0]]), np.array([[1.0, -0.6], [-0.6, 3.0]])
    product = covariances[0] @ covariances[1]
    root_trace = np.sqrt(np.trace(product) + 2 * np.sqrt(np.linalg.det(product)))  # of a 2 x 2 matrix
    expected = 3**2 + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * root_trace
    actual = frechet_distance(sample([3.0, 0.0], covariances[0]), sample([0.0, 0.0], covariances[1], seed=1))
    assert actual == pytest.approx(expected, abs=1e-9)


def test_large_means_and_scales_lose_no_digits_that_count():
    first, second = sample([1e3] * 4, 1e-4 * np.eye(4)), sample([1e3 + 1] * 4, 1e-4 * np.eye(4), seed=1)
    assert frechet_distance(first, second) == pytest.approx(4.0, abs=1e-6)


@pytest.mark.parametrize(("n", "d"), [(100, 8), (20, 64), (2, 3)], ids=["full rank", "rank deficient", "two clips"])
def test_identical_sets_are_at_distance_zero(n, d):
    embeddings = np.maximum(RNG.normal(size=(n, d)), 0)
    assert frechet_distance(embeddings, embeddings) == 0
    assert frechet_distance(embeddings, embeddings[::-1]) == 0


def test_it_is_symmetric_and_ignores_rotation_and_translation():
    first, second = RNG.normal(size=(40, 64)), RNG.normal(size=(50, 64)) + 0.2
    rotation = np.linalg.qr(RNG.normal(size=(64, 64)))[0]
    expected = frechet_distance(first, second)
    assert frechet_distance(second, first) == pytest.approx(expected, rel=1e-10)
    assert frechet_distance(first @ rotation + 7, second @ rotation + 7) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("generated", "reference", "message"),
    [
        (np.zeros((0, 4)), np.zeros((5, 4)), "generated: needs at least 2 clips, got 0"),
        (np.zeros((5, 4)), np.zeros((1, 4)), "reference: needs at least 2 clips, got 1"),
        (np.zeros(5), np.zeros((5, 4)), "expected a matrix"),
        (np.zeros((5, 4)), np.zeros((5, 3)), "4 and 3 dimensions"),
        (np.full((5, 4), np.nan), np.zeros((5, 4)), "generated: 5 rows are not finite"),
    ],
)
def test_malformed_input_is_refused(generated, reference, message):
    with pytest.raises(ValueError, match=message):
        frechet_distance(generated, reference)


def test_pairs_need_equal_numbers():
    with pytest.raises(ValueError, match="differ in shape"):
        _ = PairedFrechet(np.zeros((5, 4)), np.zeros((6, 4))).value


@pytest.mark.parametrize(("n", "d"), [(30, 5), (12, 12), (13, 12), (10, 40)])
@pytest.mark.parametrize("removed", [1, 2, 5])
def test_removing_captions_equals_computing_without_them(n, d, removed):
    generated, reference = np.maximum(RNG.normal(size=(n, d)), 0), RNG.normal(size=(n, d)) * 2 + 1
    generated[:, 0] = reference[:, 1] = 0  # a dead feature: no inverse exists
    subsets = np.stack([RNG.choice(n, removed, replace=False) for _ in range(20)])
    expected = [
        frechet_distance(np.delete(generated, subset, axis=0), np.delete(reference, subset, axis=0))
        for subset in subsets
    ]
    assert PairedFrechet(generated, reference).without(subsets) == pytest.approx(expected, rel=1e-7, abs=1e-6)


def test_removing_an_outlier_that_alone_spans_a_direction():
    generated = RNG.normal(size=(20, 3))
    generated[:, 2] = 0
    generated[4, 2] = 100
    reference = RNG.normal(size=(20, 3))
    expected = frechet_distance(np.delete(generated, 4, axis=0), np.delete(reference, 4, axis=0))
    assert PairedFrechet(generated, reference).without(np.array([[4]])) == pytest.approx([expected], abs=1e-6)


def test_a_jackknife_over_the_suite_takes_about_a_second():
    paired = PairedFrechet(RNG.normal(size=(240, 64)), RNG.normal(size=(240, 64)))
    started = time.process_time()
    paired.without(np.arange(240)[:, None])
    assert time.process_time() - started < 5
