"""Greedy choice under coverage: known answers, the guarantee against brute force, that being lazy changes nothing."""

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admbench.methods.core.calibration.submodular import Coverage, FacilityLocation, WeightedSum, greedy


def value_of(make, chosen):
    function = make()
    for candidate in chosen:
        function.add(candidate)
    return function.value


def greedy_by_definition(function, candidates, count):
    chosen = []
    while len(chosen) < min(count, candidates):
        left = [candidate for candidate in range(candidates) if candidate not in chosen]
        best = max(left, key=lambda candidate: (function.gain(candidate), -candidate))
        function.add(best)
        chosen.append(best)
    return chosen


def instance(seed, candidates, features):
    """A sum of both kinds of function, of numbers that make no two sums equal by rounding alone."""
    rng = np.random.default_rng(seed)
    similarity, has = rng.integers(0, 16, (features, candidates)) / 16, rng.random((candidates, features)) < 0.3
    weights = rng.integers(1, 5, features).astype(float)
    return lambda: WeightedSum([(2.0, FacilityLocation(similarity)), (1.0, Coverage(has, weights))])


def test_facility_location_takes_one_candidate_of_each_cluster():
    points = np.array([0.0, 0.1, -0.1, 10.0, 10.1, 9.9])
    similarity = np.exp(-np.abs(points[:, None] - points[None, :]))
    function = FacilityLocation(similarity)
    assert sorted(greedy(function, range(6), 2)) == [0, 3]
    assert function.value == pytest.approx((2 + 4 * np.exp(-0.1)) / 6, abs=1e-4)


def test_all_points_chosen_give_facility_location_its_largest_value():
    similarity = np.array([[1.0, 0.2, 0.1], [0.2, 1.0, 0.3], [0.1, 0.3, 1.0]])
    function = FacilityLocation(similarity)
    assert len(greedy(function, range(3), 9)) == 3
    assert function.value == 1.0


def test_greedy_set_cover_is_the_textbooks():
    # The classic trap: two sets cover everything, greedy is lured by the largest one and needs three.
    sets = [{0, 1, 2, 3}, {0, 1, 4}, {2, 3, 5}]
    has = np.array([[feature in members for feature in range(6)] for members in sets])
    function = Coverage(has)
    assert greedy(function, range(3), 2) == [0, 1]
    assert function.value == pytest.approx(5 / 6)
    assert value_of(lambda: Coverage(has), (1, 2)) == 1.0


def test_weights_decide_what_is_covered_first():
    has = np.array([[True, False, False], [False, True, True]])
    assert greedy(Coverage(has, np.array([5.0, 1.0, 1.0])), range(2), 1) == [0]
    assert greedy(Coverage(has), range(2), 1) == [1]


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.integers(1, 8), st.integers(1, 6), st.integers(1, 4))
def test_greedy_reaches_its_guarantee_and_laziness_changes_nothing(seed, candidates, features, count):
    make = instance(seed, candidates, features)
    function = make()
    chosen = greedy(function, range(candidates), count)
    assert chosen == greedy_by_definition(make(), candidates, count)
    best = max(value_of(make, some) for some in combinations(range(candidates), min(count, candidates)))
    assert (1 - 1 / np.e) * best - 1e-9 <= function.value <= best + 1e-9


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.lists(st.integers(0, 5), min_size=1, max_size=5))
def test_gains_are_what_adding_gives_and_shrink_as_the_set_grows(seed, order):
    function, gains = instance(seed, 6, 5)(), []
    for candidate in order:
        gain, before = function.gain(candidate), function.value
        gains.append(function.gain(5))
        function.add(candidate)
        assert function.value - before == pytest.approx(gain, abs=1e-12)
    assert all(later <= earlier + 1e-12 for earlier, later in pairwise(gains))


@pytest.mark.parametrize("broken", [np.zeros((0, 2)), np.array([[-0.1]]), np.array([[np.nan]])])
def test_similarities_that_break_the_guarantee_are_refused(broken):
    with pytest.raises(ValueError, match="not negative"):
        FacilityLocation(broken)


@pytest.mark.parametrize("weights", [[0.0, 0.0], [-1.0, 2.0], [np.inf, 1.0]])
def test_weights_that_break_the_guarantee_are_refused(weights):
    with pytest.raises(ValueError, match="not negative"):
        Coverage(np.ones((1, 2), dtype=bool), np.array(weights))
