"""All pairs: one order, and intervals, letters and ranks that never contradict each other."""

import numpy as np
import pytest
from scipy.stats import studentized_range, t

from admbench.leaderboard.inference.bootstrap import Rows, critical_value, largest_draws
from admbench.leaderboard.inference.closed_forms import squared_distance
from admbench.leaderboard.inference.contrasts import contrast
from admbench.leaderboard.inference.influence import Influence
from admbench.leaderboard.inference.pairs import MAXIMUM_CELLS, all_pairs
from admbench.leaderboard.inference.scores import KINDS
from admbench.leaderboard.inference.simulate import draw_distances, draw_means


def drawn(effects=(0.0, 0.1, 0.4, 0.8), n=96, seed=0):
    return draw_means(np.random.default_rng(seed), n, effects)


def test_one_pair_has_students_interval():
    cells = drawn((0.0, 0.3))
    found = all_pairs(cells, KINDS["snr"])
    pair = found.pairs[0]
    alone = contrast(cells[pair.better], cells[pair.worse])
    assert found.critical == pytest.approx(t.ppf(0.975, 95), rel=0.02)
    assert (pair.low, pair.high) == pytest.approx(alone.interval(), rel=0.05)


def test_the_critical_value_is_tukeys_for_independent_cells():
    """Of equal, uncorrelated means the largest |t| of all pairs is the studentized range over the root of two."""
    rng = np.random.default_rng(0)
    orthogonal = np.linalg.qr(rng.normal(size=(400, 5)) - 0)[0]
    orthogonal -= orthogonal.mean(axis=0)
    cells = {str(k): Influence.of_clips(orthogonal[:, k]) for k in range(5)}
    names = sorted(cells)
    contrasts = [contrast(cells[one], cells[other]) for k, one in enumerate(names) for other in names[k + 1 :]]
    expected = studentized_range.ppf(0.95, 5, 399) / np.sqrt(2)
    assert critical_value(largest_draws([Rows.of(contrasts)]), 400) == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("key", ["snr", "lmd"])
def test_order_is_by_the_point_estimate(key):
    found = all_pairs(drawn(), KINDS[key])
    values = list(found.values.values())
    assert values == sorted(values, reverse=KINDS[key].higher_is_better)
    for pair in found.pairs:
        assert found.order.index(pair.better) < found.order.index(pair.worse)


@pytest.mark.parametrize("seed", range(8))
def test_intervals_letters_and_ranks_agree(seed):
    rng = np.random.default_rng(seed)
    cells = draw_distances(rng, 96, rng.uniform(0, 0.8, size=6))
    found = all_pairs(cells, KINDS["fd"])
    for pair in found.pairs:
        neutral = 1.0 if pair.contrast.scale == "ratio" else 0.0
        assert pair.told_apart is not (pair.low <= neutral <= pair.high)
        assert pair.told_apart is not bool(set(found.letters[pair.better]) & set(found.letters[pair.worse]))
        assert found.better_than(pair.better, pair.worse) is (True if pair.told_apart else None)
        assert found.better_than(pair.worse, pair.better) is (False if pair.told_apart else None)
    for place, name in enumerate(found.order, start=1):
        low, high = found.ranks[name]
        better = sum(pair.told_apart and pair.worse == name for pair in found.pairs)
        worse = sum(pair.told_apart and pair.better == name for pair in found.pairs)
        assert (low, high) == (1 + better, len(found.order) - worse)
        assert low <= place <= high


def test_the_same_records_give_the_same_result():
    cells = drawn()
    first, again = all_pairs(cells, KINDS["clap"]), all_pairs(dict(reversed(cells.items())), KINDS["clap"])
    assert first.order == again.order
    assert [(pair.low, pair.high) for pair in first.pairs] == [(pair.low, pair.high) for pair in again.pairs]


def test_cells_that_are_equal_on_every_caption_are_not_told_apart():
    own = drawn((0.0,))["cell 0"]
    found = all_pairs({"a": own, "b": own, "c": drawn(seed=3)["cell 3"]}, KINDS["snr"])
    pair = found.pair("a", "b")
    assert (pair.low, pair.high, pair.told_apart) == (0.0, 0.0, False)


def test_a_distance_of_zero_is_held_against_others_by_the_difference():
    rng = np.random.default_rng(0)
    sets = rng.normal(size=(96, 12))
    cells = {"same": squared_distance(sets, sets)} | draw_distances(rng, 96, (0.5, 0.5))
    found = all_pairs(cells, KINDS["fd"])
    assert found.order[0] == "same"
    assert found.pair("same", "cell 0").contrast.scale == "difference"
    assert found.pair("cell 0", "cell 1").contrast.scale == "ratio"
    assert found.letters["same"] == "a"
    assert "a" not in found.letters["cell 0"]


def test_agreement_of_zeros_and_ones_is_no_proof():
    rights = np.ones(48)
    found = all_pairs({"a": Influence.of_clips(rights), "b": Influence.of_clips(rights)}, KINDS["cas"])
    pair = found.pairs[0]
    assert pair.low < -0.03 < 0.03 < pair.high  # 3 of 48 could still be otherwise


def test_intervals_of_differences_stay_in_their_range():
    rights = np.array([1.0, 0, 0, 0, 0])
    found = all_pairs({"a": Influence.of_clips(rights), "b": Influence.of_clips(1 - rights)}, KINDS["cas"])
    assert -1 <= found.pairs[0].low <= found.pairs[0].high <= 1


def test_where_letters_could_not_be_read_it_is_said(monkeypatch):
    cells = drawn((0.0, 1.0, 2.0))
    assert all_pairs(cells, KINDS["snr"]).unlettered is None
    monkeypatch.setattr("admbench.leaderboard.inference.letters.MAXIMUM_LETTERS", 1)
    found = all_pairs(cells, KINDS["snr"])
    assert found.letters == {"cell 2": "", "cell 1": "", "cell 0": ""}
    assert "the pairs of 3 cells that are told apart ask for more than 200 letters" in str(found.unlettered)
    assert found.ranks["cell 2"] == (1, 1)


def test_one_cell_is_alone_at_its_rank():
    found = all_pairs(drawn((0.0,)), KINDS["snr"])
    assert found.ranks == {"cell 0": (1, 1)}
    assert found.letters == {"cell 0": "a"}
    assert found.pairs == ()


def test_few_captions_are_a_caution():
    assert "only 48 captions" in str(all_pairs(drawn(n=48), KINDS["snr"]).caution)
    assert all_pairs(drawn(n=96), KINDS["snr"]).caution is None


def test_draws_widen_the_intervals():
    rng = np.random.default_rng(0)
    captions = rng.normal(size=96)

    def cell(effect, draws):
        rows = captions + 0.3 * rng.normal(size=(draws, 96)) + 0.3 * rng.normal(size=(draws, 1)) + effect
        return [Influence.of_clips(row) for row in rows]

    cells = {"a": cell(0.0, 3), "b": cell(0.2, 3)}
    repeated = all_pairs(cells, KINDS["lmd"])
    once = all_pairs({name: draws[0] for name, draws in cells.items()}, KINDS["lmd"])
    assert repeated.critical is None
    pair = repeated.pairs[0]
    assert pair.contrast.crossed is not None
    assert pair.contrast.crossed.share_draws > 0.5
    assert pair.high - pair.low > 2 * (once.pairs[0].high - once.pairs[0].low)


def test_cells_of_several_draws_are_ordered_by_what_their_pairs_compare():
    """Of draws held as ratios: 1 and 4 are nearer to zero than 2.1 twice, though their mean is not."""
    noise = 0.01 * np.sin(np.arange(96.0))
    uneven = [Influence.of_clips(level * (1 + noise - noise.mean())) for level in (1.0, 4.0)]
    even = [Influence.of_clips(2.1 * (1 + noise - noise.mean()))] * 2
    found = all_pairs({"even": even, "uneven": uneven}, KINDS["fd"])
    assert found.order == ("uneven", "even")
    assert found.values["uneven"] == pytest.approx(2.0)
    assert found.pairs[0].contrast.shown == pytest.approx(2.0 / 2.1)


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="not compared"):
        all_pairs({"a": drawn()["cell 0"], "b": drawn(n=48)["cell 0"]}, KINDS["snr"])
    with pytest.raises(ValueError, match="cells of 2 and of 3 draws"):
        all_pairs({"a": list(drawn((0.0, 0.0)).values()), "b": list(drawn((0.0,) * 3).values())}, KINDS["snr"])
    with pytest.raises(ValueError, match="1 to"):
        all_pairs({}, KINDS["snr"])
    with pytest.raises(ValueError, match="1 to"):
        all_pairs(dict.fromkeys(map(str, range(MAXIMUM_CELLS + 1)), drawn()["cell 0"]), KINDS["snr"])
    with pytest.raises(KeyError):
        all_pairs(drawn(), KINDS["snr"]).pair("cell 0", "other")
