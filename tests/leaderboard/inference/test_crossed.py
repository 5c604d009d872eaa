"""An interval over captions and draws, and what either brings."""

import numpy as np
import pytest
from scipy.stats import t

from admbench.leaderboard.inference.contrasts import contrast
from admbench.leaderboard.inference.crossed import crossed_mean
from admbench.leaderboard.inference.equivalence import captions_needed
from admbench.leaderboard.inference.influence import Influence


def table(draws, captions, of_draws, of_captions, of_rest, seed=0):
    rng = np.random.default_rng(seed)
    return (
        of_draws * rng.normal(size=(draws, 1))
        + of_captions * rng.normal(size=(1, captions))
        + of_rest * rng.normal(size=(draws, captions))
    )


def test_components_are_found():
    """Of 60 draws and 400 captions each component is known to some 20 %."""
    found = crossed_mean(table(60, 400, 0.5, 2.0, 1.0))
    assert found.variance_draws * 60 == pytest.approx(0.25, rel=0.4)
    assert found.variance_captions * 400 == pytest.approx(4.0, rel=0.2)
    assert found.variance_rest * 24_000 == pytest.approx(1.0, rel=0.05)
    assert found.share_draws + found.share_captions == pytest.approx(1)


def test_without_draws_of_their_own_it_is_students_interval_over_captions():
    captions = np.random.default_rng(0).normal(size=96)
    found = crossed_mean(np.stack([captions] * 3))
    half = t.ppf(0.975, 95) * captions.std(ddof=1) / np.sqrt(96)
    assert found.half_width() == pytest.approx(half)
    assert found.share_draws == pytest.approx(0, abs=1e-12)


def test_where_draws_are_all_it_is_students_interval_over_draws():
    draws = np.array([1.0, 2.0, 4.0])
    found = crossed_mean(np.repeat(draws[:, None], 96, axis=1))
    half = t.ppf(0.975, 2) * draws.std(ddof=1) / np.sqrt(3)
    assert found.half_width() == pytest.approx(half)
    assert found.share_draws == pytest.approx(1)


def test_nothing_that_varies_has_no_error():
    found = crossed_mean(np.ones((3, 8)))
    assert found.interval() == (1.0, 1.0)
    assert (found.share_draws, found.share_captions) == (0.0, 0.0)


@pytest.mark.parametrize("wrong", [np.ones((1, 8)), np.ones((3, 1)), np.ones(3), np.full((3, 8), np.nan)])
def test_what_is_no_table_is_refused(wrong):
    with pytest.raises(ValueError, match=r"at least two draws|finite"):
        crossed_mean(wrong)


def cells(of_draws, seed=0):
    rows = table(3, 96, of_draws, 1.0, 0.3, seed)
    return [Influence.of_clips(row) for row in rows]


def test_draws_of_two_cells_are_paired_by_their_number():
    own, other = cells(1.0), cells(1.0, seed=1)
    shared = [Influence.of_clips(row.first + row.value + 0.1) for row in own]
    assert contrast(shared, own).standard_error == pytest.approx(0, abs=1e-9)
    assert contrast(other, own).standard_error > 0.1
    assert contrast(own, other[0]).crossed is not None  # a cell of one draw is held against each draw of the other


def test_more_captions_do_not_tell_what_draws_decide():
    few, many = contrast(cells(0.01), cells(0.01, seed=1)), contrast(cells(1.0), cells(1.0, seed=1))
    assert captions_needed(few, few.estimate + 0.1)
    assert captions_needed(many, many.estimate + 0.1) is None
