"""What a calibration's prompts cover of what audio can be, before and after a prompt source has chosen: numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from admbench.methods.core.calibration.prompts import find_prompt_source
from admbench.methods.core.calibration.prompts.measure import PromptCoverage, measure, text_similarity
from admbench.methods.core.calibration.prompts.request import PromptRequest, TextEncoder
from admbench.methods.core.calibration.prompts.tagger import audio_tagger
from admbench.methods.core.calibration.samplers.recipe import parse_calibration


@dataclass(frozen=True)
class Selection:
    """A list of prompts, as the model and the lexicon see it."""

    prompts: tuple[str, ...]
    vectors: Tensor
    """(n, width), of the model's text encoder."""
    coverage: PromptCoverage
    """Of the candidates."""
    against: PromptCoverage | None
    """The same, but for other captions than the candidates as what the text embedding is to be close to."""


@dataclass(frozen=True)
class PromptStudy:
    """The user's prompts and those chosen, side by side."""

    source: str
    """Prompt source, by name."""
    candidates: Tensor
    """(m, width): vectors of what was chosen from."""
    before: Selection
    """The user's first prompts, as many as were wanted."""
    after: Selection
    """What the source chose."""


def study_prompts(
    model: TextEncoder,
    prompts: Sequence[str],
    calibration: str,
    *,
    count: int,
    seed: int = 0,
    against: Sequence[str] | None = None,
) -> PromptStudy:
    """Choose calibration prompts and measure what they cover.

    Args:
        model: embeds text.
        prompts: the user's.
        calibration: value of a method's option `calibration`; the sampler in it changes nothing here.
        count: prompts wanted.
        seed: of the choice.
        against: captions to measure how close the prompts are to, beside the candidates.

    Raises:
        UsageError: no such calibration, or too few prompts for it.
    """
    name, _ = parse_calibration(calibration)
    source = find_prompt_source(name)
    chosen = source.choose(PromptRequest(source.reads(prompts, count), count, seed, model))
    candidates = list(dict.fromkeys(chosen.candidates))
    vectors = model.embed_text(candidates)
    others = model.embed_text(against) if against else None
    tagger, place = audio_tagger(), {text: number for number, text in enumerate(candidates)}

    def selection(taken: Sequence[str]) -> Selection:
        own = vectors[[place[text] for text in taken]]
        return Selection(
            tuple(taken),
            own,
            measure(taken, text_similarity(vectors, own), tagger),
            None if others is None else measure(taken, text_similarity(others, own), tagger),
        )

    first = list(dict.fromkeys(prompts))[:count]
    return PromptStudy(name, vectors, selection(first), selection(chosen.prompts))
