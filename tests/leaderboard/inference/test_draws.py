"""Pairs over several calibration draws: what cells lend each other, and how long the simultaneous intervals are."""

import numpy as np
import pytest
from scipy.special import polygamma
from scipy.stats import t

from admbench.leaderboard.inference.bootstrap import critical_value, largest_draws
from admbench.leaderboard.inference.contrasts import contrast
from admbench.leaderboard.inference.draws import LENT, Moderation, _inverse_trigamma, moderation, over_draws
from admbench.leaderboard.inference.influence import Influence
from admbench.leaderboard.inference.pairs import all_pairs, half_widths
from admbench.leaderboard.inference.pairwise import pairwise
from admbench.leaderboard.inference.scores import KINDS


def scores(scatter, draws=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(draws, 1)) + np.asarray(scatter) * rng.normal(size=(draws, len(scatter)))


@pytest.mark.parametrize("value", [1e-4, 0.3, 1.0, 40.0])
def test_trigamma_is_inverted(value):
    assert polygamma(1, _inverse_trigamma(value)) == pytest.approx(value)


def test_of_many_cells_that_scatter_alike_the_variance_is_found_and_many_degrees_are_lent():
    found = moderation(scores([2.0] * 4000))
    assert found.variance == pytest.approx(4.0, rel=0.1)
    assert found.degrees > 10


def test_the_prior_is_the_one_that_was_drawn_from():
    """Variances from a scaled inverse chi-square of 6 degrees of freedom around 4: Smyth's own model."""
    rng = np.random.default_rng(0)
    found = moderation(scores(np.sqrt(4.0 * 6 / rng.chisquare(6, size=20_000))))
    assert found.degrees == pytest.approx(6 * LENT, rel=0.2)
    assert found.variance == pytest.approx(4.0, rel=0.05)


def test_cells_that_scatter_unlike_lend_little():
    assert moderation(scores(np.geomspace(0.01, 100, 40))).degrees < 0.7 < moderation(scores([1.0] * 40)).degrees


def test_what_a_draw_does_to_all_cells_is_nobodys_scatter():
    table = scores([1.0] * 6)
    found, shifted = moderation(table), moderation(table + 100 * np.array([[0.0], [1.0], [3.0]]))
    assert (shifted.variance, shifted.degrees) == pytest.approx((found.variance, found.degrees))


def test_cells_that_do_not_scatter_lend_nothing():
    assert moderation(np.ones((3, 5))) == Moderation(0.0, 0.0)


@pytest.mark.parametrize("wrong", [np.ones(3), np.ones((1, 4)), np.ones((3, 1))])
def test_what_is_no_table_is_refused(wrong):
    with pytest.raises(ValueError, match="at least two draws of two cells"):
        moderation(wrong)


def cell(effect, draws=3, scatter=0.0, seed=0, captions=96):
    rng = np.random.default_rng(seed)
    own = effect + np.random.default_rng(99).normal(size=captions)
    return [Influence.of_clips(own + scatter * rng.normal() + 0.1 * rng.normal(size=captions)) for _ in range(draws)]


def test_pairs_without_draws_take_the_critical_value_of_captions():
    cells = {"fixed": cell(1.0, draws=1)[0], "other": cell(0.0, draws=1, seed=1)[0], "drawn": cell(0.5, seed=2)}
    found = pairwise(cells, list(cells), KINDS["snr"])
    largest = largest_draws(found.families)
    (halves,), critical = half_widths([found], largest)
    assert critical is None  # each has its own
    captions = critical_value(largest, 96)
    fixed = contrast(cells["fixed"], cells["other"])
    assert halves[0] == pytest.approx(captions * fixed.standard_error, rel=1e-12)
    crossed = contrast(cells["fixed"], cells["drawn"]).crossed
    student = t.ppf(1 - 0.05 / 4, 2)  # two pairs depend on draws
    of_draws = np.var(crossed.of_draws, ddof=1) / 3
    assert halves[1] == pytest.approx(np.sqrt(student**2 * of_draws + captions**2 * crossed.variance_captions))


def test_what_is_lent_shortens_an_interval_and_never_below_the_pairs_own_variance():
    one = contrast(cell(1.0, scatter=1.0), cell(0.0, scatter=1.0, seed=1))
    alone = over_draws(one, None, 3.0, 1)
    lent = over_draws(one, Moderation(1e-6, 10.0), 3.0, 1)
    own = np.var(one.crossed.of_draws, ddof=1) / 3
    assert lent == pytest.approx(np.sqrt(t.ppf(0.975, 12) ** 2 * own + 9.0 * one.crossed.variance_captions))
    assert lent < alone
    with pytest.raises(ValueError, match="one calibration draw"):
        over_draws(contrast(cell(1.0, draws=1)[0], cell(0.0, draws=1, seed=1)[0]), None, 3.0, 1)


def test_a_cell_without_draws_is_not_moderated():
    """What a draw does to all cells does not cancel there."""
    cells = {f"cell {k}": cell(float(k), scatter=0.2, seed=k) for k in range(6)}
    found = all_pairs(cells | {"fixed": cell(3.2, draws=1, seed=9)[0]}, KINDS["snr"])
    with_fixed = [pair.high - pair.low for pair in found.pairs if "fixed" in (pair.better, pair.worse)]
    others = [pair.high - pair.low for pair in found.pairs if "fixed" not in (pair.better, pair.worse)]
    assert np.median(with_fixed) > 1.5 * np.median(others)
