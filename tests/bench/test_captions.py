"""What captions promise: they name their events, do not lie about attributes, and keep to a closed vocabulary."""

import re
from dataclasses import replace

import numpy as np
import pytest

from admbench.bench.suites.corpus.captions import (
    FRAMES,
    MAX_WORDS,
    WORDINGS,
    caption,
    standing_out,
    vocabulary,
)
from admbench.bench.suites.corpus.corpus import EVENTS, draw_clip
from admbench.bench.suites.corpus.events import Attributes

PLAIN = Attributes(0.5, 0.5, 0.5, 0.5, 0.5)


@pytest.fixture(scope="module")
def clips():
    return [draw_clip("train", index) for index in range(2000)]


def captions_of(event, attributes, count=200):
    return {caption(np.random.default_rng(seed), "single", [(event, attributes)]) for seed in range(count)}


def test_every_word_is_in_the_vocabulary(clips):
    known = set(vocabulary())
    assert {word for clip in clips for word in clip.caption.split()} <= known
    assert len(known) <= 600
    assert vocabulary() == sorted(known)


def test_captions_are_short_lower_case_and_plainly_punctuated(clips):
    for clip in clips:
        assert re.fullmatch(r"[a-z]+( ,)?( [a-z]+( ,)?)*", clip.caption), clip.caption
        assert len(clip.caption.split()) <= MAX_WORDS


def test_articles_fit_the_word_that_follows(clips):
    for clip in clips:
        assert not re.search(r"\ba [aeiou]|\ban [^aeiou]", clip.caption), clip.caption


def test_every_event_has_at_least_four_clauses_and_four_nominals():
    assert set(WORDINGS) == set(EVENTS)
    for wording in WORDINGS.values():
        assert min(len(set(wording.clauses)), len(set(wording.nominals))) >= 4


def test_captions_are_many_paraphrases(clips):
    assert len({clip.caption for clip in clips}) > 0.8 * len(clips)
    for event in EVENTS:
        assert len(captions_of(event, PLAIN)) >= 20


def test_no_phrase_names_two_events():
    phrases = [(phrase, event) for event in EVENTS for phrase in WORDINGS[event].clauses + WORDINGS[event].nominals]
    assert len({phrase for phrase, _ in phrases}) == len(phrases)


@pytest.mark.parametrize("event", EVENTS)
def test_an_ordinary_event_is_stated_without_attributes(event):
    assert standing_out(event, PLAIN) == ()
    words = {word for text in captions_of(event, PLAIN) for word in text.split()}
    assert not words & {"loudly", "quietly", "distant", "shrill", "deep", "slowly", "quickly", "muffled", "faint"}


@pytest.mark.parametrize(
    ("attribute", "low", "high"),
    [
        ("pitch", {"deep", "low", "big"}, {"shrill", "high", "small"}),
        ("rate", {"slow", "slowly", "unhurried"}, {"fast", "quickly", "rapid", "rapidly"}),
        ("brightness", {"dull", "muffled"}, {"bright", "sharp"}),
        ("loudness", {"quiet", "quietly", "soft", "softly", "faint", "low"}, {"loud", "loudly", "high"}),
        ("distance", {"nearby", "close"}, {"distant", "faraway", "far", "distance", "afar"}),
    ],
)
def test_a_clear_attribute_is_stated_the_right_way_round_or_not_at_all(attribute, low, high):
    for value, right, wrong in ((0.05, low, high), (0.95, high, low)):
        texts = captions_of("dog_bark", replace(PLAIN, **{attribute: value}))
        saying = [text for text in texts if set(text.split()) & right]
        assert saying
        assert len(saying) < len(texts)
        assert not [text for text in texts if set(text.split()) & wrong]


def test_what_an_event_does_not_have_is_not_stated():
    extreme = Attributes(pitch=0.99, rate=0.99, brightness=0.5, loudness=0.5, distance=0.5)
    words = {word for text in captions_of("rain", extreme) for word in text.split()}
    assert not words & {"shrill", "fast", "quickly", "rapid"}


def test_two_events_come_in_their_order():
    pair = [("dog_bark", PLAIN), ("rain", PLAIN)]
    dog, wet = re.compile("dog|puppy|hound"), re.compile("rain")
    for structure in ("simultaneous", "sequential"):
        for seed in range(100):
            text = caption(np.random.default_rng(seed), structure, pair)
            assert dog.search(text).start() < wet.search(text).start(), text


def test_the_structure_can_be_told_from_the_caption():
    order = re.compile(r"followed by|then|before|after")
    pair = [("dog_bark", PLAIN), ("rain", PLAIN)]
    for seed in range(100):
        assert order.search(caption(np.random.default_rng(seed), "sequential", pair))
        assert not order.search(caption(np.random.default_rng(seed), "simultaneous", pair))
    assert min(len(set(frames)) for frames in FRAMES.values()) >= 6


def test_the_same_generator_gives_the_same_caption():
    again = [caption(np.random.default_rng(5), "single", [("piano", Attributes())]) for _ in range(2)]
    assert again[0] == again[1]
