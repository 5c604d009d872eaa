"""`coverage-prompt`: prompts that cover more of what audio can be than the user's own do.

The first half of PTQ4ADM (arXiv 2409.13894), "coverage-driven prompt augmentation" for "comprehensive coverage of audio
aspects and modalities". Reconstructed from the abstract: which aspects, how prompts are written and how they are chosen
is not public, and all of it below is ours.

1. The space: `prompts.space`.
2. Candidates: the user's prompts, and captions that a grammar writes of the sounds in them (`prompts.grammar`),
   in words that the model knows. A language model may add more; none is needed.
3. Choice, greedy: the sum of three shares, of values stated, of pairs of values stated together, and of nearness in the
   model's own text embedding (facility location over all candidates). It is monotone and submodular, so that the choice
   reaches at least 1 - 1/e of the best that can be made of the candidates (`calibration.submodular`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from admbench.errors import UsageError
from admbench.methods.core.calibration.prompts.grammar import audio_grammar, phrases_of, words_of
from admbench.methods.core.calibration.prompts.measure import measure, text_similarity, value_coverage
from admbench.methods.core.calibration.prompts.request import ChosenPrompts, PromptRequest
from admbench.methods.core.calibration.prompts.tagger import Tagger, audio_tagger
from admbench.methods.core.calibration.prompts.vocabulary import known_words
from admbench.methods.core.calibration.submodular import FacilityLocation, WeightedSum, greedy

Writer = Callable[[Sequence[str]], Iterable[str]]
"""A language model, or whatever else writes captions: takes the user's prompts and returns further candidates."""

TRIES = 20
"""Captions the grammar is asked for, to each that is wanted, before it has no more to say."""


@dataclass(frozen=True)
class CoveragePrompts:
    """Chooses prompts by coverage; an instance is the `choose` of a prompt source."""

    candidates: int = 8
    """Captions to be written, to each prompt that is wanted."""
    fewest_candidates: int = 256
    """Captions to be written at least."""
    novelty: float = 0.25
    """Share of sounds that are the grammar's own instead of the user's; 0 keeps to the user's, where there are any."""
    writer: Writer | None = None
    """Writes further candidates."""

    def __call__(self, request: PromptRequest) -> ChosenPrompts:
        """Choose, and say what was covered before and after.

        Before are the user's first prompts, as many as are wanted, which `given` would have taken.

        Raises:
            UsageError: there are not as many different captions as are wanted.
        """
        tagger = audio_tagger()
        own = list(dict.fromkeys(request.prompts))
        pool = list(dict.fromkeys([*own, *self._written(request, own, tagger)]))
        if len(pool) < request.count:
            raise UsageError(
                f"coverage-prompt: {len(pool)} different captions can be made of {len(own)} prompts, {request.count}"
                f" are wanted; give more prompts"
            )
        vectors = request.model.embed_text(pool)
        similarity = text_similarity(vectors, vectors)
        values, pairs = value_coverage(pool, tagger)
        objective = WeightedSum([(1.0, values), (1.0, pairs), (1.0, FacilityLocation(similarity))])
        chosen = greedy(objective, range(len(pool)), request.count)
        before = range(min(len(own), request.count))
        facts = {
            "candidates": len(pool),
            "generated": sum(number >= len(own) for number in chosen),
            **{
                f"coverage_{when}": measure([pool[i] for i in rows], similarity[:, list(rows)], tagger).summary()
                for when, rows in (("before", before), ("after", chosen))
            },
        }
        return ChosenPrompts(tuple(pool[number] for number in chosen), tuple(pool), facts)

    def _written(self, request: PromptRequest, own: Sequence[str], tagger: Tagger) -> list[str]:
        """Return candidates in words that the user uses or the model knows."""
        users = {word for prompt in own for word in words_of(prompt)}
        extra = list(self.writer(own)) if self.writer else []
        grammar = audio_grammar(tagger)
        asked = {word for text in extra for word in words_of(text)} | grammar.words
        known = known_words(sorted(asked - users), request.model) | users
        grammar, phrases = grammar.of_words(frozenset(known)), phrases_of(own, tagger)
        rng = request.generator(0xC0FE)
        wanted = max(self.candidates * request.count, self.fewest_candidates)
        written: dict[str, None] = dict.fromkeys(text for text in extra if known.issuperset(words_of(text)))
        for _ in range(TRIES * wanted):
            if len(written) >= wanted:
                break
            if text := grammar.write(phrases, rng, self.novelty):
                written[text] = None
        return list(written)
