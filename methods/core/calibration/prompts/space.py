"""The coverage space: aspects of audio, the values of each, and the words that state them, read from `space.toml`.

An aspect is a question that a caption may answer: which family of source, speech or music or other sound, how loud,
near, high, fast and bright, how it unfolds in time, how many sounds at once, in which place. A caption covers a set of
values, and with each two values of different aspects the pair of them, as in the covering arrays of software testing.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from itertools import combinations
from typing import Any

Value = tuple[str, str]
"""(aspect, value), such as ("pitch", "low")."""

STRUCTURAL: dict[str, tuple[str, ...]] = {
    "modality": ("sound",),
    "temporal": ("simultaneous", "sequential"),
    "polyphony": ("one", "two", "several"),
}
"""Values that no word states: they follow from the sources and from how a caption is joined together."""


@dataclass(frozen=True)
class Space:
    """Aspects, their values, and the phrases that state these."""

    phrases: dict[Value, tuple[str, ...]]
    """What states a value."""
    fallback: dict[Value, tuple[str, ...]]
    """What states a value of an aspect where nothing in `phrases` states any value of it."""
    ignored: dict[str, tuple[str, ...]]
    """Aspect -> phrases that state nothing of it though a word in them would."""
    neutral: frozenset[str]
    """Words that state nothing and are known all the same."""
    verbs: frozenset[str]
    """Verbs of sounds, in the infinitive."""

    @cached_property
    def values(self) -> tuple[Value, ...]:
        """All values, aspect by aspect."""
        aspects: dict[str, dict[str, None]] = {}
        for aspect, value in self.phrases:
            aspects.setdefault(aspect, {})[value] = None
        for aspect, more in STRUCTURAL.items():
            aspects.setdefault(aspect, {}).update(dict.fromkeys(more))
        return tuple((aspect, value) for aspect, values in aspects.items() for value in values)

    @cached_property
    def pairs(self) -> tuple[tuple[Value, Value], ...]:
        """All pairs of values of different aspects, some of which no caption can have."""
        return tuple(pairs_of(self.values))


def pairs_of(values: Iterable[Value]) -> Iterator[tuple[Value, Value]]:
    """Yield the pairs of values of different aspects, in the order of the values."""
    return (pair for pair in combinations(values, 2) if pair[0][0] != pair[1][0])


@cache
def audio_space() -> Space:
    """Return the space of `space.toml`."""
    data = tomllib.loads(
        resources.files("admbench.methods.core.calibration.prompts").joinpath("space.toml").read_text(encoding="utf-8")
    )
    return Space(
        phrases=_phrases(data["aspects"]),
        fallback=_phrases(data["fallback"]),
        ignored={aspect: _listed(text) for aspect, text in data["ignored"].items()},
        neutral=frozenset(_listed(data["words"]["neutral"])),
        verbs=frozenset(_listed(data["words"]["verbs"])),
    )


def _phrases(aspects: dict[str, Any]) -> dict[Value, tuple[str, ...]]:
    return {(aspect, value): _listed(text) for aspect, values in aspects.items() for value, text in values.items()}


def _listed(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(" ".join(item.split()) for item in text.split(",") if item.strip()))
