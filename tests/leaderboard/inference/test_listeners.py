"""Exact tests of fair coins, and intervals for a share over listeners: against scipy, closed forms and simulation."""

import numpy as np
import pytest
from scipy.stats import beta, binomtest, t

from admbench.leaderboard.inference.listeners import as_far, at_least, clustered_interval, exact_interval, holm


@pytest.mark.parametrize("count", [16, 17, 48])
def test_p_is_that_of_the_exact_binomial_test(count):
    for hits in range(count + 1):
        assert at_least(hits, count) == pytest.approx(binomtest(hits, count, 0.5, alternative="greater").pvalue)
        assert as_far(hits, count) == pytest.approx(binomtest(hits, count, 0.5).pvalue)


def test_of_one_listener_the_interval_is_the_exact_one():
    for hits in (0, 5, 16):
        exact = binomtest(hits, 16).proportion_ci(method="exact")
        assert exact_interval(hits, 16) == pytest.approx((exact.low, exact.high))
        assert clustered_interval([hits], [16]) == exact_interval(hits, 16)


def test_the_interval_of_listeners_is_korn_and_graubards():
    hits, counts = [10, 12, 15, 9], [16, 16, 16, 16]
    share = sum(hits) / 64
    variance = 4 / 3 * sum((k - share * 16) ** 2 for k in hits) / 64**2
    independent = min(64, share * (1 - share) / variance) * (t.ppf(0.975, 63) / t.ppf(0.975, 3)) ** 2
    x = independent * share
    expected = beta.ppf(0.025, x, independent - x + 1), beta.ppf(0.975, x + 1, independent - x)
    assert clustered_interval(hits, counts) == pytest.approx(expected)


def test_listeners_who_agree_do_not_make_an_interval_of_no_length():
    low, high = clustered_interval([12, 12, 12], [16, 16, 16])
    assert low < 0.6
    assert high > 0.88
    low, high = clustered_interval([16] * 8, [16] * 8)
    assert high == 1
    assert 0.9 < low < 1


def test_listeners_who_differ_make_it_longer():
    alike = clustered_interval([12] * 10, [16] * 10)
    apart = clustered_interval([8, 16] * 5, [16] * 10)
    assert apart[1] - apart[0] > 1.3 * (alike[1] - alike[0])


@pytest.mark.parametrize(("listeners", "spread"), [(4, 6.0), (12, 6.0), (12, 1e6)])
def test_it_holds_the_share_of_all_listeners_as_often_as_it_says(listeners, spread):
    """Listeners' own shares from a beta of mean 0.7; with `spread` large all are alike."""
    rng = np.random.default_rng(0)
    own = rng.beta(0.7 * spread, 0.3 * spread, size=(400, listeners))
    drawn = rng.binomial(16, own)
    intervals = [clustered_interval(row, [16] * listeners) for row in drawn]
    assert np.mean([low <= 0.7 <= high for low, high in intervals]) >= 0.93


def test_holm_keeps_the_order_and_never_falls():
    assert holm([]) == []
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
