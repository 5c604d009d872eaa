"""Prompt sources: what each promises, how the option `calibration` names them, and what a set says of them."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch

from admbench import methods
from admbench.errors import UsageError
from admbench.methods.core.calibration.prompts import PROMPT_SOURCES
from admbench.methods.core.calibration.prompts.coverage import CoveragePrompts
from admbench.methods.core.calibration.prompts.grammar import MAX_WORDS, audio_grammar, phrases_of, words_of
from admbench.methods.core.calibration.prompts.measure import measure, text_similarity, value_coverage
from admbench.methods.core.calibration.prompts.mixup import CLASSES
from admbench.methods.core.calibration.prompts.request import PromptRequest
from admbench.methods.core.calibration.prompts.tagger import audio_tagger
from admbench.methods.core.calibration.prompts.vocabulary import known_words
from admbench.methods.core.calibration.samplers.recipe import CalibrationRecipe, parse_calibration
from admbench.methods.core.calibration.submodular import FacilityLocation, WeightedSum

OWN = ("a dog barks while rain falls", "a bell ringing", "a flute playing a tune", "a person is talking loudly")
RECIPE = CalibrationRecipe("uniform", prompts=3, timesteps=2, steps=3, guidance=3.0)


class Words:
    """Embeds a text as how often each word of a closed vocabulary occurs, all others being one unknown word."""

    def __init__(self, vocabulary):
        self.places = {word: place for place, word in enumerate(sorted(vocabulary), start=1)}

    def embed_text(self, prompts):
        vectors = torch.zeros(len(prompts), len(self.places) + 1)
        for row, prompt in enumerate(prompts):
            for word in words_of(prompt):
                vectors[row, self.places.get(word, 0)] += 1
        return vectors


class Letters:
    """Embeds a text as how often each letter occurs: no word is unknown."""

    def embed_text(self, prompts):
        return torch.tensor([[float(prompt.count(chr(97 + letter))) for letter in range(26)] for prompt in prompts])


def choose(name, prompts=OWN, count=4, seed=0, model=None):
    return PROMPT_SOURCES[name].choose(PromptRequest(tuple(prompts), count, seed, model or Letters()))


def test_given_takes_the_first_prompts_and_needs_as_many_as_are_wanted(audioldm):
    assert choose("given", count=2).prompts == OWN[:2]
    with pytest.raises(UsageError, match="calibration needs 3 prompts, there are 2"):
        RECIPE.draw(audioldm, OWN[:2], seed=0)


@pytest.mark.parametrize("name", PROMPT_SOURCES)
def test_a_source_returns_as_many_as_are_wanted_and_the_same_for_the_same_seed(name):
    chosen = choose(name)
    assert len(chosen.prompts) == 4
    assert all(chosen.prompts)
    assert choose(name).prompts == chosen.prompts
    assert set(chosen.prompts) <= set(chosen.candidates)
    assert set(OWN) <= set(chosen.candidates)
    if name != "given":
        assert choose(name, seed=1).prompts != chosen.prompts


def test_mixed_prompts_name_several_sounds_of_the_users_and_use_all_alike():
    sounds = ["a dog barks", "rain falls", "a bell ringing", "a flute playing a tune", "a person is talking loudly"]
    used = dict.fromkeys(sounds, 0)
    for prompt in choose("mixup-prompt", count=10).prompts:
        parts = prompt.split(" and ")
        assert len(set(parts)) == len(parts) == CLASSES
        for part in parts:
            used[part] += 1
    assert set(used.values()) == {10 * CLASSES // len(sounds)}


def test_mixing_needs_two_sounds():
    assert set(choose("mixup-prompt", prompts=("rain falls", "a bell ringing"), count=1).prompts[0].split(" and ")) == {
        "rain falls",
        "a bell ringing",
    }
    with pytest.raises(UsageError, match="1 different sounds in the prompts, at least 2 are needed"):
        choose("mixup-prompt", prompts=("rain falls", "rain falls"))


def test_augmentation_covers_more_than_before_on_every_count_that_it_maximises():
    chosen = choose("coverage-prompt")
    before, after = chosen.facts["coverage_before"], chosen.facts["coverage_after"]
    assert (before["n"], after["n"]) == (4, 4)
    assert after["values"] > before["values"]
    assert after["pairs"] > 2 * before["pairs"]
    assert chosen.facts["generated"] == sum(prompt not in OWN for prompt in chosen.prompts)
    assert chosen.facts["candidates"] == len(chosen.candidates)
    assert len(set(chosen.prompts)) == 4


def test_a_few_prompts_are_enough_for_many_and_impossible_wishes_are_an_error():
    assert len(choose("coverage-prompt", prompts=("rain falls",), count=64).prompts) == 64
    alone = CoveragePrompts(novelty=0.0)
    with pytest.raises(UsageError, match=r"different captions can be made of 1 prompts, 500 are wanted"):
        alone(PromptRequest(("zorblax",), 500, 0, Words({"zorblax"})))


def test_a_closed_vocabulary_is_found_out_and_kept_to():
    model = Words({"a", "dog", "barks", "rain", "falls", "while", "loudly", "bell", "ringing", "and"})
    assert known_words(["dog", "trumpet", "rain"], model) == {"dog", "rain"}
    assert known_words(["dog", "trumpet"], Letters()) == {"dog", "trumpet"}
    chosen = choose("coverage-prompt", prompts=("a dog barks while rain falls", "zorblax"), count=6, model=model)
    assert {word for prompt in chosen.candidates for word in words_of(prompt)} <= {*model.places, "zorblax"}
    assert any("bell" in prompt for prompt in chosen.candidates)  # known to the model, not named by the user


def test_without_novelty_every_sound_is_the_users():
    plain, rng = replace(audio_grammar(audio_tagger()), states=()), np.random.default_rng(0)
    allowed = {word for prompt in OWN for word in words_of(prompt)} | replace(plain, events=()).words
    written = [plain.write(phrases_of(OWN, audio_tagger()), rng, 0.0) for _ in range(100)]
    assert {word for text in written if text for word in words_of(text)} <= allowed
    assert sum(text is not None for text in written) > 50


def test_what_the_grammar_writes_of_a_value_states_that_value():
    grammar, tagger = audio_grammar(audio_tagger()), audio_tagger()
    for state in grammar.states:
        assert state.value in tagger.space.values
        for words in state.adjectives + state.adverbs + state.endings:
            assert state.value in tagger.tag(f"a sound {words}").values, (state.value, words)
    assert [event.clause for event in grammar.events] == [False, True] * (len(grammar.events) // 2)
    for event in grammar.events:
        assert tagger.families(event.text), event.text
        assert not tagger.tag(event.text).unknown, event.text


def test_written_captions_are_short_and_well_joined():
    grammar, rng = audio_grammar(audio_tagger()), np.random.default_rng(0)
    texts = [grammar.write(phrases_of(OWN, audio_tagger()), rng, 0.5) for _ in range(300)]
    written = [text for text in texts if text]
    assert len(written) > 200
    for text in written:
        assert len(words_of(text)) <= MAX_WORDS
        assert text == " ".join(text.split())
        assert "{" not in text
        assert " a a" not in text
        assert " an b" not in text


def test_a_writer_adds_candidates_and_words_that_the_model_does_not_know_are_left_out():
    asked = []

    def write(prompts):
        asked.extend(prompts)
        return ["a trumpet fanfare while thunder rumbles", "zorblax"]

    model = Words(audio_grammar(audio_tagger()).words)
    chosen = CoveragePrompts(writer=write)(PromptRequest(OWN, 4, 0, model))
    assert tuple(asked) == OWN
    assert "a trumpet fanfare while thunder rumbles" in chosen.candidates
    assert "zorblax" not in chosen.candidates


def test_the_choice_is_within_its_guarantee_of_the_best_there_is():
    captions = ["a dog barks loudly", "rain falls", "a flute playing", "a man speaks", "a bell rings in the distance"]
    vectors = Letters().embed_text(captions)
    similarity = text_similarity(vectors, vectors)

    def objective(rows):
        values, pairs = value_coverage(captions, audio_tagger())
        total = WeightedSum([(1.0, values), (1.0, pairs), (1.0, FacilityLocation(similarity))])
        for row in rows:
            total.add(row)
        return total.value

    chosen = CoveragePrompts(candidates=0, fewest_candidates=0)(PromptRequest(tuple(captions), 2, 0, Letters()))
    best = max(map(objective, combinations(range(5), 2)))
    assert (1 - 1 / np.e) * best <= objective([captions.index(text) for text in chosen.prompts]) <= best


def test_coverage_in_closed_form():
    tagger = audio_tagger()
    corners = torch.eye(3)  # three texts, each as far from the others as can be
    covered = measure(["a dog barks", "rain falls"], text_similarity(corners, corners[:2]), tagger)
    assert covered.text == pytest.approx(2 / 3)
    # animal, natural; sound; one
    assert covered.values == pytest.approx(4 / len(tagger.space.values))
    # animal-sound, animal-one, natural-sound, natural-one, sound-one
    assert covered.pairs == pytest.approx(5 / len(tagger.space.pairs))
    assert covered.aspects["family"] == pytest.approx(2 / 7)
    assert covered.known_words == 1.0


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("uniform", ("given", "uniform")),
        ("normal", ("given", "normal")),
        ("mixup-prompt", ("mixup-prompt", "uniform")),
        ("coverage-prompt+normal", ("coverage-prompt", "normal")),
    ],
)
def test_the_option_names_prompts_a_sampler_or_both(name, parts, audioldm):
    assert parse_calibration(name) == parts
    recipe = methods.from_spec(f"q-diffusion@w4a8[calibration={name}]").config.recipe_for(audioldm)
    assert (recipe.prompt_source, recipe.sampler) == parts


@pytest.mark.parametrize(
    ("name", "fragment"),
    [
        ("mixup-promt", 'Did you mean "mixup-prompt"?'),
        ("mixup-prompt+nromal", 'Did you mean "normal"?'),
        ("normal+mixup-prompt", "both: PROMPTS+SAMPLER"),
        ("mixup-prompt+normal+uniform", "unknown calibration"),
        ("", "unknown calibration"),
    ],
)
def test_a_name_that_is_none_is_told_what_there_is(name, fragment):
    with pytest.raises(UsageError) as error:
        parse_calibration(name)
    assert fragment in str(error.value)


def test_a_set_is_drawn_on_the_chosen_prompts_and_says_so(audioldm, tmp_path):
    recipe = replace(RECIPE, prompt_source="coverage-prompt", sampler="normal")
    drawn = recipe.draw(audioldm, OWN, seed=0)
    assert drawn.prompts == recipe.choose_prompts(audioldm, OWN, seed=0).prompts != OWN[:3]
    summary = drawn.summary()
    assert (summary["prompts"], summary["sampler"], summary["prompt_source"]) == (3, "normal", "coverage-prompt")
    assert summary["coverage_after"]["pairs"] > summary["coverage_before"]["pairs"]


def test_the_content_key_tells_prompt_sources_and_all_that_they_read_apart(audioldm):
    mixed = replace(RECIPE, prompt_source="mixup-prompt")
    keys = {
        recipe.key(audioldm, prompts, seed=0)
        for recipe in (RECIPE, mixed, replace(RECIPE, prompt_source="coverage-prompt"))
        for prompts in (OWN[:3], OWN)
    }
    assert len(keys) == 5  # `given` alone reads no more than it takes


def test_mixup_prompt_is_naive_on_mixed_prompts(audioldm, prompts, quantize):
    mixed = quantize(audioldm, "mixup-prompt@w4a8")
    same = quantize(audioldm, "naive@w4a8[calibration=mixup-prompt]")
    for name, tensor in mixed.module.state_dict().items():
        assert torch.equal(tensor, same.module.state_dict()[name])
    recipe = methods.from_spec("mixup-prompt@w4a8[calibration=normal]").config.recipe_for(audioldm)
    assert (recipe.prompt_source, recipe.sampler) == ("mixup-prompt", "normal")
    for other in ("coverage-prompt", "given", "given+normal"):
        with pytest.raises(UsageError, match="this method is its prompts"):
            methods.from_spec(f"mixup-prompt@w4a8[calibration={other}]")
