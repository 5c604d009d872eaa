"""From what scores depend on, as metrics say it, to the per-caption results that a cell leaves beside its record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from admbench.bench.scoring.influences import influence_of
from admbench.hashing import sha256_file
from admbench.leaderboard.inference.scores import ScoreKind
from admbench.leaderboard.per_caption import CaptionScore, PerCaption
from admbench.metrics.base import Metric
from admbench.metrics.scoring import Captions


def kind_of(metric: Metric | type[Metric]) -> ScoreKind:
    """Return what the engine of inference has to know of a metric's scores."""
    return ScoreKind(metric.higher_is_better, metric.ratio_scale, *metric.range, share=metric.share)


def caption_results(
    ids: Sequence[str], files: Sequence[Path], faults: Mapping[str, Sequence[bool]], scores: Mapping[str, Captions]
) -> PerCaption:
    """Return the per-caption results of a cell.

    Args:
        ids: of the n captions, in the suite's order.
        files: the clip of each, as it was scored.
        faults: fault -> whether each clip has it, as `admbench.metrics.audio.faults_of` says.
        scores: what each score with an interval depends on, by key.

    Raises:
        ValueError: a score is over captions that are not there, or in another order.
    """
    row_of = {name: row for row, name in enumerate(ids)}
    return PerCaption(
        captions=tuple(ids),
        clip_sha256=tuple(sha256_file(file) for file in files),
        health={fault: np.array(flags, dtype=np.bool_) for fault, flags in faults.items()},
        scores={key: _score(own, row_of) for key, own in scores.items()},
    )


def _score(own: Captions, row_of: Mapping[str, int]) -> CaptionScore:
    kind, rows = kind_of(own.metric), np.array([row_of[name] for name in own.ids], dtype=np.int64)
    if own.per_clip is not None:
        return CaptionScore.of_clips(kind, rows, own.per_clip)
    return CaptionScore(kind, rows, influence_of(own.replicates))
