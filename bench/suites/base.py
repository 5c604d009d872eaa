"""What every suite is: items in a fixed order, a hash of all of it, and subsets that keep its proportions."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from admbench.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


LISTED = 5
"""How many of the captions are named whose real audio is missing, or that a model cuts; all of them are counted."""


@dataclass(frozen=True)
class SuiteItem:
    """One caption to generate."""

    id: str
    """Unique in the suite, and safe as a file name: letters, digits, `.`, `_` and `-`."""
    caption: str
    seed: int
    """Seed of the noise that this caption's audio is generated from; 0 <= seed < 2**63."""
    strata: dict[str, str] = field(default_factory=dict)
    """Kinds that a subset keeps in proportion, the most important first; the same keys in every item of a suite."""
    reference: str | None = None
    """The real audio of the caption, if there is any: a path or the id of a clip, as the suite understands it."""
    clip_names: tuple[str, ...] = ()
    """Names, without suffix, that its clip may have beside the id; see `admbench.bench.suites.matching`."""


class Suite:
    """A list of captions with seeds; the base class of all suites (the plug-in contract of `admbench.bench.suites`).

    A subclass sets the class attributes, and gives `items`, `sha256` and - if it has real audio - `reference_audio`.
    It is made without arguments, cheaply; what costs time belongs into cached properties.
    """

    name: str
    summary: str
    requires: tuple[str, ...] = ()
    split: str
    """Which part of its source the suite is, such as `test`."""
    sample_rate: int = 16_000
    """Sampling rate of `reference_audio` in Hz."""
    captions: Literal["first", "all"] | None = None
    """Which captions of a clip with several are items; None if no clip has several."""
    missing: frozenset[str] = frozenset()
    """Ids of items whose real audio should be there and is not."""

    @property
    def items(self) -> tuple[SuiteItem, ...]:
        """All items, in the suite's own order."""
        raise NotImplementedError

    @property
    def sha256(self) -> str:
        """Hash of everything in the suite: captions, seeds and reference audio. Two suites that differ, differ here."""
        raise NotImplementedError

    def reference_audio(self, item: SuiteItem) -> NDArray[np.float32] | None:
        """Return the real audio of an item at `sample_rate`, float32 (samples,) in [-1, 1]; None if there is none.

        Raises:
            DataError: the audio is there but cannot be read.
        """
        return None

    def describe(self, items: Sequence[SuiteItem]) -> dict[str, Any]:
        """Return the record's `suite` section for a run on some of the items."""
        missing = [item.id for item in items if item.id in self.missing]
        return {
            "name": self.name,
            "sha256": self.sha256,
            "n": len(items),
            "split": self.split,
            "captions": self.captions,
            "references": {
                "found": sum(item.reference is not None for item in items),
                "missing": len(missing),
                "first_missing": missing[:LISTED],
            },
        }

    def take(self, limit: int | None = None) -> tuple[SuiteItem, ...]:
        """Return a subset of `limit` items that keeps the suite's strata in proportion; all items if None.

        Subsets are nested: those of a smaller limit begin those of a larger one. A limit beyond the suite's size is the
        whole suite (its n is in every record). A suite without strata is taken from the top.

        Raises:
            UsageError: the limit is less than 1.
        """
        if limit is not None and limit < 1:
            raise UsageError(f"--limit must be at least 1, got {limit}")
        return self._stratified[:limit]

    @cached_property
    def _stratified(self) -> tuple[SuiteItem, ...]:
        return tuple(stratified(self.items))


def stratified(items: Sequence[SuiteItem]) -> list[SuiteItem]:
    """Order items so that every prefix has, as nearly as can be, the proportions of the whole.

    Greedy: next comes the item whose first stratum is furthest behind its share, of those the one whose second stratum
    is, and so on; of equals the one that is earlier in `items`. Shares are compared in integers, so ties are exact.
    """
    cells: dict[tuple[tuple[str, str], ...], deque[int]] = {}
    for position, item in enumerate(items):
        cells.setdefault(tuple(item.strata.items()), deque()).append(position)
    total = Counter(value for cell, positions in cells.items() for value in cell for _ in positions)
    taken: Counter[tuple[str, str]] = Counter()
    order: list[SuiteItem] = []

    def urgency(cell: tuple[tuple[str, str], ...]) -> tuple[int, ...]:
        behind = ((len(order) + 1) * total[value] - len(items) * taken[value] for value in cell)
        return (*behind, -cells[cell][0])

    while cells:
        cell = max(cells, key=urgency)
        order.append(items[cells[cell].popleft()])
        taken.update(cell)
        if not cells[cell]:
            del cells[cell]
    return order
