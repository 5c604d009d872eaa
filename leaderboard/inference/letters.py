"""Compact letter display: cells that share a letter are not told apart.

Piepho 2004, "An algorithm for a letter-based representation of all-pairwise comparisons" (insert and absorb; Gramm et
al. 2007 give the same). Start with one letter for all. For each pair that is told apart, every letter that both have is
replaced by two, one without each (insert); a letter whose cells all have another letter in common is dropped (absorb).
What is left are the largest sets without a pair told apart. Piepho's sweep, which thins letters out of sets further, is
left out: without it each letter stays a whole set of cells that nobody tells apart, as readers take it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

MAXIMUM_LETTERS = 200
"""Pairs told apart without any order could ask for more than anybody can read."""


def compact_letters(names: Sequence[str], told_apart: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the letters of each cell, `a` for the set of the first cell.

    Args:
        names: cells, best first.
        told_apart: pairs of them.

    Raises:
        ValueError: a name appears twice, or the pairs ask for more than 200 letters.

    >>> compact_letters(["x", "y", "z"], [("x", "z")])
    {'x': 'a', 'y': 'ab', 'z': 'b'}
    """
    if len(set(names)) != len(names):
        raise ValueError("a name appears twice")
    sets = [frozenset(names)]
    for pair in told_apart:
        both = frozenset(pair)
        kept = [one for one in sets if not both <= one]
        parts = {one - {name} for one in sets if both <= one for name in pair}
        largest = (one for one in parts if not any(one < other for other in parts))
        sets = [*kept, *(one for one in largest if not any(one <= other for other in kept))]  # what was kept is in none
        if len(sets) > MAXIMUM_LETTERS:
            raise ValueError(f"more than {MAXIMUM_LETTERS} letters")
    place = {name: k for k, name in enumerate(names)}
    ordered = sorted(sets, key=lambda one: sorted(place[name] for name in one))
    return {name: "".join(_letter(k) for k, one in enumerate(ordered) if name in one) for name in names}


def _letter(k: int) -> str:
    """Return a, b, ..., z, then a1, b1, ..."""
    return chr(ord("a") + k % 26) + (str(k // 26) if k >= 26 else "")
