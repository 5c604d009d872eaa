"""The tagger and the parts of captions: what they see, what they say they do not, and how often they are right."""

import csv
from pathlib import Path

import pytest

from admbench.methods.core.calibration.prompts.space import STRUCTURAL, audio_space
from admbench.methods.core.calibration.prompts.tagger import audio_tagger

LABELLED = Path(__file__).parents[2] / "bench" / "suites" / "foley_captions.csv"
ASPECT_OF = {
    **dict.fromkeys(("quiet", "loud"), "loudness"),
    **dict.fromkeys(("near", "far"), "distance"),
    **dict.fromkeys(("low", "high"), "pitch"),
    **dict.fromkeys(("slow", "fast"), "rate"),
    **dict.fromkeys(("dull", "bright"), "brightness"),
}


def stated(caption, aspect):
    return {value for name, value in audio_tagger().tag(caption).values if name == aspect}


@pytest.mark.parametrize(
    ("caption", "aspect", "values"),
    [
        ("a dog barks", "family", {"animal"}),
        ("Dogs were barking!", "family", {"animal"}),
        ("a man plays the piano", "family", {"music"}),
        ("a man speaks while rain falls", "family", {"human", "natural"}),
        ("something creaks", "family", {"ambiguous"}),
        ("a door creaks", "family", {"things"}),
        ("the zorblax frumps", "family", set()),
        ("a voice speaking", "modality", {"speech"}),
        ("a voice speaking and a flute playing", "modality", {"speech", "music", "sound"}),
        ("a dog barks very loudly in the distance", "loudness", {"loud"}),
        ("a dog barks very loudly in the distance", "distance", {"far"}),
        ("a shrill whistle over a deep drone", "pitch", {"low", "high"}),
        ("a drum at a low volume", "pitch", set()),
        ("a fist raps on wood", "family", {"ambiguous"}),
        ("a bell rings again and again", "temporal", {"repeated"}),
        ("a bell rings and then a dog barks", "temporal", {"sequential"}),
        ("a bell rings as a dog barks", "temporal", {"simultaneous"}),
        ("footsteps in a cathedral", "scene", {"hall"}),
        ("a dog barks", "polyphony", {"one"}),
        ("a dog barks, a bell rings and rain falls", "polyphony", {"several"}),
    ],
)
def test_a_caption_states_what_a_reader_would_say(caption, aspect, values):
    assert stated(caption, aspect) == values


@pytest.mark.parametrize(
    ("caption", "phrases", "sequential"),
    [
        ("A dog barks while rain falls.", ("a dog barks", "rain falls"), False),
        ("first a bell ringing and then applause", ("a bell ringing", "applause"), True),
        ("you can hear that a cat meows", ("a cat meows",), False),
        ("a flute playing with a drum in the background", ("a flute playing", "a drum"), False),
        ("the hiss of rain , followed by a gale", ("the hiss of rain", "a gale"), True),
        # these joins are of verbs, adjectives and places, not of sounds
        ("a puppy yaps and barks", ("a puppy yaps and barks",), False),
        ("a whistle slides up and down", ("a whistle slides up and down",), False),
        ("nothing known of any kind", ("nothing known of any kind",), False),
    ],
)
def test_a_caption_is_taken_apart_into_its_sounds(caption, phrases, sequential):
    parts = audio_tagger().parts(caption)
    assert (parts.phrases, parts.sequential) == (phrases, sequential)


@pytest.mark.parametrize(
    ("phrase", "clause"),
    [
        ("a dog barks", True),
        ("crickets chirp", True),
        ("people are clapping", True),
        ("a dog barking", False),
        ("barks of a dog", False),
        ("a drum beat", False),
        ("rain", False),
    ],
)
def test_clauses_are_told_from_nominal_phrases(phrase, clause):
    assert audio_tagger().is_clause(phrase) is clause


def test_unknown_words_are_said_and_nothing_is_made_up_of_them():
    tags = audio_tagger().tag("A zorblax frumps near the quixotry")
    assert tags.unknown == ("zorblax", "frumps", "quixotry")
    assert {value for value in tags.values if value[0] != "polyphony"} == {("distance", "near")}
    assert audio_tagger().tag("").values == {("polyphony", "one")}


def test_every_phrase_of_the_lexicon_states_its_own_value():
    space = audio_space()
    for value, phrases in space.phrases.items():
        for phrase in phrases:
            assert value in audio_tagger().tag(phrase).values, (value, phrase)


def test_pairs_are_of_different_aspects_and_each_is_there_once():
    space = audio_space()
    sizes = [sum(value[0] == aspect for value in space.values) for aspect in dict.fromkeys(a for a, _ in space.values)]
    assert len(space.values) == sum(sizes) == 35
    assert len(set(space.pairs)) == len(space.pairs) == (sum(sizes) ** 2 - sum(size**2 for size in sizes)) // 2
    assert all(one[0] != other[0] for one, other in space.pairs)
    assert set(STRUCTURAL) <= {aspect for aspect, _ in space.values}


def accuracy(parity):
    """Shares of the labels of every second caption of `foley-captions` that the tagger finds."""
    tagger = audio_tagger()
    rows = [row for row in csv.DictReader(LABELLED.open()) if int(row["id"][-2:]) % 2 == parity]
    family = attributes = wanted = claimed = structure = 0
    for row in rows:
        values = tagger.tag(row["caption"]).values
        family += ("family", row["family"]) in values
        labels = {(ASPECT_OF[word], word) for word in row["attributes"].split() if word != "none"}
        found = {value for value in values if value[0] in ASPECT_OF.values()}
        attributes, wanted, claimed = attributes + len(labels & found), wanted + len(labels), claimed + len(found)
        polyphony = next(value for aspect, value in values if aspect == "polyphony")
        seen = "sequential" if ("temporal", "sequential") in values else polyphony
        structure += seen == {"single": "one", "simultaneous": "two"}.get(row["polyphony"], row["polyphony"])
    return family / len(rows), attributes / wanted, attributes / claimed, structure / len(rows)


def test_labels_given_by_hand_are_mostly_found():
    """The lexicon was written with the odd captions at hand; the even ones were held out."""
    family, recall, precision, structure = accuracy(parity=0)
    print(f"held out: family {family:.3f}, attributes {recall:.3f} of {precision:.3f} right, structure {structure:.3f}")
    assert family > 0.9
    assert recall > 0.9
    assert precision > 0.9
    assert structure > 0.75
