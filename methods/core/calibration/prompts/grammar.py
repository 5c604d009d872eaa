"""Writes captions: the sounds that a user's prompts name, joined anew, with attributes, places and courses in time.

What it writes with is in `grammar.toml`. Sounds of its own it uses for a share of the phrases only, and nothing that
has a word unknown to the model.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import TypeVar

import numpy as np

from admbench.methods.core.calibration.prompts.space import Value
from admbench.methods.core.calibration.prompts.tagger import Tagger

Item = TypeVar("Item")

MAX_WORDS = 20
"""Longer captions are not kept: text encoders cut them off."""
NO_ADJECTIVE = {"someone", "somebody", "something", "it", "there", "you", "people", "first"}


@dataclass(frozen=True)
class Phrase:
    """One sound, in words."""

    text: str
    clause: bool
    """Whether it has a finite verb."""
    states: frozenset[str]
    """Aspects of which it states a value; nothing is added to those."""


@dataclass(frozen=True)
class State:
    """The words for one value of an aspect."""

    value: Value
    adjectives: tuple[str, ...]
    adverbs: tuple[str, ...]
    """What ends a clause."""
    endings: tuple[str, ...]
    """What ends a clause or a nominal phrase."""


@dataclass(frozen=True)
class Grammar:
    """Sounds, states and frames to write captions with."""

    events: tuple[Phrase, ...]
    states: tuple[State, ...]
    frames: dict[str, tuple[str, ...]]
    """Structure -> its frames, with places `{n}` for nominal phrases, `{c}` for clauses, `{x}` for either."""

    @property
    def words(self) -> frozenset[str]:
        """All words that it may write."""
        texts = [event.text for event in self.events]
        texts += [text for state in self.states for text in (*state.adjectives, *state.adverbs, *state.endings)]
        texts += [re.sub(r"\{.\}", " ", frame) for frames in self.frames.values() for frame in frames]
        return frozenset(word for text in texts for word in words_of(text))

    def of_words(self, known: frozenset[str]) -> Grammar:
        """Return what is left of the grammar in these words."""

        def kept(texts: Iterable[str]) -> tuple[str, ...]:
            return tuple(text for text in texts if known.issuperset(words_of(re.sub(r"\{.\}", " ", text))))

        states = (
            replace(state, adjectives=kept(state.adjectives), adverbs=kept(state.adverbs), endings=kept(state.endings))
            for state in self.states
        )
        return Grammar(
            events=tuple(event for event in self.events if known.issuperset(words_of(event.text))),
            states=tuple(state for state in states if state.adjectives or state.adverbs or state.endings),
            frames={name: left for name, frames in self.frames.items() if (left := kept(frames))},
        )

    def write(self, own: Sequence[Phrase], rng: np.random.Generator, novelty: float) -> str | None:
        """Return a caption; None for one that came out too long, or where no phrase fits the frame.

        Args:
            own: the sounds of the user's prompts.
            rng: makes every choice.
            novelty: chance of a sound of the grammar's own in each place.
        """
        structure = list(self.frames)[rng.integers(len(self.frames))]
        pieces = re.split(r"\{([xnc])\}", _one(self.frames[structure], rng))
        forms = pieces[1::2]
        phrases: list[Phrase] = []
        for form in forms:
            source = self.events if not own or (self.events and rng.random() < novelty) else own
            fitting = [phrase for phrase in source if form in ("x", "nc"[phrase.clause]) and phrase not in phrases]
            if not fitting:
                return None
            phrases.append(_one(fitting, rng))
        texts = [phrase.text for phrase in phrases]
        for number in rng.permutation(len(self.states))[: rng.integers(3)] if self.states else ():
            place = int(rng.integers(len(texts)))
            if self.states[number].value[0] not in phrases[place].states:
                texts[place] = _stating(self.states[number], texts[place], phrases[place].clause, rng)
                aspects = phrases[place].states | {self.states[number].value[0]}
                phrases[place] = replace(phrases[place], states=aspects)
        filled = "".join(text for pair in zip(pieces[::2], [*texts, ""], strict=True) for text in pair)
        tidy = _articles(" ".join(filled.split()))
        return tidy if len(words_of(tidy)) <= MAX_WORDS else None


def words_of(text: str) -> list[str]:
    """Return the words of a text, in lower case, without punctuation."""
    return re.findall(r"[a-z][a-z'-]*", text.lower())


def phrases_of(captions: Iterable[str], tagger: Tagger) -> tuple[Phrase, ...]:
    """Return the sounds that captions name, each once, in the words of the captions."""
    texts = dict.fromkeys(phrase for caption in captions for phrase in tagger.parts(caption).phrases)
    return tuple(_phrase(text, tagger) for text in texts)


@cache
def audio_grammar(tagger: Tagger) -> Grammar:
    """Return the grammar of `grammar.toml`."""
    data = tomllib.loads(
        resources.files("admbench.methods.core.calibration.prompts")
        .joinpath("grammar.toml")
        .read_text(encoding="utf-8")
    )
    lines = [line for text in data["events"].values() for line in text.strip().splitlines()]
    return Grammar(
        events=tuple(_phrase(form.strip(), tagger) for line in lines for form in line.split("|")),
        states=tuple(
            State((aspect, value), *(tuple(filter(None, map(str.strip, part.split(",")))) for part in text.split("|")))
            for aspect, values in data["states"].items()
            for value, text in values.items()
        ),
        frames={name: tuple(map(str.strip, text.split(";"))) for name, text in data["frames"].items()},
    )


def _phrase(text: str, tagger: Tagger) -> Phrase:
    aspects = {aspect for aspect, _ in tagger.tag(text).values} - {"family", "modality", "polyphony"}
    return Phrase(text, tagger.is_clause(text), frozenset(aspects))


def _stating(state: State, text: str, clause: bool, rng: np.random.Generator) -> str:
    """Return a phrase that states the value, too; as it was where no words for that fit."""
    first = text.split()[0]
    ways = [f"{text} {words}" for words in state.endings + (state.adverbs if clause else ())]
    if first not in NO_ADJECTIVE:
        article, rest = (first, text[len(first) :]) if first in ("a", "an", "the") else ("", " " + text)
        ways += [f"{article} {adjective}{rest}".strip() for adjective in state.adjectives]
    return _one(ways, rng) if ways else text


def _articles(text: str) -> str:
    """Return the text with "a" and "an" as the next word wants them."""
    return re.sub(r"\ban? (?=(\w))", lambda match: "an " if match[1] in "aeiou" else "a ", text)


def _one(options: Sequence[Item], rng: np.random.Generator) -> Item:
    return options[int(rng.integers(len(options)))]
