"""CLAP score: does the audio match its caption?

Conventions: raw cosine similarity (not times 100) between a clip's and its caption's embeddings in the space of one
CLAP network, mean over clips; higher is better; between -1 and 1. Scores of different checkpoints are not comparable:
the network and its hash belong to the score.

Wu et al. 2023 (LAION-CLAP); Elizalde et al. 2023 (CLAP).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from admbench.metrics.arrays import as_pair
from admbench.metrics.base import Metric
from admbench.metrics.features import Features
from admbench.metrics.intervals import Mean, Statistic


def cosine_similarity(audio: ArrayLike, text: ArrayLike) -> NDArray[np.float64]:
    """Return the cosine between each clip's embedding and its caption's.

    Args:
        audio: (n, e), not necessarily of unit length.
        text: (n, e), of the clips' captions.

    Returns:
        (n,) float64 in [-1, 1].

    Raises:
        ValueError: no rows, different shapes, a value that is not finite, or an embedding of length zero.
    """
    first, second = as_pair(audio, "audio embeddings", text, "caption embeddings")
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    if not lengths.all():
        raise ValueError("an embedding of length zero has no direction")
    return np.clip((first * second).sum(axis=1) / lengths, -1.0, 1.0)


class ClapScore(Metric):
    """Mean cosine similarity of audio and caption."""

    name = "clap"
    summary = "Cosine of audio and caption embeddings, mean over captions; higher is better"
    higher_is_better = True
    range = (-1.0, 1.0)
    needs = frozenset({"clap_audio", "clap_text"})

    def compute(self, generated: Features, against: Features | None) -> float:
        """Return the mean over clips."""
        return self.statistic(generated, against).value

    def statistic(self, generated: Features, against: Features | None) -> Statistic:
        """Return the mean over clips."""
        return Mean(cosine_similarity(generated["clap_audio"], generated["clap_text"]))
