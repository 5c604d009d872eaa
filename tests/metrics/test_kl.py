"""KL divergence: known posteriors, its direction, malformed input."""

import numpy as np
import pytest

from admbench.metrics.kl import kl_divergence


def logits(*posteriors):
    """Return logits whose softmax is the given posteriors, with an arbitrary offset per row."""
    return np.log(posteriors) + np.arange(len(posteriors))[:, None]


def test_known_posteriors_match_the_formula():
    reference = logits([0.5, 0.25, 0.25], [0.9, 0.05, 0.05])
    generated = logits([0.25, 0.5, 0.25], [0.05, 0.9, 0.05])
    expected = [0.5 * np.log(2) - 0.25 * np.log(2), 0.85 * np.log(18)]
    assert kl_divergence(reference, generated) == pytest.approx(expected, abs=1e-12)


def test_the_direction_is_reference_to_generated():
    sure, unsure = logits([0.98, 0.01, 0.01]), logits([1 / 3, 1 / 3, 1 / 3])
    assert kl_divergence(sure, unsure)[0] == pytest.approx(np.log(3) + 0.98 * np.log(0.98) + 0.02 * np.log(0.01))
    assert kl_divergence(unsure, sure)[0] == pytest.approx(-np.log(3) - np.log(0.98 * 0.01 * 0.01) / 3)


def test_equal_posteriors_have_no_divergence():
    values = np.random.default_rng(0).normal(size=(10, 5)) * 20
    assert kl_divergence(values, values + 3) == pytest.approx(np.zeros(10), abs=1e-12)


def test_extreme_logits_stay_finite_and_need_no_epsilon():
    assert kl_divergence([[1000.0, 0.0]], [[0.0, 1000.0]]) == pytest.approx([1000.0])


@pytest.mark.parametrize(
    ("reference", "generated", "message"),
    [
        (np.zeros((0, 3)), np.zeros((0, 3)), "reference logits: needs at least 1 clip, got 0"),
        (np.zeros((2, 3)), np.zeros((3, 3)), "differ in shape"),
        (np.zeros((2, 3)), np.zeros((2, 4)), "differ in shape"),
        (np.zeros((2, 3)), np.full((2, 3), np.inf), "generated logits: 2 rows are not finite"),
        (np.zeros(3), np.zeros(3), "expected a matrix"),
    ],
)
def test_malformed_input_is_refused(reference, generated, message):
    with pytest.raises(ValueError, match=message):
        kl_divergence(reference, generated)
