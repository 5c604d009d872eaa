"""The order of blind trials from a seed, as the listening page draws it (`static/listening-trials.js`).

Votes name their seed, so what every trial was can be drawn again and need not be believed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

_WORD = 2**32 - 1


@dataclass(frozen=True)
class Trial:
    """What one trial plays."""

    caption: str
    """Its id."""
    heads: bool
    """ABX: X is the method's clip. Preference: the method's clip is the first of the two."""


def order(seed: str, captions: Sequence[str], count: int) -> list[Trial]:
    """Return the trials of a session: all captions once, in a new order, before one comes again; a fair coin for each.

    Args:
        seed: 32 hex digits.
        captions: ids to take from, at least one.
        count: trials.
    """
    draw = _generator(seed)
    found: list[Trial] = []
    ahead: list[str] = []
    while len(found) < count:
        if not ahead:
            ahead = _shuffled(captions, draw)
        caption = ahead.pop(0)
        found.append(Trial(caption, bool(draw() >> 31)))
    return found


def _generator(seed: str) -> Callable[[], int]:
    """Return sfc32 (C. Doty-Humphrey, PractRand): 32 bits at each call."""
    a, b, c, counter = (int(seed[at : at + 8], 16) for at in range(0, 32, 8))

    def draw() -> int:
        nonlocal a, b, c, counter
        drawn = (a + b + counter) & _WORD
        counter = (counter + 1) & _WORD
        a = b ^ (b >> 9)
        b = (c + (c << 3)) & _WORD
        c = ((((c << 21) & _WORD) | (c >> 11)) + drawn) & _WORD
        return drawn

    for _ in range(12):
        draw()
    return draw


def _shuffled(names: Sequence[str], draw: Callable[[], int]) -> list[str]:
    """Fisher and Yates, from the end."""
    order = list(names)
    for last in range(len(order) - 1, 0, -1):
        other = (draw() * (last + 1)) >> 32
        order[last], order[other] = order[other], order[last]
    return order
