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


def compact_letters(names: Sequence[str], told_apart: Iterable[tuple[str, str]]) -> dict[str, str] | None:
    """Return the letters of each cell, `a` for the set of the first cell; None if that took more than 200 letters.

    Args:
        names: cells, best first.
        told_apart: pairs of them.

    Raises:
        ValueError: a name appears twice.

    >>> compact_letters(["x", "y", "z"], [("x", "z")])
    {'x': 'a', 'y': 'ab', 'z': 'b'}
    """
    if len(set(names)) != len(names):
        raise ValueError("a name appears twice")
    place = {name: k for k, name in enumerate(names)}
    sets = [(1 << len(names)) - 1]  # a set of cells is a number whose bit k is cell k
    later = [0] * len(names)  # of each cell those after it that are told apart from it, as a set
    for first, second in told_apart:
        one, other = sorted((place[first], place[second]))
        later[one] |= 1 << other
    for k, others in enumerate(later):
        # all pairs of a cell at once: a letter is replaced by one without the cell and one without all the others
        split = [cells for cells in sets if cells >> k & 1 and cells & others]
        kept = [cells for cells in sets if not (cells >> k & 1 and cells & others)]
        parts = {part for cells in split for part in (cells & ~(1 << k), cells & ~others)}
        largest = (cells for cells in parts if not any(cells & more == cells != more for more in parts))
        # what was kept is in none of the parts
        sets = [*kept, *(cells for cells in largest if not any(cells & more == cells for more in kept))]
        if len(sets) > MAXIMUM_LETTERS:
            return None
    members = sorted([k for k in range(len(names)) if cells >> k & 1] for cells in sets)
    letters: list[list[str]] = [[] for _ in names]
    for letter, cells in enumerate(members):
        for k in cells:
            letters[k].append(_letter(letter))
    return {name: "".join(own) for name, own in zip(names, letters, strict=True)}


def _letter(k: int) -> str:
    """Return a, b, ..., z, then a1, b1, ..."""
    return chr(ord("a") + k % 26) + (str(k // 26) if k >= 26 else "")
