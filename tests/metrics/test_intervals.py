"""Intervals: the classical one for means, the value inside, paired differences."""

import math

import numpy as np
import pytest
from scipy import stats

from admbench.metrics.frechet import PairedFrechet
from admbench.metrics.inception import SplitInception
from admbench.metrics.intervals import Mean, Replicates, deletion_pairs

RNG = np.random.default_rng(0)


def test_a_mean_has_the_classical_t_interval():
    values = RNG.exponential(size=30)
    expected = stats.t.interval(0.95, 29, values.mean(), values.std(ddof=1) / np.sqrt(30))
    assert Replicates.of(Mean(values)).interval() == pytest.approx(expected, rel=1e-9)


def test_a_paired_difference_of_means_is_that_of_the_differences():
    first, second = RNG.normal(size=(2, 25))
    difference = Replicates.of(Mean(first)) - Replicates.of(Mean(second))
    assert difference.interval() == pytest.approx(Replicates.of(Mean(first - second)).interval(), rel=1e-9)


def test_a_statistic_of_pairs_has_one_and_a_half_times_its_variance_where_the_jackknife_has_twice():
    # The squared length of the mean of n standard normal vectors is 1/n of a chi-squared value: variance 2 d / n^2.
    n, d, repetitions = 40, 16, 100

    class SquaredLength:
        def __init__(self):
            self.vectors = RNG.normal(size=(n, d))
            self.n = n
            self.value = np.square(self.vectors.mean(axis=0)).sum()

        def without(self, subsets):
            kept = self.vectors.sum(axis=0) - self.vectors[subsets].sum(axis=1)
            return np.square(kept / (n - subsets.shape[1])).sum(axis=1)

    drawn = [Replicates.of(SquaredLength()) for _ in range(repetitions)]
    ours = np.mean([one.standard_error() ** 2 for one in drawn])
    plain = np.mean([(n - 1) / n * np.square(one.without_one - one.without_one.mean()).sum() for one in drawn])
    assert 1.3 < ours / (2 * d / n**2) < 1.8
    assert 1.8 < plain / (2 * d / n**2) < 2.3


@pytest.mark.parametrize("n", [4, 5, 48])
@pytest.mark.parametrize("ratio_scale", [False, True])
def test_every_interval_contains_its_value_and_that_of_a_distance_is_positive(n, ratio_scale):
    statistics = [
        PairedFrechet(RNG.normal(size=(n, 6)), RNG.normal(size=(n, 6))),
        SplitInception(RNG.normal(size=(n, 4)), 1),
        Mean(RNG.exponential(size=n) ** 4),
    ]
    for statistic in statistics:
        low, high = Replicates.of(statistic).interval(ratio_scale=ratio_scale)
        assert low < statistic.value < high
        assert low > 0 or not ratio_scale


def test_identical_sets_have_a_distance_and_an_interval_of_zero():
    embeddings = RNG.normal(size=(30, 4))
    paired = PairedFrechet(embeddings, embeddings)
    low, high = Replicates.of(paired).interval(ratio_scale=True)
    assert 0 <= low <= paired.value <= high < 1e-9


def test_a_statistic_differs_from_itself_by_nothing():
    paired = PairedFrechet(RNG.normal(size=(30, 6)), RNG.normal(size=(30, 6)))
    difference = Replicates.of(paired) - Replicates.of(paired)
    assert (difference.value, difference.interval()) == (0, (0, 0))


def test_too_few_clips_have_no_interval():
    with pytest.raises(ValueError, match="at least 4 clips, got 3"):
        Replicates.of(Mean(np.arange(3.0)))


@pytest.mark.parametrize("n", [4, 5, 48, 1000])
def test_deletion_pairs_are_fixed_and_of_different_captions(n):
    pairs = deletion_pairs(n)
    assert np.array_equal(pairs, deletion_pairs(n))
    assert (pairs[:, 0] != pairs[:, 1]).all()
    assert set(pairs.ravel()) <= set(range(n))
    assert len(pairs) == min(2 * n, 480)


@pytest.mark.parametrize("values", [np.zeros(0), np.array([1.0, np.nan]), np.zeros((2, 2))])
def test_a_mean_needs_one_finite_number_per_clip(values):
    with pytest.raises(ValueError, match="number"):
        Mean(values)


def test_an_interval_ends_where_the_range_does_and_holds_the_value():
    own = Replicates.of(Mean(np.array([0.0, 1.0, 1.0, 1.0, 1.0, 1.0])))
    low, high = own.interval()
    assert high > 1
    assert own.interval(within=(0, 1)) == (pytest.approx(low), 1)
    assert own.interval(within=(0.7, math.inf))[0] == 0.7
    sure = Replicates.of(Mean(np.ones(6) + 1e-12))
    assert sure.interval(within=(0, 1)) == (1 + 1e-12, 1 + 1e-12)
