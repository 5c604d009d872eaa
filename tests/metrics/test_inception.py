"""Inception score: known posteriors, the cap by split size, removal of clips."""

import numpy as np
import pytest

from admbench.metrics.inception import SplitInception, default_splits, inception_score

SURE = 50.0  # a logit that makes a posterior one to double precision, almost


def test_clips_of_k_sure_classes_score_k():
    assert inception_score(np.tile(np.eye(6) * SURE, (8, 1)), splits=1) == pytest.approx(6, abs=1e-6)


def test_clips_that_are_all_alike_score_one():
    assert inception_score(np.tile([3.0, 1.0, 0.0], (40, 1))) == pytest.approx(1, abs=1e-9)
    assert inception_score(np.zeros((40, 3))) == pytest.approx(1, abs=1e-9)


def test_two_posteriors_match_the_formula():
    posteriors = np.array([[0.8, 0.2], [0.4, 0.6]])
    mean = [0.6, 0.4]
    expected = np.exp((posteriors * np.log(posteriors / mean)).sum(axis=1).mean())
    assert inception_score(np.log(posteriors) + 5, splits=1) == pytest.approx(expected, abs=1e-12)


def test_a_split_caps_the_score_at_its_number_of_clips():
    sure = np.eye(100) * SURE
    assert inception_score(sure, splits=1) == pytest.approx(100, rel=1e-6)
    assert inception_score(sure, splits=10) == pytest.approx(10, rel=1e-6)


def test_the_default_has_at_least_24_clips_per_split():
    for n in range(1, 600):
        splits = default_splits(n)
        assert 1 <= splits <= 10
        assert splits == 1 or n // splits >= 24


def test_the_order_of_clips_does_not_matter_nor_does_their_last_bit():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(72, 6)) * 2
    score = inception_score(logits)
    assert default_splits(72) == 3
    assert inception_score(logits[rng.permutation(72)]) == pytest.approx(score, rel=1e-12)
    assert inception_score(logits + 1e-9 * rng.normal(size=(72, 6))) == pytest.approx(score, rel=1e-6)
    assert inception_score(logits[::-1], splits=2) == pytest.approx(inception_score(logits, splits=2), rel=1e-12)


def test_clips_are_dealt_to_splits_of_one_size_and_not_by_likeness():
    """Sorted clips and shuffled ones have one score: neighbours are in different splits."""
    sure = np.repeat(np.eye(4) * SURE, 24, axis=0)
    assert inception_score(sure, splits=4) > 3
    sizes = np.bincount(SplitInception(sure, 5)._split)
    assert sizes.max() - sizes.min() <= 1


@pytest.mark.parametrize("splits", [1, 3])
def test_removing_clips_equals_computing_without_them(splits):
    logits = np.random.default_rng(0).normal(size=(30, 5)) * 3
    whole = SplitInception(logits, splits)
    posteriors = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)

    def score_of(kept):
        values = []
        for split in range(splits):
            members = posteriors[[row for row in kept if whole._split[row] == split]]
            values.append(np.exp((members * np.log(members / members.mean(axis=0))).sum(axis=1).mean()))
        return np.mean(values)

    assert whole.value == pytest.approx(score_of(range(30)), rel=1e-12)
    subsets = np.array([[0, 1], [7, 29]])
    expected = [score_of(set(range(30)) - set(subset)) for subset in subsets]
    assert whole.without(subsets) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("logits", "splits", "message"),
    [
        (np.zeros((0, 3)), None, "needs at least 1 clip, got 0"),
        (np.zeros((3, 3)), 4, "4 splits of 3 clips"),
        (np.zeros((3, 3)), 0, "0 splits"),
        (np.full((3, 3), np.nan), 1, "not finite"),
    ],
)
def test_malformed_input_is_refused(logits, splits, message):
    with pytest.raises(ValueError, match=message):
        inception_score(logits, splits)
