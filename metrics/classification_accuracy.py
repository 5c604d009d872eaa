"""Classification accuracy score: does generated audio still teach a classifier what real audio sounds like?

Task: a classifier is trained on the generated clips and tested on the real ones. A model that loses a class, or makes
all clips of it alike, teaches that class badly, though each of its clips may sound right.

Conventions: the share of real clips that are classified rightly, between 0 and 1; higher is better. The class of a
caption is the tagger's top class of its real clip, for the training clip and the test clip both, so that no suite needs
labels. The classifier is ridge regression on the tagger's embeddings (one-hot targets, the class of the largest
output): it has one solution, which depends on no seed and no stopping.

    W = (Z^T Z + lambda I)^-1 Z^T Y,    lambda = REGULARIZATION x mean squared singular value of Z,    Z: generated

Ravuri and Vinyals 2019, "Classification Accuracy Score for Conditional Generative Models" (there a ResNet-50 is trained
from scratch, and classes are those of the data set).

The interval is that of a mean over the real clips, with the classifier as it was trained: it does not say what other
training clips would have taught. A jackknife over both is of no use here, because single clips tip single answers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from admbench.metrics.arrays import as_pair
from admbench.metrics.base import Metric, given
from admbench.metrics.features import Features
from admbench.metrics.intervals import Mean, Statistic

REGULARIZATION = 0.01
"""Of the ridge regression, in units of the mean squared singular value of its inputs."""


def classified_rightly(generated: ArrayLike, reference: ArrayLike, classes: ArrayLike) -> NDArray[np.bool_]:
    """Return which reference clips a classifier of the generated clips classifies rightly, (n,).

    Args:
        generated: (n, d) embeddings, to train on.
        reference: (n, d) embeddings, to test on.
        classes: (n,) the class of each pair, as any integers.

    Raises:
        ValueError: different shapes, a value that is not finite, or fewer than two classes.
    """
    train, test = as_pair(generated, "generated", reference, "reference")
    values, known = np.unique(np.asarray(classes), return_inverse=True)
    if len(known) != len(train):
        raise ValueError(f"{len(train)} clips and {len(known)} classes")
    if len(values) < 2:
        raise ValueError("all real clips have the same top class, so that there is nothing to tell apart")
    # A constant of the size of an embedding, so that the offset is hardly regularized.
    constant = np.full((len(train), 1), np.sqrt(np.square(train).sum(axis=1).mean()) or 1.0)
    train, test = np.hstack([train, constant]), np.hstack([test, constant])
    left, singular, right = np.linalg.svd(train, full_matrices=False)
    squares = np.square(singular)
    shrunk = squares + REGULARIZATION * squares.sum() / train.shape[1]
    weights = right.T * (singular / shrunk) @ (left.T @ np.eye(len(values))[known])
    rightly: NDArray[np.bool_] = (test @ weights).argmax(axis=1) == known
    return rightly


class ClassificationAccuracy(Metric):
    """Classification accuracy score of the tagger's embeddings and top classes."""

    name = "cas"
    summary = "Accuracy, on real clips, of a classifier trained on the generated ones; higher is better"
    version = "2"
    higher_is_better = True
    share = True
    range = (0.0, 1.0)
    needs = frozenset({"embedding", "logits"})
    against = ("reference",)

    def compute(self, generated: Features, against: Features | None) -> float:
        """Return the accuracy."""
        return self.statistic(generated, against).value

    def statistic(self, generated: Features, against: Features | None) -> Statistic:
        """Return the accuracy as a mean over real clips."""
        real = given(against)
        return Mean(
            classified_rightly(generated["embedding"], real["embedding"], _top_classes(real)).astype(np.float64)
        )

    def details(self, generated: Features, against: Features | None) -> dict[str, Any]:
        """Return the number of classes, and what classifies."""
        classes = len(np.unique(_top_classes(given(against))))
        return {"classes": classes, "classifier": "ridge regression", "regularization": REGULARIZATION}


def _top_classes(features: Features) -> NDArray[np.int64]:
    classes: NDArray[np.int64] = features["logits"].argmax(axis=1)
    return classes
