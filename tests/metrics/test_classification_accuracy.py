"""The classification accuracy score: what generated clips teach, where that is known."""

import numpy as np
import pytest

from admbench.metrics.classification_accuracy import REGULARIZATION, classified_rightly

RNG = np.random.default_rng(0)
CENTRES = RNG.normal(size=(5, 16)) * 4


def clips(n, spread=1.0):
    classes = np.arange(n) % len(CENTRES)
    return CENTRES[classes] + spread * RNG.normal(size=(n, 16)), classes


def test_clips_of_the_right_classes_teach_them():
    generated, classes = clips(60)
    reference, _ = clips(60)
    assert classified_rightly(generated, reference, classes).all()


def test_clips_that_ignore_their_caption_teach_nothing():
    generated, classes = clips(300)
    reference, _ = clips(300)
    accuracies = [classified_rightly(RNG.permutation(generated), reference, classes).mean() for _ in range(20)]
    assert np.mean(accuracies) == pytest.approx(1 / 5, abs=0.05)


def test_a_class_that_was_lost_is_not_taught():
    generated, classes = clips(100)
    reference, _ = clips(100)
    generated[classes == 2] = generated[classes == 1] + 0.1 * RNG.normal(size=(20, 16))  # all dogs have become cats
    rightly = classified_rightly(generated, reference, classes)
    lost = np.isin(classes, [1, 2])  # the second class is now taught as being either
    assert rightly[~lost].all()
    assert rightly[lost].mean() < 0.75


def test_the_numbers_of_the_classes_do_not_matter():
    generated, classes = clips(40, spread=4)
    reference, _ = clips(40, spread=4)
    rightly = classified_rightly(generated, reference, classes)
    assert classified_rightly(generated, reference, 900 - 7 * classes).tolist() == rightly.tolist()
    assert not rightly.all()


def test_ridge_regression_of_the_normal_equations_gives_the_same_answers():
    generated, classes = clips(40, spread=4)
    reference, _ = clips(40, spread=4)
    constant = np.full((40, 1), np.sqrt(np.square(generated).sum(axis=1).mean()))
    train, test = np.hstack([generated, constant]), np.hstack([reference, constant])
    ridge = REGULARIZATION * np.square(train).sum() / train.shape[1] * np.eye(train.shape[1])
    weights = np.linalg.solve(train.T @ train + ridge, train.T @ np.eye(5)[classes])
    expected = (test @ weights).argmax(axis=1) == classes
    assert classified_rightly(generated, reference, classes).tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("generated", "reference", "classes", "message"),
    [
        (np.zeros((3, 2)), np.zeros((3, 2)), [1, 1, 1], "same top class"),
        (np.zeros((3, 2)), np.zeros((4, 2)), [1, 2, 3], "differ in shape"),
        (np.zeros((3, 2)), np.zeros((3, 2)), [1, 2], "3 clips and 2 classes"),
        (np.full((3, 2), np.nan), np.zeros((3, 2)), [1, 2, 3], "not finite"),
    ],
)
def test_malformed_input_is_refused(generated, reference, classes, message):
    with pytest.raises(ValueError, match=message):
        classified_rightly(generated, reference, classes)
