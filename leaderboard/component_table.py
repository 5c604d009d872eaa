"""What each component of a pipeline stands: a view of the records of cells that quantize one component alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from admbench.leaderboard.record import Record, Score

SCORES = ("fd_vs_baseline", "kl_vs_baseline", "clap")
"""Columns of the table: how far clips moved from full precision, and what is left of their captions."""


@dataclass(frozen=True)
class ComponentRow:
    """One component of one model under one method."""

    model: str
    component: str
    method: str
    """Spec, as it was typed."""
    n: int | None
    """Captions."""
    bytes: int | None
    """Of the component's packed checkpoint."""
    baseline_bytes: int | None
    """Of the component in fp32."""
    scores: dict[str, Score | None]
    """By the keys that were asked for; None where the record has no such key."""


def component_rows(records: Iterable[Record], keys: Sequence[str] = SCORES) -> list[ComponentRow]:
    """Return a row for each record of one quantized component, in their order; others are passed over.

    A failed cell says nothing of its components and has no row; neither has full precision, which quantizes none.
    """
    return [
        ComponentRow(
            model=record.model.name,
            component=record.method.components[0],
            method=record.method.spec,
            n=record.suite.n,
            bytes=record.size.checkpoint_bytes if record.size else None,
            baseline_bytes=record.size.baseline_bytes if record.size else None,
            scores={key: record.scores.get(key) for key in keys},
        )
        for record in records
        if record.method.components is not None
        and len(record.method.components) == 1
        and record.method.bits is not None
        and record.method.bits.weight is not None
    ]
