"""What a calibration's prompts cover of what audio can be, before and after a prompt source has chosen: numbers."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from admcore.errors import DataError
from admcore.files import write_json_atomic
from methods.prompts import find_prompt_source
from methods.prompts.measure import PromptCoverage, measure, text_similarity
from methods.prompts.request import PromptRequest, TextEncoder
from methods.prompts.tagger import audio_tagger
from methods.samplers.recipe import parse_calibration

PROMPTS_FILE, NUMBERS_FILE, PICTURE_FILE = "prompts.csv", "coverage.json", "coverage.png"


@dataclass(frozen=True)
class Selection:
    """A list of prompts, as the model and the lexicon see it."""

    prompts: tuple[str, ...]
    vectors: Tensor
    """(n, width), of the model's text encoder."""
    coverage: PromptCoverage
    """Of the candidates."""
    against: PromptCoverage | None
    """The same, but for other captions than the candidates as what the text embedding is to be near to."""


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
        against: captions to measure the nearness of the prompts to, beside the candidates.

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


def write_study(study: PromptStudy, folder: Path) -> None:
    """Write the prompts with what each states, the numbers, and the picture.

    Raises:
        DataError: the folder cannot be written.
    """
    from bench.prompt_picture import draw_study

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / PROMPTS_FILE).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["id", "caption", "from", "states", "unknown_words"])
            writer.writerows(_rows(study))
        write_json_atomic(folder / NUMBERS_FILE, _numbers(study))
        draw_study(study, folder / PICTURE_FILE)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written ({error.strerror or error})") from error


def _rows(study: PromptStudy) -> Iterable[tuple[str, ...]]:
    tagger = audio_tagger()
    for number, prompt in enumerate(study.after.prompts, start=1):
        tags = tagger.tag(prompt)
        origin = "user" if prompt in study.before.prompts else study.source
        stated = " ".join(f"{aspect}={value}" for aspect, value in sorted(tags.values))
        yield f"p{number:05d}", prompt, origin, stated, " ".join(tags.unknown)


def _numbers(study: PromptStudy) -> dict[str, object]:
    numbers: dict[str, object] = {"prompt_source": study.source, "candidates": len(study.candidates)}
    for when, selection in (("before", study.before), ("after", study.after)):
        numbers[f"coverage_{when}"] = selection.coverage.summary()
        if selection.against is not None:
            numbers[f"text_against_{when}"] = selection.against.text
    return numbers
