"""From per-caption influences two cells are compared as from their features."""

from dataclasses import replace

import numpy as np
import pytest

from admbench.leaderboard.inference.contrasts import contrast, level, score_interval
from admbench.leaderboard.inference.influence import Influence
from admbench.leaderboard.inference.scores import KINDS
from admbench.leaderboard.per_caption import PER_CAPTION, CaptionScore, read_per_caption, write_per_caption
from admbench.metrics.fad_infinity import PairedExtrapolation
from admbench.metrics.frechet import PairedFrechet
from admbench.metrics.inception import SplitInception
from admbench.metrics.intervals import Mean, Replicates, deletion_pairs
from admbench.metrics.kad import PairedKernel

from ..written_results import captions, content


def influence_of(statistic):
    replicates = Replicates.of(statistic)
    pairs = deletion_pairs(replicates.n)
    return Influence.of_jackknife(replicates.value, replicates.without_one, replicates.without_two, pairs)


def three_sets(n=48, d=8, seed=0):
    """Return two cells' embeddings and a reference, with what makes a caption hard in common."""
    rng = np.random.default_rng(seed)
    reference, common = rng.normal(size=(2, n, d))
    first, second = (0.4 + common + sigma * rng.normal(size=(n, d)) for sigma in (0.3, 0.6))
    return first, second, reference


STATISTICS = {
    "frechet": lambda generated, reference: PairedFrechet(generated, reference),
    "kernel": lambda generated, reference: PairedKernel(generated, reference),
    "extrapolation": lambda generated, reference: PairedExtrapolation(generated, reference),
    "inception": lambda generated, reference: SplitInception(generated, 2),
    "mean": lambda generated, reference: Mean(np.square(generated - reference).sum(axis=1)),
}
each_statistic = pytest.mark.parametrize("statistic", STATISTICS.values(), ids=STATISTICS)


@each_statistic
def test_difference_of_two_cells_is_that_of_their_features(statistic):
    first, second, reference = three_sets()
    direct = Replicates.of(statistic(first, reference)) - Replicates.of(statistic(second, reference))
    kept = contrast(*(influence_of(statistic(own, reference)) for own in (first, second)))
    assert kept.estimate == pytest.approx(direct.value, rel=1e-9)
    assert kept.interval() == pytest.approx(direct.interval(), rel=1e-7)


@each_statistic
def test_records_of_two_runs_alone_give_the_interval_of_their_features(statistic, tmp_path):
    """Through the files beside the records, within 1 %, as it is asked for; it holds to seven digits."""
    first, second, reference = three_sets()
    direct = Replicates.of(statistic(first, reference)) - Replicates.of(statistic(second, reference))
    for run, own in (("one", first), ("two", second)):
        score = CaptionScore(KINDS["kad"], np.arange(len(own)), influence_of(statistic(own, reference)))
        write_per_caption(tmp_path / run / PER_CAPTION, content({"kad": score}, captions(len(own))))
    read = [read_per_caption(tmp_path / run, tmp_path / run / PER_CAPTION) for run in ("one", "two")]
    kept = contrast(*(one.influence("kad", read[0].captions) for one in read))
    assert kept.interval() == pytest.approx(direct.interval(), rel=1e-2)
    assert kept.interval() == pytest.approx(direct.interval(), rel=1e-7)


@each_statistic
def test_one_score_has_the_interval_of_its_features(statistic):
    first, _, reference = three_sets()
    direct = Replicates.of(statistic(first, reference))
    own = influence_of(statistic(first, reference))
    assert own.standard_error() == pytest.approx(direct.standard_error(), rel=1e-7)
    assert level(own, KINDS["kad"]).interval() == pytest.approx(direct.interval(), rel=1e-7)


def test_near_zero_a_distance_has_the_interval_of_its_features():
    rng = np.random.default_rng(0)
    direct = Replicates.of(PairedFrechet(*rng.normal(size=(2, 96, 8))))
    own = influence_of(PairedFrechet(*np.random.default_rng(0).normal(size=(2, 96, 8))))
    assert score_interval(own, KINDS["fd"]) == pytest.approx(direct.interval(ratio_scale=True), rel=1e-7)
    without = Influence(own.value, own.first, np.empty(0), np.empty((0, 2), dtype=np.int64))
    whole = replace(own, taken_off=1.0)
    assert 1.1 < without.standard_error() / own.standard_error() < 1.25  # of pairs alone the root of 2 / 1.5 on average
    assert without.standard_error() / whole.standard_error() > 1.2


def test_shared_captions_make_the_difference_short():
    first, second, reference = three_sets()
    cells = [influence_of(PairedFrechet(own, reference)) for own in (first, second)]
    apart = np.hypot(*(cell.standard_error() for cell in cells))
    assert contrast(*cells).standard_error < 0.7 * apart


def test_a_mean_is_the_classical_one():
    numbers = np.random.default_rng(0).normal(size=30)
    own = Influence.of_clips(numbers)
    assert own.value == pytest.approx(numbers.mean())
    assert own.standard_error() == pytest.approx(numbers.std(ddof=1) / np.sqrt(30))
    jackknife = influence_of(Mean(numbers))
    np.testing.assert_allclose(own.first, jackknife.first, atol=1e-12)
    np.testing.assert_allclose(jackknife.second, 0, atol=1e-12)


def test_captions_in_another_order_are_the_same_score():
    first, second, reference = three_sets()
    one, other = (influence_of(PairedFrechet(own, reference)) for own in (first, second))
    order = np.random.default_rng(1).permutation(one.n)
    moved = one.reordered(order)
    np.testing.assert_array_equal(moved.first, one.first[order])
    assert moved.standard_error() == pytest.approx(one.standard_error())
    back = moved.reordered(np.argsort(order)).canonical
    assert contrast(back, other.canonical).interval() == pytest.approx(contrast(one, other).interval())


def test_a_logarithm_carries_the_relative_error():
    own = influence_of(PairedFrechet(*three_sets()[1:]))
    assert own.log().standard_error() == pytest.approx(own.standard_error() / own.value)
    with pytest.raises(ValueError, match="no logarithm"):
        own.scaled(-1.0).log()


def test_calibrated_influences_have_the_corrected_error():
    own = influence_of(PairedFrechet(*np.random.default_rng(0).normal(size=(2, 96, 8))))
    influence = own.calibrated()
    assert influence.mean() == pytest.approx(0, abs=1e-12)
    assert influence.std(ddof=1) / np.sqrt(own.n) == pytest.approx(own.standard_error())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"first": np.zeros(3)}, "at least 4 captions"),
        ({"first": np.array([0, 1, np.nan, 2.0])}, "finite"),
        ({"value": float("inf")}, "finite"),
        ({"second": np.zeros(2)}, "second-order part"),
        ({"pairs": np.array([[0, 4]])}, "beyond"),
        ({"pairs": np.array([[-1, 1]])}, "beyond"),
    ],
)
def test_what_does_not_belong_together_is_refused(changes, message):
    right = {"value": 1.0, "first": np.arange(4.0), "second": np.zeros(1), "pairs": np.array([[0, 1]])}
    with pytest.raises(ValueError, match=message):
        Influence(**(right | changes))


def test_scores_over_other_captions_or_pairs_are_not_subtracted():
    one = Influence(0.0, np.arange(5.0), np.zeros(1), np.array([[0, 1]]))
    with pytest.raises(ValueError, match="of 5 and of 6 captions"):
        one - Influence.of_clips(np.arange(6.0))
    with pytest.raises(ValueError, match="other pairs"):
        one - Influence(0.0, np.arange(5.0), np.zeros(1), np.array([[0, 2]]))
