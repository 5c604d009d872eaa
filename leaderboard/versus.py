"""One method held against all others of its model, read from the same pairs as letters and ranks are."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from admbench.errors import UsageError, nearest
from admbench.leaderboard.inference.contrasts import Scale
from admbench.leaderboard.inference.pairs import AllPairs
from admbench.leaderboard.record import FULL_PRECISION
from admbench.leaderboard.view import BoardView, ModelView, ViewRow

_INTEGERS = re.compile(r"@w\d+a\d+(\[|$)")
"""In a spec whose two sides are integers, as what number formats of as many bits are held against."""
Word = Literal["better", "worse", "not told apart", "not compared"]


@dataclass(frozen=True)
class Statement:
    """Is one cell better than another of its model?"""

    model: str
    method: str
    """Spec of the cell."""
    versus: str
    """Spec of the cell that it is held against."""
    score: str
    word: Word
    scale: Scale | None
    """What the numbers are: the ratio `method` / `versus`, or the difference of the two; None with a reason."""
    estimate: float | None
    low: float | None
    """Simultaneous 95 % interval: all pairs of the model hold at once."""
    high: float | None
    n: int | None
    """Captions."""
    reason: str | None
    """Why the two are not compared."""


def versus(views: Iterable[BoardView], name: str) -> list[Statement]:
    """Hold every cell against another of its model, by the score of the view's order.

    Args:
        views: of boards.
        name: name of a method, such as `naive`: of its specs the plainest of each number of bits, one of integers
            before one of a number format, is held against the others of these bits; or one spec, such as `naive@w6a8`:
            it is held against all, whatever their bits.

    Raises:
        UsageError: no record is of that method; names the nearest.
    """
    views = list(views)
    one_spec = "@" in name or name == FULL_PRECISION
    names = {_called(own, one_spec=one_spec) for view in views for model in view.models for own in model.rows}
    if name not in names:
        raise UsageError(f'no record is of the method "{name}".{nearest(name, names)}')
    return [one for view in views for model in view.models for one in _of_model(view, model, name, one_spec=one_spec)]


def _of_model(view: BoardView, model: ModelView, name: str, *, one_spec: bool) -> list[Statement]:
    groups: dict[object, list[ViewRow]] = {}
    for own in model.rows:
        bits = own.record.method.bits
        if own.record.status == "done" and own.spec != FULL_PRECISION and bits:
            groups.setdefault(None if one_spec else (bits.weight, bits.activation), []).append(own)
    found = []
    for group in groups.values():
        plain = [own.spec for own in group if _called(own, one_spec=one_spec) == name]
        if plain:
            other = min(plain, key=lambda spec: (not _INTEGERS.search(spec), len(spec), spec))
            found += [_statement(view, model, own, other) for own in group if own.spec != other]
    return found


def _called(own: ViewRow, *, one_spec: bool) -> str:
    return own.spec if one_spec else own.record.method.name


def _statement(view: BoardView, model: ModelView, own: ViewRow, other: str) -> Statement:
    pairs = model.conclusions[view.score].pairs
    lacking = [row for row in model.rows if row.spec in (own.spec, other) and view.score in row.missing]
    if lacking or pairs is None:
        reason = f"{lacking[0].spec}: {lacking[0].missing[view.score]}" if lacking else "nothing is ordered"
        about = (None, None, None, None, None, reason)
        return Statement(model.name, own.spec, other, view.score, "not compared", *about)
    return _compared(model.name, view.score, pairs, own.spec, other)


def _compared(model: str, score: str, pairs: AllPairs, method: str, other: str) -> Statement:
    pair = pairs.pair(method, other)
    scale, estimate, low, high = pair.contrast.scale, pair.contrast.shown, pair.low, pair.high
    if pair.better != method:
        if scale == "ratio":
            estimate, low, high = _inverse(estimate), _inverse(high), _inverse(low)
        else:
            estimate, low, high = -estimate, -high, -low
    better = pairs.better_than(method, other)
    word: Word = "not told apart" if better is None else "better" if better else "worse"
    return Statement(model, method, other, score, word, scale, estimate, low, high, pair.contrast.n, None)


def _inverse(ratio: float) -> float:
    return 1 / max(ratio, 1e-300)  # an end of an interval may be as good as zero
