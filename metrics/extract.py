"""From waveforms and captions to features: one pass over the audio for all extractors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from admbench.judged import by_judge
from admbench.metrics.audio import Sound, is_finite, levels
from admbench.metrics.extractors.base import AudioExtractor, Batch, CaptionExtractor, Extractor, Judges, judges_for
from admbench.metrics.features import Features


def extract_features(
    ids: Sequence[str],
    sounds: Iterable[Sound],
    captions: Sequence[str | None] | None,
    extractors: Sequence[Extractor],
    judges: Judges,
    batch_size: int = 16,
) -> Features:
    """Compute the arrays of clips, a batch at a time: no more than a batch of them is in memory.

    Clips of one length are embedded together, never padded to another's; only those shorter than 1 s, which networks
    have no window for, are followed by silence up to 1 s. A clip whose audio is not finite is not embedded: its rows
    are NaN, which no metric accepts.

    Args:
        ids: n unique names.
        sounds: n clips of any lengths and sample rates; each network gets them at its own rate.
        captions: n captions; without them, or where one is None, there are no arrays of captions.
        extractors: what is computed besides `levels`; those that only a provider has are left to it.
        judges: a network for the role of each, or several.
        batch_size: clips at a time.

    Returns:
        Features with `levels`, and the array of each extractor that its judge gives; those of further judges of a role
        by their names, such as `embedding[laion-clap]`.

    Raises:
        ValueError: no clips, ids that are not unique, or different numbers of ids, clips and captions.
    """
    if captions is not None and len(captions) != len(ids):
        raise ValueError("expected as many captions as ids")
    of_audio = [
        (by_judge(one.name, name), one, judge)
        for one in extractors
        if isinstance(one, AudioExtractor)
        for name, judge in judges_for(one.role, judges)
    ]
    rows = {name: _Rows(len(ids)) for name, _, _ in of_audio}
    level = _Rows(len(ids))
    source = iter(sounds)
    for start in range(0, len(ids), batch_size):
        numbered = dict(enumerate(islice(source, batch_size), start))
        if len(numbered) != min(batch_size, len(ids) - start):
            raise ValueError("expected as many clips as ids")
        level.put(list(numbered), np.array([levels(one.waveform, one.sample_rate) for one in numbered.values()]))
        for alike in _of_one_length(numbered):
            batch = Batch([numbered[row] for row in alike])
            for name, one, judge in of_audio:
                array = one.extract(batch, judge)
                if array is not None:
                    rows[name].put(alike, array)
    if next(source, None) is not None:
        raise ValueError("expected as many clips as ids")
    arrays = {"levels": level.array, **{name: filled.array for name, filled in rows.items()}}
    for of_captions in extractors:
        if isinstance(of_captions, CaptionExtractor):
            for further, judge in judges_for(of_captions.role, judges):
                arrays[by_judge(of_captions.name, further)] = _of_captions(of_captions, captions, judge, batch_size)
    return Features(tuple(ids), {name: array for name, array in arrays.items() if array is not None})


class _Rows:
    """An array (n, dim) that is filled batch by batch; rows that are never put are NaN."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.array: NDArray[np.float32] | None = None

    def put(self, rows: Sequence[int], values: NDArray[Any]) -> None:
        if self.array is None:
            self.array = np.full((self.n, values.shape[1]), np.nan, dtype=np.float32)
        self.array[rows] = values


def _of_one_length(batch: dict[int, Sound]) -> list[list[int]]:
    """Return the rows of finite clips, those of one length and rate together."""
    alike: dict[tuple[int, int], list[int]] = defaultdict(list)
    for row, sound in batch.items():
        if is_finite(sound.waveform):
            alike[len(sound.samples), sound.sample_rate].append(row)
    return list(alike.values())


def _of_captions(
    extractor: CaptionExtractor, captions: Sequence[str | None] | None, judge: Any, batch_size: int
) -> NDArray[Any] | None:
    known = [caption for caption in captions or () if caption is not None]
    if captions is None or len(known) != len(captions):
        return None
    parts = [extractor.extract(known[start : start + batch_size], judge) for start in range(0, len(known), batch_size)]
    given = [part for part in parts if part is not None]
    return np.concatenate(given) if len(given) == len(parts) else None
