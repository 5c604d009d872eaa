"""From a caption to the values of the coverage space that it states, by a lexicon, with the words it does not know.

A word counts in all its regular forms. Within an aspect the longest phrase wins ("under its breath" is not a breath),
and a caption may state several values of one aspect: of a dog barking in the rain, two families. A caption of which no
word is known has no family, rather than some default.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from admbench.methods.core.calibration.prompts.parts import Parts, split_caption
from admbench.methods.core.calibration.prompts.space import Space, Value, audio_space


@dataclass(frozen=True)
class Tags:
    """What a caption states."""

    values: frozenset[Value]
    """Values of the coverage space."""
    unknown: tuple[str, ...]
    """Words that neither state a value nor are known to state none."""
    words: int
    """Words of the caption."""


class Tagger:
    """Tags captions with the values of a space.

    >>> tags = Tagger(audio_space()).tag("A dog barks loudly while rain falls on a spinnaker")
    >>> sorted(value for aspect, value in tags.values if aspect in ("family", "loudness", "temporal"))
    ['animal', 'loud', 'natural', 'simultaneous']
    >>> tags.unknown
    ('spinnaker',)
    """

    def __init__(self, space: Space) -> None:
        self.space = space
        self._stated = _index(space.phrases)
        self._otherwise = _index(space.fallback)
        for aspect, phrases in space.ignored.items():
            self._stated[aspect].update({tuple(phrase.split()): set() for phrase in phrases})
        tables = [*self._stated.values(), *self._otherwise.values()]
        self._words = {word for table in tables for phrase in table for word in phrase}
        self._known = self._words | space.neutral | space.verbs

    def tag(self, caption: str) -> Tags:
        """Return the values that a caption states."""
        words = re.findall(r"[a-z][a-z'-]*", caption.lower())
        found, spans = self._found(words)
        parts = self.parts(caption)
        found |= self._structure(parts, found)
        left = [word for place, word in enumerate(words) if place not in spans and not self._is_known(word)]
        return Tags(frozenset(found), tuple(dict.fromkeys(left)), len(words))

    def parts(self, caption: str) -> Parts:
        """Take a caption apart where a source of the space is named on both sides."""
        return split_caption(caption, self._is_sound)

    def families(self, phrase: str) -> frozenset[str]:
        """Return the families of source that a phrase states."""
        found, _ = self._found(re.findall(r"[a-z][a-z'-]*", phrase.lower()))
        return frozenset(value for aspect, value in found if aspect == "family")

    def is_clause(self, phrase: str) -> bool:
        """Whether a phrase has a finite verb: "a dog barks", but not "a dog barking" or "barks of a dog"."""
        words = phrase.lower().split()
        for before, word in pairwise(words):
            if word in ("is", "are"):
                return True
            if before in ("a", "an", "the", "of"):
                continue
            if word.endswith("s") and self._is_verb(word):
                return True
            if word in self.space.verbs and (re.search(r"[^s]s$", before) or before in ("people", "children")):
                return True
        return False

    def _is_sound(self, phrase: str) -> bool:
        """Whether a phrase names a source, and does not begin with a verb, of which the source stands before."""
        first = next(iter(phrase.split()), "")
        return bool(self.families(phrase)) and not (first.endswith("s") and self._is_verb(first))

    def _is_verb(self, word: str) -> bool:
        return any(stem in self.space.verbs for stem in _stems(word)[1:])

    def _found(self, words: list[str]) -> tuple[set[Value], set[int]]:
        canonical = [self._canonical(word) for word in words]
        found: set[Value] = set()
        spans: set[int] = set()
        for aspect, table in self._stated.items():
            matches = list(_matches(canonical, table)) or list(_matches(canonical, self._otherwise.get(aspect, {})))
            for values, start, end in matches:
                found |= values
                spans |= set(range(start, end))
        return found, spans

    def _structure(self, parts: Parts, found: set[Value]) -> set[Value]:
        count = len(parts.phrases)
        structure = {("polyphony", "one" if count == 1 else "two" if count == 2 else "several")}
        if count > 1 or parts.sequential:
            structure.add(("temporal", "sequential" if parts.sequential else "simultaneous"))
        if any(aspect == "family" and value != "music" for aspect, value in found) and not (
            found & {("modality", "speech"), ("modality", "music")} and count == 1
        ):
            structure.add(("modality", "sound"))
        return structure

    def _canonical(self, word: str) -> str:
        return next((stem for stem in _stems(word) if stem in self._words), word)

    def _is_known(self, word: str) -> bool:
        return any(stem in self._known for stem in _stems(word))


@cache
def audio_tagger() -> Tagger:
    """Return the tagger of the built-in space."""
    return Tagger(audio_space())


_Table = dict[tuple[str, ...], set[Value]]


def _index(phrases: dict[Value, tuple[str, ...]]) -> dict[str, _Table]:
    """Aspect -> phrase, as words -> its values."""
    tables: dict[str, _Table] = {}
    for value, listed in phrases.items():
        for phrase in listed:
            tables.setdefault(value[0], {}).setdefault(tuple(phrase.split()), set()).add(value)
    return tables


def _matches(words: list[str], table: _Table) -> Iterator[tuple[set[Value], int, int]]:
    longest = max(map(len, table), default=0)
    place = 0
    while place < len(words):
        for length in range(min(longest, len(words) - place), 0, -1):
            values = table.get(tuple(words[place : place + length]))
            if values is not None:
                yield values, place, place + length
                place += length
                break
        else:
            place += 1


def _stems(word: str) -> list[str]:
    """Return a word and what it may be a regular form of."""
    stems = [word, word.removesuffix("'s")]
    for ending in ("s", "es", "ed", "d", "ing", "er", "ers"):
        if word.endswith(ending) and len(word) - len(ending) >= 2:
            stem = word.removesuffix(ending)
            stems.append(stem)
            if ending in ("ing", "ed", "er", "ers"):
                stems.append(stem + "e")
                if len(stem) > 3 and stem[-1] == stem[-2]:
                    stems.append(stem[:-1])
    if word.endswith("ies") or word.endswith("ied"):
        stems.append(word[:-3] + "y")
    return stems
