"""`mixup-prompt`: several classes in one prompt.

Mixup-class prompting (arXiv 2507.21947) fuses the labels of several classes in a single text prompt, to make synthetic
images that a classifier is calibrated on. Reconstructed from the abstract: its template and the number of classes are
not public here. A caption's classes are the sounds that it names, and the template is "A and B and C".
"""

from __future__ import annotations

from admbench.errors import UsageError
from admbench.methods.core.calibration.prompts.request import ChosenPrompts, PromptRequest
from admbench.methods.core.calibration.prompts.tagger import audio_tagger

CLASSES = 3
"""Sounds in a prompt; captions themselves often name two."""


def mix_prompts(request: PromptRequest) -> ChosenPrompts:
    """Join sounds of the user's prompts, three at a time.

    Every sound is used once before any is used again. The sounds of a prompt are different ones, if there are as many.

    Raises:
        UsageError: the prompts name fewer than two sounds.
    """
    tagger, rng = audio_tagger(), request.generator(0x313)
    sounds = list(dict.fromkeys(phrase for prompt in request.prompts for phrase in tagger.parts(prompt).phrases))
    if len(sounds) < 2:
        raise UsageError(f"mixup-prompt: {len(sounds)} different sounds in the prompts, at least 2 are needed")
    waiting: list[str] = []
    mixed = []
    for _ in range(request.count):
        fused: list[str] = []
        while len(fused) < min(CLASSES, len(sounds)):
            if not any(sound not in fused for sound in waiting):
                waiting += [sounds[number] for number in rng.permutation(len(sounds))]
            fused.append(waiting.pop(next(place for place, sound in enumerate(waiting) if sound not in fused)))
        mixed.append(" and ".join(fused))
    return ChosenPrompts(tuple(mixed), (*request.prompts, *mixed), {"classes_per_prompt": min(CLASSES, len(sounds))})
