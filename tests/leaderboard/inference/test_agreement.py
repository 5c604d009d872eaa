"""Agreement of judges: Kendall's tau of their orders, and an interval that holds the true one."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom, kendalltau

from admbench.leaderboard.inference.agreement import Opinion, agreement, agreement_sentence
from admbench.leaderboard.inference.influence import Influence
from admbench.leaderboard.inference.pairs import all_pairs
from admbench.leaderboard.inference.scores import KINDS
from admbench.leaderboard.inference.simulate import draw_distances, draw_means, judged_twice

FAR = (0.1, 0.5, 1.0, 2.0)
NAMES = tuple(f"cell {k}" for k in range(4))


def opinion(effects, judge="one", n=96, seed=0, key="fd"):
    draw = draw_distances if KINDS[key].ratio_scale else draw_means
    return Opinion(judge, draw(np.random.default_rng(seed), n, effects), KINDS[key])


def test_judges_that_tell_everything_apart_alike_agree_for_certain():
    found = agreement(opinion(FAR), opinion(FAR, "other", seed=1))
    assert (found.tau, found.low, found.high, found.alike, found.contradictions) == (1.0, 1.0, 1.0, 6, ())
    assert (found.cells, found.word, found.pairs, found.n) == (NAMES, "agree", 6, 96)
    assert agreement_sentence("tiny-tango", found) == (
        "tiny-tango: one and other agree on the order of 4 cells (Kendall's tau 1.00 [1.00, 1.00]);"
        " of 6 pairs both tell 6 apart, all the same way."
    )


def test_what_is_better_is_each_scores_own_business():
    """A distance and a score that is better when higher, of other scales, put cells in one order."""
    found = agreement(opinion(FAR), opinion([-effect for effect in FAR], "other", key="snr"))
    assert (found.tau, found.word) == (1.0, "agree")
    turned = agreement(opinion(FAR), opinion(FAR, "other", key="snr"))
    assert (turned.tau, turned.high, turned.word, turned.alike) == (-1.0, -1.0, "disagree", 0)
    assert turned.contradictions[0] == ("cell 0", "cell 1")
    assert "contradicting each other on cell 0/cell 1, " in agreement_sentence("tiny-tango", turned)


@pytest.mark.parametrize("seed", range(5))
def test_tau_is_scipys_and_lies_in_an_interval_made_of_the_pairs_that_are_told_apart(seed):
    rng = np.random.default_rng(seed)
    one, other = opinion(rng.uniform(0, 0.8, 6), n=48, seed=seed), opinion(rng.uniform(0, 0.8, 6), n=48, seed=seed + 50)
    found = agreement(one, replace(other, judge="other"))
    values = [[cells[name].value for name in found.cells] for cells in (one.cells, other.cells)]
    assert found.tau == pytest.approx(kendalltau(*values).statistic)
    assert found.low <= found.tau <= found.high
    told = found.alike + len(found.contradictions)
    assert found.high - found.low == pytest.approx(2 * (found.pairs - told) / found.pairs)
    for cells in (one.cells, other.cells):  # nothing is told apart here that the judge's own letters do not
        assert told <= sum(pair.told_apart for pair in all_pairs(cells, KINDS["fd"]).pairs)
    assert agreement(one, other) == replace(found, judges=("one", "one")), "the same data, the same result"
    known = (replace(own, largest=all_pairs(own.cells, own.kind).largest) for own in (one, other))
    assert agreement(*known) == replace(found, judges=("one", "one")), "what all pairs have drawn is the same"


def test_a_judge_that_tells_nothing_apart_leaves_everything_open():
    same = opinion((0.3,)).cells["cell 0"]
    found = agreement(opinion(FAR), Opinion("deaf", dict.fromkeys(NAMES, same), KINDS["fd"]))
    assert (found.tau, found.low, found.high, found.word) == (0.0, -1.0, 1.0, "cannot be told")
    assert agreement_sentence("tiny-tango", found).startswith(
        "tiny-tango: whether one and deaf agree on the order of 4"
    )


def test_only_cells_that_both_judge_are_held_and_two_are_needed():
    one = opinion(FAR)
    part = {name: one.cells[name] for name in ("cell 3", "cell 1")}
    found = agreement(one, Opinion("part", part, KINDS["fd"]))
    assert (found.cells, found.pairs) == (("cell 1", "cell 3"), 1)
    with pytest.raises(ValueError, match="1 cells that both one and part judge"):
        agreement(one, Opinion("part", {"cell 1": part["cell 1"]}, KINDS["fd"]))
    with pytest.raises(ValueError, match="other numbers of captions"):
        agreement(one, opinion(FAR, "other", n=48))


def test_cells_of_several_calibration_draws_are_judged_by_their_means():
    draws = [draw_distances(np.random.default_rng(seed), 96, FAR) for seed in range(3)]
    cells = {name: [one[name] for one in draws] for name in NAMES}
    found = agreement(Opinion("one", cells, KINDS["fd"]), opinion(FAR, "other"))
    assert (found.tau, found.cells) == (1.0, NAMES)
    assert found.low > 0


def test_too_few_captions_are_a_caution():
    few = agreement(opinion(FAR, n=24), opinion(FAR, "other", n=24, seed=1))
    assert few.caution == "only 24 captions: below 96 intervals can be too short"
    clips = {name: Influence.of_clips(np.arange(96) + k) for k, name in enumerate(NAMES)}
    assert agreement(Opinion("a", clips, KINDS["snr"]), Opinion("b", clips, KINDS["snr"])).caution is None


@pytest.mark.parametrize("trials", [pytest.param(60, id="fast"), pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("second", "alike"), [((0.3, 0.3, 0.3, 0.4), False), ((0.4, 0.3, 0.6, 0.5), True)], ids=["ties", "turned"]
)
def test_the_interval_holds_the_true_tau_where_cells_are_equal_and_where_judges_differ(second, alike, trials):
    counts = judged_twice(48, ((0.3, 0.4, 0.5, 0.6), second), trials, alike=alike)
    most = binom.ppf(0.999, trials, 0.05)
    assert counts["interval misses"] <= most
    assert counts["wrong contradiction"] <= most
    assert counts["disagree"] <= most
