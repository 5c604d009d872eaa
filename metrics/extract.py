"""From waveforms and captions to features: one pass over the audio for all metrics."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from admcore.progress import track
from metrics.audio import is_finite, resample
from metrics.embedders.base import AudioEmbedder, JointEmbedder
from metrics.features import Features


def extract_features(
    ids: Sequence[str],
    waveforms: Sequence[NDArray[np.float32]],
    sample_rate: int | Sequence[int],
    captions: Sequence[str | None] | None,
    tagger: AudioEmbedder,
    clap: JointEmbedder | None,
    batch_size: int = 16,
) -> Features:
    """Embed clips.

    Clips of one length are embedded together, never padded to another's. A clip whose audio is not finite is not
    embedded: its rows are NaN, which no metric accepts.

    Args:
        ids: n unique names.
        waveforms: n clips of (samples,), full scale 1, of any lengths.
        sample_rate: Hz, of all clips or of each; a network gets every clip resampled once, from this rate to its own.
        captions: n captions; without them, or where one is None, there are no text embeddings.
        tagger: for embeddings and logits.
        clap: for embeddings of audio and captions; None for none.
        batch_size: clips at a time.

    Raises:
        ValueError: no clips, ids that are not unique, or different numbers of ids, clips and captions.
    """
    rates = [sample_rate] * len(ids) if isinstance(sample_rate, int) else list(sample_rate)
    if {len(waveforms), len(rates), len(ids if captions is None else captions)} != {len(ids)}:
        raise ValueError("expected as many clips and captions as ids")
    embedding, logits, clap_audio = (_Rows(len(ids)) for _ in range(3))
    for rows in track(_batches(waveforms, rates, batch_size), "Embedding"):
        clips, rate = [waveforms[row] for row in rows], rates[rows[0]]
        heard = tagger.embed_audio(_stack(clips, rate, tagger.sample_rate))
        embedding.put(rows, heard.embedding)
        if heard.logits is not None:
            logits.put(rows, heard.logits)
        if clap is not None:
            clap_audio.put(rows, clap.embed_audio(_stack(clips, rate, clap.sample_rate)).embedding)
    return Features(
        ids=tuple(ids),
        embedding=embedding.filled(tagger.embedding_dim),
        logits=logits.array,
        clap_audio=clap_audio.array,
        clap_text=_embed_text(captions, clap, batch_size),
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


def _batches(waveforms: Sequence[NDArray[np.float32]], rates: Sequence[int], batch_size: int) -> list[list[int]]:
    """Return the rows of finite clips in batches of one length and rate."""
    alike: dict[tuple[int, int], list[int]] = defaultdict(list)
    for row, waveform in enumerate(waveforms):
        if is_finite(waveform):
            alike[len(waveform), rates[row]].append(row)
    return [rows[start : start + batch_size] for rows in alike.values() for start in range(0, len(rows), batch_size)]


def _stack(clips: Sequence[NDArray[np.float32]], from_rate: int, to_rate: int) -> NDArray[np.float32]:
    return np.stack([resample(clip, from_rate, to_rate) for clip in clips])


def _embed_text(
    captions: Sequence[str | None] | None, clap: JointEmbedder | None, batch_size: int
) -> NDArray[np.float32] | None:
    known = [caption for caption in captions or () if caption is not None]
    if clap is None or captions is None or len(known) != len(captions):
        return None
    return np.concatenate(
        [clap.embed_text(known[start : start + batch_size]) for start in range(0, len(known), batch_size)]
    )
