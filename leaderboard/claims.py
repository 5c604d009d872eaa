"""Whether records bear out what an abstract claims: met, not met, or these captions cannot tell.

A claim is that a number lies on one side of a threshold. It is met if the number's 95 % interval lies wholly on that
side, not met if it lies wholly on the other, and cannot be told if it holds the threshold. A number without error, such
as bytes on disk, is met or not. A method that was run with several calibration draws is one finding, over all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from admbench.leaderboard.boards import make_boards
from admbench.leaderboard.inference.board import verdicts
from admbench.leaderboard.inference.margins import Margin
from admbench.leaderboard.inference.repeats import Draws, read_results
from admbench.leaderboard.inference.scores import caution
from admbench.leaderboard.reading import LoadedRecord
from admbench.leaderboard.record import FULL_PRECISION, Record

Verdict = Literal["met", "not met", "cannot be told"]


@dataclass(frozen=True)
class Finding:
    """What one method on one model says of one claim."""

    model: str
    method: str
    claim: str
    """What is claimed, in a few words."""
    verdict: Verdict
    value: float | None
    """The number in question; None if it is not known."""
    interval: tuple[float, float] | None
    """Its 95 % interval; None for a number without error."""
    reason: str | None
    """Why there is no value."""
    draws: int = 1
    """Calibration draws that it is over."""
    caution: str | None = None
    """Why not to trust it too far: too few captions; None if nothing."""


def ptq4adm_claims(
    records: Iterable[Record | LoadedRecord], *, reduction: float = 0.70, fd_increase: float = 0.05
) -> list[Finding]:
    """Hold every quantized method of some records against the abstract of PTQ4ADM (arXiv 2409.13894).

    It claims a reduction of the model's size by up to 70 % with less than 5 % increase of FD. Measured are

    - `size`: 1 - bytes / bytes in fp32 of the quantized components, packed on disk, of several draws the least; to be
      at least `reduction`;
    - `fd`: the increase of FD against the reference over that of full precision, as a share of the latter; to be below
      `fd_increase`. It is the engine's ratio over the same captions, and over all calibration draws of the method, from
      the per-caption results. Of a record without these it is the paired difference that it states, divided by the FD
      of full precision as measured: the error of the divisor, common to all methods of a model, is not in it.

    Args:
        records: cells; those of full precision itself, and those that are not done, are passed over.
        reduction: share of the bytes, 0..1.
        fd_increase: share of FD.
    """
    items = list(records)
    findings = [
        finding
        for record in (item for item in items if isinstance(item, Record))
        if _quantized(record)
        for finding in (_size([record], reduction), _fd([record], None, None, fd_increase))
    ]
    for board in make_boards(item for item in items if isinstance(item, LoadedRecord)):
        for group in board.groups:
            results = read_results([row.loaded for row in board.rows if row.group == group])
            for spec, cells in results.methods.items():
                own = [cell.record for cell in cells]
                if any(map(_quantized, own)):
                    content = results.content
                    fd = _fd(own, content.get(spec), content.get(FULL_PRECISION), fd_increase)
                    findings += [_size(own, reduction), fd]
    return findings


def _quantized(record: Record) -> bool:
    return record.status == "done" and record.method.bits is not None and any(record.method.bits.model_dump().values())


def _size(draws: Sequence[Record], least: float) -> Finding:
    first = draws[0]
    known = [record.size.reduction for record in draws if record.size and record.size.reduction is not None]
    value = min(known) if len(known) == len(draws) else None
    reasons = (record.size and record.size.reason for record in draws)
    reason = None if value is not None else next((one for one in reasons if one), "the record has no size")
    verdict: Verdict = "cannot be told" if value is None else "met" if value >= least else "not met"
    claim = f"size reduced by at least {least:.0%}"
    return Finding(first.model.name, first.method.spec, claim, verdict, value, None, reason, len(draws))


def _fd(draws: Sequence[Record], own: Draws | None, full: Draws | None, most: float) -> Finding:
    first = draws[0]
    value, interval, reason = _of_captions(own, full, most) if own and full else (None, None, None)
    if value is None and len(draws) == 1:
        value, interval, reason = _increase(first)
    elif value is None:
        reason = reason or f"{len(draws)} calibration draws, and not each has per-caption results of FD"
    verdict: Verdict = "cannot be told"
    if interval is not None:
        verdict = "met" if interval[1] < most else "not met" if interval[0] >= most else verdict
    claim = f"FD less than {most:.0%} above full precision"
    few = caution(first.suite.n) if value is not None and first.suite.n is not None else None
    return Finding(first.model.name, first.method.spec, claim, verdict, value, interval, reason, len(draws), few)


def _of_captions(own: Draws, full: Draws, most: float) -> tuple[float | None, tuple[float, float] | None, str | None]:
    """Return the relative increase of FD over captions and draws, its interval, and why there is none."""
    asked: Mapping[str, Margin] = {"fd": Margin("fd", most, relative=True)}
    found = verdicts(own, full, asked).get("fd")
    if found is None or found.estimate is None or found.low is None or found.high is None:
        return None, None, found.reason if found else None
    return found.estimate - 1, (found.low - 1, found.high - 1), None


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
