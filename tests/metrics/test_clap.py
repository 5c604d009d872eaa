"""CLAP score: a plain cosine."""

import numpy as np
import pytest

from admbench.metrics.clap import cosine_similarity


def test_cosines_of_known_angles_whatever_the_lengths():
    audio = [[1.0, 0.0], [2.0, 2.0], [0.0, 3.0]]
    text = [[5.0, 0.0], [1.0, 0.0], [0.0, -1.0]]
    assert cosine_similarity(audio, text) == pytest.approx([1, np.sqrt(0.5), -1])


@pytest.mark.parametrize(
    ("audio", "text", "message"),
    [
        (np.zeros((0, 2)), np.zeros((0, 2)), "needs at least 1 clip, got 0"),
        (np.ones((2, 2)), np.ones((2, 3)), "differ in shape"),
        (np.ones((2, 2)), np.zeros((2, 2)), "length zero"),
        (np.full((2, 2), np.nan), np.ones((2, 2)), "not finite"),
    ],
)
def test_malformed_input_is_refused(audio, text, message):
    with pytest.raises(ValueError, match=message):
        cosine_similarity(audio, text)
