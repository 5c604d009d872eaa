"""Kernel audio distance: the formula term by term, known Gaussians, and removal of captions without new kernels."""

import numpy as np
import pytest

from admbench.metrics.features import Features
from admbench.metrics.kad import KernelAudioDistance, PairedKernel, kernel_audio_distance, median_bandwidth

RNG = np.random.default_rng(0)


def by_loops(generated, reference, paired=False):
    """The formula with one term at a time; of pairs, without those of one caption."""
    pairs = [(a, b) for row, a in enumerate(reference) for b in reference[row + 1 :]]
    bandwidth = np.median([np.linalg.norm(a - b) for a, b in pairs])

    def kernel(a, b):
        return np.exp(-np.sum((a - b) ** 2) / (2 * bandwidth**2))

    def within(vectors):
        n = len(vectors)
        return sum(kernel(vectors[i], vectors[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))

    crossed = [(i, j) for i in range(len(generated)) for j in range(len(reference)) if not (paired and i == j)]
    between = sum(kernel(generated[i], reference[j]) for i, j in crossed) / len(crossed)
    return 100 * (within(generated) + within(reference) - 2 * between)


@pytest.mark.parametrize(("n", "m", "d"), [(12, 15, 3), (20, 9, 40), (2, 2, 1)])
def test_it_is_the_formula(n, m, d):
    generated, reference = RNG.normal(size=(n, d)) + 0.4, 2 * RNG.normal(size=(m, d))
    assert kernel_audio_distance(generated, reference) == pytest.approx(by_loops(generated, reference), abs=1e-6)


@pytest.mark.parametrize(("n", "d"), [(12, 3), (20, 40), (2, 1)])
def test_pairs_of_one_caption_are_left_out(n, d):
    reference = RNG.normal(size=(n, d))
    generated = 0.8 * reference + 0.3 * RNG.normal(size=(n, d))
    expected = by_loops(generated, reference, paired=True)
    assert kernel_audio_distance(generated, reference, paired=True) == pytest.approx(expected, abs=1e-6)


def expected_kernel(variance, distance, bandwidth):
    """E exp(-|z|^2 / 2 s^2) of z ~ N(distance, diag variance): a Gaussian integral per dimension."""
    total = bandwidth**2 + variance
    return np.prod(bandwidth / np.sqrt(total) * np.exp(-(distance**2) / (2 * total)))


def test_it_is_on_average_that_of_the_gaussians_whatever_the_number_of_clips():
    mean, scale, bandwidth = np.array([1.0, 0.0, -0.5]), np.array([1.0, 2.0, 0.5]), 1.7
    closed_form = 100 * (
        expected_kernel(2 * scale**2, 0 * mean, bandwidth)
        + expected_kernel(2 * np.ones(3), 0 * mean, bandwidth)
        - 2 * expected_kernel(scale**2 + 1, mean, bandwidth)
    )
    for n, repetitions in ((10, 1000), (200, 50)):
        values = [
            kernel_audio_distance(mean + scale * RNG.normal(size=(n, 3)), RNG.normal(size=(n, 3)), bandwidth)
            for _ in range(repetitions)
        ]
        assert np.mean(values) == pytest.approx(closed_form, abs=4 * np.std(values) / np.sqrt(repetitions))
        assert np.std(values) / np.sqrt(repetitions) < 0.05 * closed_form


def test_the_bandwidth_is_that_of_the_reference():
    narrow, wide = RNG.normal(size=(30, 2)), 5 * RNG.normal(size=(40, 2))
    assert median_bandwidth([[0.0], [1.0], [3.0]]) == 2
    assert kernel_audio_distance(narrow, wide) != pytest.approx(kernel_audio_distance(wide, narrow), rel=0.1)
    expected = kernel_audio_distance(narrow, wide)
    assert kernel_audio_distance(1000 * narrow, 1000 * wide) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("correlation", [0.0, 0.9])
def test_pairs_give_the_distance_of_the_distributions_whatever_they_have_in_common(correlation):
    """Equal distributions: zero on average; with the pairs of one caption it would lie below, "better than real"."""
    n, d, bandwidth, values, with_pairs = 24, 4, 2.0, [], []
    for _ in range(400):
        reference = RNG.normal(size=(n, d))
        generated = correlation * reference + np.sqrt(1 - correlation**2) * RNG.normal(size=(n, d))
        values.append(kernel_audio_distance(generated, reference, bandwidth, paired=True))
        with_pairs.append(kernel_audio_distance(generated, reference, bandwidth))
    error = np.std(values) / np.sqrt(len(values))
    assert np.mean(values) == pytest.approx(0, abs=4 * error)
    if correlation:
        own = (
            100
            * 2
            / n
            * (
                expected_kernel(2 * (1 - correlation) * np.ones(d), np.zeros(d), bandwidth)
                - expected_kernel(2 * np.ones(d), np.zeros(d), bandwidth)
            )
        )
        assert np.mean(with_pairs) == pytest.approx(-own, abs=4 * error)
        assert own > 10 * error


def test_a_score_takes_clips_of_one_caption_for_pairs_and_other_sets_as_they_are():
    metric = KernelAudioDistance()
    first, second = RNG.normal(size=(2, 8, 3))
    ids, others = tuple("abcdefgh"), tuple("ijklmnop")
    made, real = Features(ids, {"embedding": first}), Features(ids, {"embedding": second})
    assert metric.compute(made, real) == pytest.approx(by_loops(first, second, paired=True), abs=1e-9)
    assert metric.statistic(made, real).value == metric.compute(made, real)
    other = Features(others, {"embedding": second})
    assert metric.compute(made, other) == pytest.approx(by_loops(first, second), abs=1e-9)


def test_identical_pairs_are_at_no_distance():
    embeddings = RNG.normal(size=(50, 4))
    assert kernel_audio_distance(embeddings, embeddings, paired=True) == pytest.approx(0, abs=1e-9)
    with pytest.raises(ValueError, match="50 and 49 clips are no pairs"):
        kernel_audio_distance(embeddings, embeddings[1:], paired=True)


def test_identical_sets_that_are_taken_for_independent_are_a_little_below_zero():
    embeddings = RNG.normal(size=(50, 4))
    squares = np.square(embeddings[:, None] - embeddings).sum(axis=-1)
    kernel = np.exp(-squares / (2 * median_bandwidth(embeddings) ** 2))
    excess = 1 - kernel[~np.eye(50, dtype=bool)].mean()
    assert kernel_audio_distance(embeddings, embeddings) == pytest.approx(-100 * 2 / 50 * excess)


@pytest.mark.parametrize("removed", [1, 2])
def test_removing_captions_equals_computing_without_them(removed):
    n = 60
    reference = RNG.normal(size=(n, 3))
    generated = 0.5 * reference + RNG.normal(size=(n, 3)) + 0.7
    subsets = np.stack([RNG.choice(n, removed, replace=False) for _ in range(20)])
    paired = PairedKernel(generated, reference)
    expected = [
        kernel_audio_distance(np.delete(generated, subset, axis=0), np.delete(reference, subset, axis=0), paired=True)
        for subset in subsets
    ]
    assert paired.value == pytest.approx(kernel_audio_distance(generated, reference, paired=True), rel=1e-12)
    moved = np.abs(np.array(expected) - paired.value).mean()
    assert paired.without(subsets) == pytest.approx(expected, abs=0.03 * moved)  # the square of the change is left out


@pytest.mark.parametrize(
    ("generated", "reference", "message"),
    [
        (np.zeros((1, 4)), np.zeros((5, 4)), "generated: needs at least 2 clips, got 1"),
        (np.zeros((5, 4)), np.zeros((5, 3)), "4 and 3 dimensions"),
        (np.full((5, 4), np.nan), np.zeros((5, 4)), "generated: 5 rows are not finite"),
        (np.ones((5, 4)), np.zeros((5, 4)), "median distance between reference embeddings is zero"),
    ],
)
def test_malformed_input_is_refused(generated, reference, message):
    with pytest.raises(ValueError, match=message):
        kernel_audio_distance(generated, reference)
