"""Whether the judges of some records agree on the cells of a model: every further one is held against the first."""

from __future__ import annotations

from collections.abc import Sequence

from admbench.judged import judge_of, without_judge
from admbench.leaderboard.inference.agreement import Agreement, Opinion, agreement
from admbench.leaderboard.inference.board import ModelConclusion, conclude_model
from admbench.leaderboard.inference.scores import OWN_AUDIO
from admbench.leaderboard.reading import LoadedRecord

HEARING = ("zimtohrli" + OWN_AUDIO,)
"""Measures of what is heard between a clip and full precision's: judges of nearness without a network."""


def agreements(first: ModelConclusion, cells: Sequence[LoadedRecord]) -> tuple[Agreement, ...]:
    """Hold an order of a model's cells against that of the same score by every further judge.

    An order of nearness to full precision is also held against `HEARING`. A judge that has fewer than two of the cells,
    or judges other captions, is left out.

    Args:
        first: what was concluded of the model by the first judge's score.
        cells: the records that it was concluded from.
    """
    if first.kind is None or judge_of(first.score) is not None:
        return ()
    keys = sorted({key for cell in cells for key in cell.record.scores})
    others = [key for key in keys if judge_of(key) and without_judge(key) == first.score]
    if first.score.endswith(OWN_AUDIO):
        others += [key for key in HEARING if key in keys and key != first.score]
    own = Opinion(_judge(first.score, cells), first.cells, first.kind)
    found = []
    for key in others:
        other = conclude_model(first.model, cells, key, margins={})
        shared = first.cells.keys() & other.cells.keys()
        if other.kind is not None and other.captions == first.captions and len(shared) > 1:
            found.append(agreement(own, Opinion(_judge(key, cells), other.cells, other.kind)))
    return tuple(found)


def _judge(key: str, cells: Sequence[LoadedRecord]) -> str:
    """Return the network behind a score, as records name it; of a measure without one its name."""
    known = (cell.record.scores[key].backbone for cell in cells if key in cell.record.scores)
    return next((name for name in known if name), key.removesuffix(OWN_AUDIO))
