"""Whether records bear out what an abstract claims: met, not met, or these captions cannot tell.

A claim is that a number lies on one side of a threshold. It is met if the number's 95 % interval lies wholly on that
side, not met if it lies wholly on the other, and cannot be told if it holds the threshold. A number without error, such
as bytes on disk, is met or not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from admbench.leaderboard.reading import LoadedRecord
from admbench.leaderboard.record import Record

Verdict = Literal["met", "not met", "cannot be told"]


@dataclass(frozen=True)
class Finding:
    """What one record says of one claim."""

    model: str
    method: str
    claim: str
    """What is claimed, in a few words."""
    verdict: Verdict
    value: float | None
    """The number in question; None if the record does not have it."""
    interval: tuple[float, float] | None
    """Its 95 % interval; None for a number without error."""
    reason: str | None
    """Why there is no value."""


def ptq4adm_claims(
    records: Iterable[Record | LoadedRecord], *, reduction: float = 0.70, fd_increase: float = 0.05
) -> list[Finding]:
    """Hold every quantized record against the abstract of PTQ4ADM (arXiv 2409.13894).

    It claims a reduction of the model's size by up to 70 % with less than 5 % increase of FD. Measured are

    - `size`: 1 - bytes / bytes in fp32 of the quantized components, packed on disk; to be at least `reduction`;
    - `fd`: the increase of FD against the reference over that of full precision, as a share of the latter; to be below
      `fd_increase`. Its interval is that of the paired difference over the same captions, divided by the FD of full
      precision as measured: the error of the divisor, which is common to all methods of a model, is not in it.

    Args:
        records: cells; those of full precision itself, and those that are not done, are passed over.
        reduction: share of the bytes, 0..1.
        fd_increase: share of FD.
    """
    done = [item.record if isinstance(item, LoadedRecord) else item for item in records]
    return [
        finding
        for record in done
        if record.status == "done" and record.method.bits and any(record.method.bits.model_dump().values())
        for finding in (_size(record, reduction), _fd(record, fd_increase))
    ]


def _size(record: Record, least: float) -> Finding:
    value = record.size.reduction if record.size else None
    reason = None if value is not None else (record.size and record.size.reason) or "the record has no size"
    verdict: Verdict = "cannot be told" if value is None else "met" if value >= least else "not met"
    claim = f"size reduced by at least {least:.0%}"
    return Finding(record.model.name, record.method.spec, claim, verdict, value, None, reason)


def _fd(record: Record, most: float) -> Finding:
    value, interval, reason = _increase(record)
    verdict: Verdict = "cannot be told"
    if interval is not None:
        verdict = "met" if interval[1] < most else "not met" if interval[0] >= most else verdict
    claim = f"FD less than {most:.0%} above full precision"
    return Finding(record.model.name, record.method.spec, claim, verdict, value, interval, reason)


def _increase(record: Record) -> tuple[float | None, tuple[float, float] | None, str | None]:
    """Return the relative increase of FD, its interval, and why there is none."""
    score = record.scores.get("fd")
    if score is None or score.value is None:
        return None, None, (score and score.reason) or "the record has no FD"
    difference = score.difference
    if difference is None or difference.value is None or difference.ci95 is None:
        return None, None, (difference and difference.reason) or "no paired difference to full precision"
    full = score.value - difference.value
    if full <= 0:
        return None, None, f"FD of full precision is {full:g}"
    return difference.value / full, (difference.ci95[0] / full, difference.ci95[1] / full), None
