"""Captions of the embedded corpus: many paraphrases over a closed vocabulary, stating the attributes that stand out.

Every event has finite clauses ("a dog barks") and nominal phrases ("a dog barking"). A star marks where adjectives go:
"a * dog barks" becomes "a small dog barks". An attribute is stated only when it is clearly low or high, at most two in
a caption of one event, and then either as an adjective at the star or as an adverbial phrase at the end. Frames join
one or two such phrases into a single, simultaneous or sequential caption of at most :data:`MAX_WORDS` words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from admbench.bench.suites.corpus.events import Attributes

MAX_WORDS = 24
CLEARLY_LOW, CLEARLY_HIGH = 0.28, 0.72
"""An attribute below or above these is one a listener would mention."""


@dataclass(frozen=True)
class Wording:
    """How one event is named.

    `stated` lists the attributes of which its captions may speak besides loudness and distance; `small` and `big` are
    its own adjectives for a high and a low pitch, beside the general ones.
    """

    clauses: tuple[str, ...]
    nominals: tuple[str, ...]
    stated: tuple[str, ...] = ("pitch", "rate", "brightness")
    small: tuple[str, ...] = ()
    big: tuple[str, ...] = ()


WORDINGS: dict[str, Wording] = {
    "dog_bark": Wording(
        ("a * dog barks", "a * dog is barking", "a * puppy yaps and barks", "a * hound woofs"),
        ("a * dog barking", "the * barking of a dog", "* woofs of a dog", "* dog barks"),
        small=("small",),
        big=("big",),
    ),
    "bird_chirp": Wording(
        ("a * bird chirps", "a * bird is chirping", "a * songbird sings", "* birds tweet"),
        ("a * bird chirping", "* birdsong", "the * chirping of a bird", "* tweets of a songbird"),
        small=("small",),
        big=("big",),
    ),
    "frog_croak": Wording(
        ("a * frog croaks", "a * frog is croaking", "a * toad croaks", "* frogs croak in a pond"),
        ("a * frog croaking", "the * croaking of a frog", "* croaks of a toad", "a * frog in a pond"),
        small=("small",),
        big=("big",),
    ),
    "crickets": Wording(
        ("* crickets chirp", "* crickets are trilling", "a * cricket trills", "* insects buzz in the grass"),
        ("* crickets chirping", "the * trill of crickets", "a * cricket in the grass", "* insects trilling at night"),
        stated=("pitch", "rate"),
    ),
    "cat_meow": Wording(
        ("a * cat meows", "a * cat is meowing", "a * kitten meows", "a * cat cries"),
        ("a * cat meowing", "the * meows of a cat", "* meowing of a kitten", "a * cat crying"),
        small=("small",),
        big=("big",),
    ),
    "rain": Wording(
        ("* rain falls", "* rain is falling", "it rains with a * hiss", "* rain pours down"),
        ("* rain falling", "the * hiss of rain", "a * rain shower", "* rainfall"),
        stated=("brightness",),
    ),
    "wind": Wording(
        ("a * wind howls", "the * wind is blowing", "a * wind moans", "a * gale blows"),
        ("a * wind howling", "the * howl of the wind", "* wind blowing", "a * gale"),
    ),
    "ocean_waves": Wording(
        ("* waves break on the shore", "* ocean waves roll in", "the * sea surges", "* surf crashes on a beach"),
        ("* ocean waves", "* waves breaking on the shore", "the * surf on a beach", "* sea waves crashing"),
        stated=("rate", "brightness"),
    ),
    "motorcycle": Wording(
        ("a * motorcycle revs", "a * motorcycle is revving", "a * motorbike engine revs up", "a biker revs the engine"),
        ("a * motorcycle revving", "the * revving of a motorbike", "a * motorcycle engine", "* motorbike revs"),
        small=("small",),
        big=("big",),
    ),
    "train_horn": Wording(
        ("a * train horn blows", "a * train horn is blaring", "a * train honks", "a * locomotive sounds its horn"),
        ("a * train horn", "* blasts of a train horn", "the * horn of a locomotive", "a * train honking"),
    ),
    "helicopter": Wording(
        (
            "a * helicopter flies",
            "a * helicopter is hovering",
            "a * chopper passes overhead",
            "* rotor blades chop the air",
        ),
        ("a * helicopter flying", "the * chopping of a helicopter", "* rotor blades", "a * chopper overhead"),
        stated=("rate", "brightness"),
    ),
    "siren": Wording(
        ("a * siren wails", "a * siren is wailing", "a * police siren howls", "an * ambulance siren sounds"),
        ("a * siren wailing", "the * wail of a siren", "a * police siren", "an * ambulance siren"),
    ),
    "alarm_beep": Wording(
        ("an * alarm beeps", "an * alarm is beeping", "an * alarm clock beeps", "an * electronic device beeps"),
        ("an * alarm beeping", "* electronic beeps", "the * beeping of an alarm", "* beeps of an alarm clock"),
    ),
    "fire_bell": Wording(
        ("a * fire bell rings", "a * bell is ringing", "a * school bell rings", "a * bell clangs without pause"),
        ("a * fire bell ringing", "the * ringing of a bell", "a * school bell", "* clanging of a bell"),
    ),
    "hammer": Wording(
        ("a * hammer strikes metal", "a * hammer is pounding", "someone hammers on metal", "a smith hammers on steel"),
        ("a * hammer striking metal", "* hammering on steel", "* blows of a hammer", "a * hammer on an anvil"),
    ),
    "drill": Wording(
        (
            "a * drill whines",
            "an * electric drill is running",
            "a * power drill spins up",
            "someone drills into a wall",
        ),
        ("a * drill whining", "an * electric drill", "the * whine of a power drill", "* drilling into a wall"),
    ),
    "hand_saw": Wording(
        ("a * saw cuts wood", "a * hand saw is cutting", "someone saws through a board", "a carpenter saws wood"),
        ("a * saw cutting wood", "* sawing of a board", "the * strokes of a hand saw", "a * wood saw"),
    ),
    "clock_tick": Wording(
        ("a * clock ticks", "a * clock is ticking", "a * watch ticks and tocks", "a * wall clock ticks"),
        ("a * clock ticking", "the * ticking of a clock", "a * ticking watch", "the * tick tock of a clock"),
    ),
    "door_knock": Wording(
        ("someone knocks on a door", "a visitor knocks on the door", "somebody is knocking", "a * fist raps on wood"),
        ("* knocks on a door", "* knocking on the door", "a * knock on wood", "* rapping on a wooden door"),
    ),
    "vacuum_cleaner": Wording(
        ("a * vacuum cleaner runs", "a * vacuum cleaner is humming", "a * hoover drones", "someone vacuums a carpet"),
        ("a * vacuum cleaner", "the * drone of a vacuum cleaner", "a * hoover running", "* vacuuming of a carpet"),
        stated=("pitch", "brightness"),
    ),
    "piano": Wording(
        ("a * piano plays", "a * piano is playing a tune", "a pianist plays notes", "someone plays a * piano"),
        ("a * piano playing", "* piano music", "a * melody on a piano", "* notes of a piano"),
    ),
    "flute": Wording(
        ("a * flute plays", "a * flute is playing a tune", "a flutist plays notes", "someone plays a * flute"),
        ("a * flute playing", "* flute music", "a * melody on a flute", "* notes of a flute"),
    ),
    "drum_beat": Wording(
        ("a * drummer plays a beat", "* drums are playing", "a * drum kit plays", "someone plays * drums"),
        ("a * drum beat", "* drums playing", "a * rhythm on a drum kit", "the * beat of drums"),
    ),
    "speech": Wording(
        ("a * voice speaks", "a * person is talking", "someone talks with a * voice", "a * voice babbles"),
        ("a * voice speaking", "* speech of a person", "a * person talking", "the * babble of a voice"),
    ),
    "applause": Wording(
        ("an * audience applauds", "* people are clapping", "a * crowd claps", "* hands clap"),
        ("* applause", "an * audience clapping", "the * clapping of a crowd", "* people applauding"),
        stated=("rate", "brightness"),
    ),
    "whistling": Wording(
        ("a * person whistles", "someone is whistling", "a * man whistles a tune", "a * whistle slides up and down"),
        ("a * person whistling", "the * whistling of a man", "a * whistled tune", "* whistling"),
    ),
}

# attribute -> (low, high) -> (adjectives, adverbial phrases)
_Words = tuple[tuple[str, ...], tuple[str, ...]]
_ATTRIBUTE_WORDS: dict[str, tuple[_Words, _Words]] = {
    "pitch": (
        (("low pitched", "deep", "low"), ("at a low pitch", "in a low register")),
        (("high pitched", "shrill", "high"), ("at a high pitch", "in a high register")),
    ),
    "rate": (
        (("slow", "unhurried"), ("slowly", "at a slow pace")),
        (("fast", "rapid"), ("quickly", "at a fast pace", "rapidly")),
    ),
    "brightness": (
        (("dull", "muffled"), ("with a dull tone", "with a muffled tone")),
        (("bright", "sharp"), ("with a bright tone", "with a sharp tone")),
    ),
    "loudness": (
        (("quiet", "soft", "faint"), ("quietly", "softly", "at a low volume")),
        (("loud", "very loud"), ("loudly", "very loudly", "at a high volume")),
    ),
    "distance": (
        (("nearby", "close"), ("nearby", "close by", "up close")),
        (("distant", "faraway"), ("in the distance", "far away", "from afar")),
    ),
}

_SINGLE_CLAUSE = ("{c}", "{c}", "{c}", "you can hear that {c}")
_SINGLE_NOMINAL = ("{n}", "{n}", "the sound of {n}", "{n} can be heard", "there is {n}", "a recording of {n}")
_SIMULTANEOUS = (
    "{c1} while {c2}",
    "{c1} as {c2}",
    "{c1} and {c2} at the same time",
    "{n1} and {n2}",
    "{n1} with {n2} in the background",
    "{n1} together with {n2}",
    "{c1} over the sound of {n2}",
    "{n1} mixed with {n2}",
)
_SEQUENTIAL = (
    "{n1} followed by {n2}",
    "{n1} , followed by {n2}",
    "{c1} , then {c2}",
    "first {c1} , then {c2}",
    "{c1} before {c2}",
    "{c1} and afterwards {c2}",
    "{n1} , and after that {n2}",
    "first {n1} and then {n2}",
)
FRAMES: dict[str, tuple[str, ...]] = {
    "single": _SINGLE_CLAUSE + _SINGLE_NOMINAL,
    "simultaneous": _SIMULTANEOUS,
    "sequential": _SEQUENTIAL,
}


def standing_out(event: str, attributes: Attributes) -> tuple[tuple[str, int], ...]:
    """The attributes a caption of `event` may state, as (name, 0 for low or 1 for high)."""
    names = (*WORDINGS[event].stated, "loudness", "distance")
    values = ((name, getattr(attributes, name)) for name in names)
    return tuple((name, int(value > 0.5)) for name, value in values if value < CLEARLY_LOW or value > CLEARLY_HIGH)


def _choose(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]


def _phrase(rng: np.random.Generator, event: str, form: str, stated: Sequence[tuple[str, int]]) -> str:
    """A clause (form "c") or nominal (form "n") for an event that states the given attributes."""
    wording = WORDINGS[event]
    text = _choose(rng, wording.clauses if form == "c" else wording.nominals)
    adjectives: list[str] = []
    adverbs: list[str] = []
    for name, high in stated:
        as_adjective, as_adverb = _ATTRIBUTE_WORDS[name][high]
        if name == "pitch":
            as_adjective += wording.small if high else wording.big
        as_adverb_only = "*" not in text or (form == "c" and len(adjectives) > 0)
        at_the_end = form == "c" or name == "distance"  # "distant" or "far away", but never "the barking ... slowly"
        if not as_adverb_only and not (at_the_end and rng.uniform() < 0.5):
            adjectives.append(_choose(rng, as_adjective))
        else:
            adverbs.append(_choose(rng, as_adverb))
    return " ".join([text.replace("*", " ".join(adjectives)), *adverbs])


def _tidy(text: str) -> str:
    text = " ".join(text.split())
    return re.sub(r"\ban? (?=(\w))", lambda match: "an " if match.group(1) in "aeiou" else "a ", text)


def caption(rng: np.random.Generator, structure: str, events: Sequence[tuple[str, Attributes]]) -> str:
    """A caption for one or two events.

    `structure` is "single", "simultaneous" or "sequential" (KeyError otherwise). Lower case; punctuation marks stand
    alone as words. A caption of two events states at most one attribute of each.
    """
    most = 2 if len(events) == 1 else 1
    chances = (0.3, 0.4, 0.3) if len(events) == 1 else (0.55, 0.45)
    stated = []
    for event, attributes in events:
        candidates = standing_out(event, attributes)
        count = min(int(rng.choice(most + 1, p=chances)), len(candidates))
        picked = rng.permutation(len(candidates))[:count]
        stated.append([candidates[number] for number in picked])
    frame = _choose(rng, FRAMES[structure])

    def fill(match: re.Match[str]) -> str:
        number = int(match.group(2) or 1) - 1
        return _phrase(rng, events[number][0], match.group(1), stated[number])

    text = _tidy(re.sub(r"\{([cn])([12]?)\}", fill, frame))
    if len(text.split()) > MAX_WORDS:
        stated = [[] for _ in events]
        text = _tidy(re.sub(r"\{([cn])([12]?)\}", fill, frame))
    return text


def _all_texts() -> Iterator[str]:
    for wording in WORDINGS.values():
        yield from (*wording.clauses, *wording.nominals, *wording.small, *wording.big)
    for extremes in _ATTRIBUTE_WORDS.values():
        for adjectives, adverbs in extremes:
            yield from (*adjectives, *adverbs)
    for frames in FRAMES.values():
        yield from (re.sub(r"\{[^}]*\}", " ", frame) for frame in frames)


def vocabulary() -> list[str]:
    """Every word and punctuation mark a caption can hold, sorted: the closed vocabulary of word-level tokenizers."""
    words = {word for text in _all_texts() for word in text.split() if word != "*"}
    return sorted(words | {"a", "an"})
