"""From waveforms and captions to features: one pass over the audio for all metrics."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from admbench.metrics.audio import SHORT_SECONDS, Sound, is_finite, levels
from admbench.metrics.embedders.base import AudioEmbedder, JointEmbedder
from admbench.metrics.features import Features
from admbench.metrics.window_moments import moments
from admbench.progress import track


def extract_features(
    ids: Sequence[str],
    sounds: Iterable[Sound],
    captions: Sequence[str | None] | None,
    tagger: AudioEmbedder,
    clap: JointEmbedder | None,
    batch_size: int = 16,
) -> Features:
    """Embed clips, a batch at a time: no more than a batch of them is in memory.

    Clips of one length are embedded together, never padded to another's; only those shorter than 1 s, which networks
    have no window for, are followed by silence up to 1 s. A clip whose audio is not finite is not embedded: its rows
    are NaN, which no metric accepts.

    Args:
        ids: n unique names.
        sounds: n clips of any lengths and sample rates; each network gets them at its own rate.
        captions: n captions; without them, or where one is None, there are no text embeddings.
        tagger: for embeddings and logits.
        clap: for embeddings of audio and captions; None for none.
        batch_size: clips at a time.

    Raises:
        ValueError: no clips, ids that are not unique, or different numbers of ids, clips and captions.
    """
    if captions is not None and len(captions) != len(ids):
        raise ValueError("expected as many captions as ids")
    embedding, logits, windows, clap_audio, level = (_Rows(len(ids)) for _ in range(5))
    source = iter(sounds)
    for start in track(range(0, len(ids), batch_size), "Embedding"):
        batch = dict(enumerate(islice(source, batch_size), start))
        if len(batch) != min(batch_size, len(ids) - start):
            raise ValueError("expected as many clips as ids")
        level.put(list(batch), np.array([levels(one.samples, one.sample_rate) for one in batch.values()]))
        for rows in _of_one_length(batch):
            clips = [batch[row] for row in rows]
            heard = tagger.embed_audio(_stack(clips, tagger.sample_rate))
            embedding.put(rows, heard.embedding)
            if heard.logits is not None:
                logits.put(rows, heard.logits)
            if heard.windows is not None:
                windows.put(rows, moments(heard.windows))
            if clap is not None:
                clap_audio.put(rows, clap.embed_audio(_stack(clips, clap.sample_rate)).embedding)
    if next(source, None) is not None:
        raise ValueError("expected as many clips as ids")
    return Features(
        ids=tuple(ids),
        embedding=embedding.filled(tagger.embedding_dim),
        logits=logits.array,
        clap_audio=clap_audio.array,
        clap_text=_embed_text(captions, clap, batch_size),
        levels=level.array,
        window_moments=windows.array,
    )


class _Rows:
    """An array (n, dim) that is filled batch by batch; rows that are never put are NaN."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.array: NDArray[np.float32] | None = None

    def put(self, rows: Sequence[int], values: NDArray[np.float32]) -> None:
        self.array = self.filled(values.shape[1])
        self.array[rows] = values

    def filled(self, dim: int) -> NDArray[np.float32]:
        return self.array if self.array is not None else np.full((self.n, dim), np.nan, dtype=np.float32)


def _of_one_length(batch: dict[int, Sound]) -> list[list[int]]:
    """Return the rows of finite clips, those of one length and rate together."""
    alike: dict[tuple[int, int], list[int]] = defaultdict(list)
    for row, sound in batch.items():
        if is_finite(sound.samples):
            alike[len(sound.samples), sound.sample_rate].append(row)
    return list(alike.values())


def _stack(clips: Sequence[Sound], sample_rate: int) -> NDArray[np.float32]:
    waveforms = np.stack([clip.at(sample_rate) for clip in clips])
    missing = round(SHORT_SECONDS * sample_rate) - waveforms.shape[1]
    return np.pad(waveforms, [(0, 0), (0, max(0, missing))])


def _embed_text(
    captions: Sequence[str | None] | None, clap: JointEmbedder | None, batch_size: int
) -> NDArray[np.float32] | None:
    known = [caption for caption in captions or () if caption is not None]
    if clap is None or captions is None or len(known) != len(captions):
        return None
    return np.concatenate(
        [clap.embed_text(known[start : start + batch_size]) for start in range(0, len(known), batch_size)]
    )
