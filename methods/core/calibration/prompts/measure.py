"""How much of what audio can be a list of captions covers: values of aspects, pairs of them, and texts near to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from admbench.methods.core.calibration.prompts.space import pairs_of
from admbench.methods.core.calibration.prompts.tagger import Tagger
from admbench.methods.core.calibration.submodular import Coverage, FacilityLocation

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class PromptCoverage:
    """What n captions cover. All shares are between 0 and 1, and more is better."""

    n: int
    """Captions."""
    values: float
    """Share of the space's values that at least one caption states."""
    pairs: float
    """Share of the pairs of values of different aspects that some caption states together; not all can occur."""
    text: float
    """Facility location: mean, over the texts that are to be covered, of the similarity to the nearest caption."""
    aspects: dict[str, float]
    """Share of the values of each aspect."""
    known_words: float
    """Share of the captions' words that the lexicon knows: what the others state is not seen here."""

    def summary(self) -> dict[str, Any]:
        """Return what a record says, as JSON values."""
        return asdict(self)


def measure(captions: Sequence[str], similarity: Matrix, tagger: Tagger) -> PromptCoverage:
    """Return what captions cover.

    Args:
        captions: at least one.
        similarity: (texts that are to be covered, captions); see `text_similarity`.
        tagger: knows the space.
    """
    space = tagger.space
    tags = [tagger.tag(caption) for caption in captions]
    stated = frozenset().union(*(tag.values for tag in tags))
    aspects = {aspect: [value in stated for value in space.values if value[0] == aspect] for aspect, _ in space.values}
    texts = FacilityLocation(similarity)
    for column in range(len(captions)):
        texts.add(column)
    words = sum(tag.words for tag in tags)
    return PromptCoverage(
        n=len(captions),
        values=len(stated) / len(space.values),
        pairs=len({pair for row in tags for pair in pairs_of(sorted(row.values))}) / len(space.pairs),
        text=texts.value,
        aspects={aspect: sum(states) / len(states) for aspect, states in aspects.items()},
        known_words=1 - sum(len(tag.unknown) for tag in tags) / max(words, 1),
    )


def text_similarity(texts: Tensor, captions: Tensor) -> Matrix:
    """Return the cosine of every text and caption, after the mean of the texts is taken off both; 0 where negative.

    Without that, the vectors of one encoder all point the same way and every caption is near every text.

    Args:
        texts: (n, width), what is to be covered.
        captions: (m, width), of the same encoder.

    Shape: (n, m), between 0 and 1. A vector that is the mean itself is near to none.
    """
    ground, others = texts.double().numpy(), captions.double().numpy()
    center = ground.mean(axis=0)
    similarity: Matrix = _unit(ground - center) @ _unit(others - center).T
    return similarity.clip(0, 1)


def _unit(vectors: Matrix) -> Matrix:
    scaled: Matrix = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return scaled


def value_coverage(captions: Sequence[str], tagger: Tagger) -> tuple[Coverage, Coverage]:
    """Return the set functions, over the captions, of the share of values and of pairs that are stated."""
    space = tagger.space
    rows = [tagger.tag(caption).values for caption in captions]
    values = np.array([[value in row for value in space.values] for row in rows])
    place = {value: column for column, value in enumerate(space.values)}
    first, second = np.array([[place[one], place[other]] for one, other in space.pairs]).T
    return Coverage(values), Coverage(values[:, first] & values[:, second])
