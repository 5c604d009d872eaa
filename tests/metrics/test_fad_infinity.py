"""FAD-infinity: closer to the distance of the distributions than the plain one, and a line that is a line."""

import numpy as np
import pytest

from admbench.metrics.fad_infinity import Extrapolation, PairedExtrapolation, fad_infinity
from admbench.metrics.features import Features
from admbench.metrics.frechet import frechet_distance
from admbench.metrics.keys import requested_scores

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shift", [0.0, 0.5])
@pytest.mark.parametrize(("n", "m"), [(200, 200), (240, 180)])
def test_it_is_closer_to_that_of_the_gaussians_than_the_plain_distance(n, m, shift):
    d, scale = 16, 1.3
    closed_form = d * shift**2 + d * (scale - 1) ** 2
    plain, extrapolated = [], []
    for _ in range(8):
        generated, reference = scale * RNG.normal(size=(n, d)) + shift, RNG.normal(size=(m, d))
        plain.append(frechet_distance(generated, reference))
        extrapolated.append(fad_infinity(generated, reference).value)
    assert np.mean(plain) - closed_form > 0.5  # the bias that there is to be rid of
    assert abs(np.mean(extrapolated) - closed_form) < 0.25 * abs(np.mean(plain) - closed_form)


def test_points_on_a_line_give_that_line():
    sizes = (120.0, 60.0, 40.0, 30.0)
    fit = Extrapolation(sizes, tuple(2.5 + 30 / n for n in sizes))
    assert (fit.value, fit.slope, fit.r2) == pytest.approx((2.5, 30, 1))
    bent = Extrapolation(sizes, tuple(2.5 + (30 / n) ** 3 for n in sizes))
    slope, intercept = np.polyfit(1 / np.array(sizes), bent.distances, 1)
    assert (bent.value, bent.slope) == pytest.approx((intercept, slope))
    assert 0.5 < bent.r2 < 0.99
    assert Extrapolation(sizes, (0.0,) * 4).r2 is None


def test_it_is_the_same_at_every_call_and_zero_for_identical_sets():
    generated, reference = RNG.normal(size=(2, 50, 6))
    assert fad_infinity(generated, reference) == fad_infinity(generated, reference)
    whole = fad_infinity(generated, reference).distances[0]
    assert whole == pytest.approx(frechet_distance(generated, reference), rel=1e-9)
    assert fad_infinity(reference, reference).value == 0


def test_it_does_not_depend_on_the_order_of_clips():
    generated, reference = RNG.normal(size=(2, 40, 5))
    shuffled, other = RNG.permutation(40), RNG.permutation(40)
    paired = fad_infinity(generated, reference, paired=True)
    assert fad_infinity(generated[shuffled], reference[shuffled], paired=True).value == pytest.approx(
        paired.value, rel=1e-9
    )
    apart = fad_infinity(generated, reference)
    assert fad_infinity(generated[shuffled], reference[other]).value == pytest.approx(apart.value, rel=1e-9)
    assert apart.value != pytest.approx(paired.value, rel=1e-3)  # other parts meet


def test_captions_are_removed_from_the_parts_that_they_are_in():
    n = 24
    generated, reference = RNG.normal(size=(n, 3)) + 0.5, RNG.normal(size=(n, 3))
    paired = PairedExtrapolation(generated, reference)
    subsets = np.array([[0, 1], [5, 23], [7, 8]])
    assert paired.value == pytest.approx(fad_infinity(generated, reference, paired=True).value)
    dealt = [[rows for rows, _ in rung] for rung in paired._rungs]
    for subset, value in zip(subsets, paired.without(subsets), strict=True):
        kept = [[np.setdiff1d(rows, subset) for rows in rung] for rung in dealt]
        means = [np.mean([frechet_distance(generated[rows], reference[rows]) for rows in rung]) for rung in kept]
        assert value == pytest.approx(np.polyfit([1, 2, 3, 4], means, 1)[1], rel=1e-6)
    for rung in dealt:
        assert np.bincount(np.concatenate(rung), minlength=n).std() == 0  # every caption counts alike


def test_the_score_carries_its_fit():
    ids = tuple(f"clip-{row}" for row in range(32))
    generated, reference = (Features(ids, {"embedding": RNG.normal(size=(32, 4))}) for _ in range(2))
    (requested,) = requested_scores(["fad_inf"], baseline=False)
    fit = requested.metric.details(generated, reference)["fit"]
    assert [rung["n"] for rung in fit["rungs"]] == pytest.approx([32, 16, 32 / 3, 8])
    assert fit["rungs"][0]["fd"] == pytest.approx(frechet_distance(generated["embedding"], reference["embedding"]))
    assert fit["slope"] > 0
    assert 0 <= fit["r2"] <= 1


def test_too_few_clips_are_refused():
    with pytest.raises(ValueError, match="at least 16 clips, got 15"):
        fad_infinity(np.zeros((20, 2)), np.zeros((15, 2)))
    with pytest.raises(ValueError, match="at least 16 clips, got 15"):
        _ = PairedExtrapolation(np.zeros((15, 2)), np.zeros((15, 2))).value
