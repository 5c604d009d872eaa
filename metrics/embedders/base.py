"""What an embedder is: a network that turns audio, and for some text, into vectors that metrics compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Role = Literal["tagger", "clap", "aesthetics"]
"""What a network is used for in a run: `tagger` for distances between sets of clips and for classes, `clap` for the
space that audio and captions share, `aesthetics` for how listeners would rate a clip. Extractors say which one they
read."""


@dataclass(frozen=True)
class AudioFeatures:
    """What an embedder makes of n clips."""

    embedding: NDArray[np.float32]
    """(n, dim)."""
    logits: NDArray[np.float32] | None
    """(n, classes), before softmax; None for an embedder without classes."""
    windows: NDArray[np.float32] | None = None
    """(n, windows, dim), of each window of a clip; None for an embedder that takes a clip as a whole."""


class AudioEmbedder(Protocol):
    """A network from waveforms to embeddings."""

    name: str
    """As scores give it."""
    sample_rate: int
    """Hz, of the waveforms that it takes."""
    embedding_dim: int
    sha256: str
    """Hash of its weights."""

    def embed_audio(self, waveforms: NDArray[np.float32]) -> AudioFeatures:
        """Embed waveforms (n, samples) in [-1, 1]."""
        ...


class JointEmbedder(AudioEmbedder, Protocol):
    """A network that embeds audio and text in one space."""

    def embed_text(self, captions: Sequence[str]) -> NDArray[np.float32]:
        """Return unit vectors (n, dim) of captions."""
        ...
