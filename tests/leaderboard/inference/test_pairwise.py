"""All pairs at once say what each pair alone does, but for rounding."""

from itertools import combinations

import numpy as np
import pytest

from admbench.leaderboard.inference.bootstrap import Rows, critical_value, largest_draws
from admbench.leaderboard.inference.closed_forms import squared_distance
from admbench.leaderboard.inference.contrasts import contrast
from admbench.leaderboard.inference.influence import Influence
from admbench.leaderboard.inference.pairs import all_pairs
from admbench.leaderboard.inference.pairwise import pairwise
from admbench.leaderboard.inference.scores import KINDS
from admbench.leaderboard.inference.simulate import draw_distances, draw_repeated

RNG = np.random.default_rng(0)
SETS = RNG.normal(size=(96, 12))
DISTANCES = draw_distances(RNG, 96, (0.1, 0.3, 0.3, 0.6))
REFERENCE = RNG.normal(size=SETS.shape)
ALMOST = [squared_distance(SETS + 1e-8 * RNG.normal(size=SETS.shape), REFERENCE) for _ in range(2)]
SHARES = {name: Influence.of_clips((RNG.random(96) < 0.7).astype(float)) for name in "abc"}

CASES = {
    "distances": (DISTANCES, "fd"),
    "some of them zero": (
        DISTANCES | {"same": squared_distance(SETS, SETS), "too": squared_distance(SETS, SETS)},
        "fd",
    ),
    "almost equal": (DISTANCES | {"one": ALMOST[0], "other": ALMOST[1], "equal": ALMOST[0]}, "fd"),
    "of which some have no second-order part": (DISTANCES | {"clips": Influence.of_clips(RNG.random(96) + 1)}, "fd"),
    "shares": (SHARES | {"same": SHARES["a"]}, "cas"),
    "several draws": (draw_repeated(RNG, 96, (0.0, 0.3, 0.6), (1.0, 0.5, 2.0)) | {"one": SHARES["a"]}, "snr"),
}


def critical(families):
    return critical_value(largest_draws(families), 96)


@pytest.mark.parametrize("case", CASES)
def test_all_at_once_is_each_alone(case):
    cells, key = CASES[case]
    kind, names = KINDS[key], list(cells)
    found = pairwise(cells, names, kind)
    alone = [
        contrast(cells[one], cells[other], ratio=kind.ratio_scale, share=kind.share)
        for one, other in combinations(names, 2)
    ]
    assert found.ratio.tolist() == [one.scale == "ratio" for one in alone]
    assert found.estimate == pytest.approx([one.estimate for one in alone], rel=1e-9, abs=1e-15)
    assert found.standard_error == pytest.approx([one.standard_error for one in alone], rel=1e-7, abs=1e-15)
    assert critical(found.families) == pytest.approx(critical([Rows.of(alone)]), rel=1e-7)


def test_a_pair_is_made_when_it_is_asked_for():
    found = all_pairs(DISTANCES, KINDS["fd"])
    assert [(pair.better, pair.worse) for pair in found.pairs if pair.told_apart] == found.told_apart
    for pair in found.pairs:
        again = found.pair(pair.worse, pair.better)
        assert (again.low, again.high) == (pair.low, pair.high)


def test_cells_over_other_captions_are_not_compared():
    fewer = draw_distances(RNG, 48, (0.3,))
    with pytest.raises(ValueError, match="48 and of 96 captions"):
        pairwise(DISTANCES | {"fewer": fewer["cell 0"]}, [*DISTANCES, "fewer"], KINDS["fd"])
    one = DISTANCES["cell 0"]
    other = Influence(one.value, one.first, one.second, one.pairs[:, ::-1])
    with pytest.raises(ValueError, match="other pairs of captions"):
        pairwise({"one": one, "other": other}, ["one", "other"], KINDS["fd"])
