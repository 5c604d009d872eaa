"""The best of several clips of a caption by CLAP, as AudioLDM's authors choose among three.

Choosing raises the CLAP score of whatever is chosen from, and most of all that of the network that chose: runs and
records make one clip a caption, and this is for listening.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from admbench.errors import UsageError
from admbench.hashing import sha256_json
from admbench.metrics.audio import Sound
from admbench.metrics.clap import cosine_similarity
from admbench.metrics.extract import extract_features
from admbench.metrics.extractors.builtin import ClapAudio, ClapText


def candidate_seeds(seed: int, count: int) -> list[int]:
    """Return the noise seeds of the candidates of one clip: its own first, the others follow from it."""
    return [seed, *(int(sha256_json(["candidate", seed, number])[:8], 16) >> 1 for number in range(1, count))]


def choose(
    clips: NDArray[np.float32], captions: Sequence[str], sample_rate: int, judge: Any
) -> tuple[list[int], NDArray[np.float64]]:
    """Choose, of each caption's candidates, the one that is nearest to the caption; the first of several that are.

    Args:
        clips: (n, candidates, samples) or, of stereo, (n, candidates, 2, samples).
        captions: n.
        sample_rate: of the clips, Hz.
        judge: a CLAP network, `admbench.metrics.embedders.base.JointEmbedder`.

    Returns:
        n indices of candidates, and the cosine similarity of every candidate, float64 (n, candidates).

    Raises:
        UsageError: a clip or a caption that the network gives no embedding.
    """
    count, candidates = clips.shape[:2]
    sounds = [Sound(clip, sample_rate) for clip in clips.reshape(count * candidates, *clips.shape[2:])]
    repeated = [caption for caption in captions for _ in range(candidates)]
    ids = [f"{caption}-{number}" for caption in range(count) for number in range(candidates)]
    features = extract_features(ids, sounds, repeated, [ClapAudio(), ClapText()], {"clap": judge})
    try:
        similarities = cosine_similarity(features["clap_audio"], features["clap_text"])
    except ValueError as error:
        raise UsageError(f"candidates cannot be compared: {error}") from error
    table = similarities.reshape(count, candidates)
    return [int(row.argmax()) for row in table], table
