"""Tiny deterministic embedders in place of trained networks."""

import numpy as np
import pytest

from admbench.metrics.embedders.base import AudioFeatures


class DummyTagger:
    """Embeds a clip as its mean, its root mean square and its number of samples; the logits are the embedding."""

    name, sample_rate, embedding_dim, sha256 = "dummy-tagger", 8000, 3, "a" * 64

    def embed_audio(self, waveforms):
        assert waveforms.dtype == np.float32
        assert np.isfinite(waveforms).all()
        n, samples = waveforms.shape
        level = np.sqrt(np.square(waveforms).mean(axis=1))
        embedding = np.stack([waveforms.mean(axis=1), level, np.full(n, samples)], axis=1).astype(np.float32)
        return AudioFeatures(embedding, embedding)


class DummyClap(DummyTagger):
    """Embeds every clip as (1, 0) and a caption as (1, 0) or (0, 1), by the parity of its length."""

    name, sample_rate, embedding_dim, sha256 = "dummy-clap", 4000, 2, "b" * 64

    def embed_audio(self, waveforms):
        return AudioFeatures(np.tile(np.float32([1, 0]), (len(waveforms), 1)), None)

    def embed_text(self, captions):
        return np.float32([[1, 0] if len(caption) % 2 else [0, 1] for caption in captions])


@pytest.fixture
def judges():
    """A network of each role."""
    return {"tagger": DummyTagger(), "clap": DummyClap()}
