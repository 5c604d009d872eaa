"""What has to be computed of which clips, so that some metrics have values: names of extractors."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Literal, get_args

from admbench.metrics.extractors import BUILTIN
from admbench.metrics.extractors.base import AudioExtractor, CaptionExtractor, Extractor, load_extractor
from admbench.metrics.keys import ScoreKey, requested_scores
from admbench.metrics.roles import roles_of

Whose = Literal["generated", "reference", "baseline"]
WHOSE: tuple[Whose, ...] = get_args(Whose)


def needed_extractors(
    metrics: Sequence[str], there: Collection[Whose] = WHOSE, captioned: Collection[Whose] = WHOSE
) -> dict[Whose, list[Extractor]]:
    """Return what is to be computed of each set of clips, so that every score that can have a value has it.

    What comes of a network that computes anyway is added: another metric may ask for it later.

    Args:
        metrics: registry names.
        there: the sets of clips that there are.
        captioned: those whose clips all have captions.

    Raises:
        UsageError: an unknown metric.
        PluginError: a metric or an extractor cannot be loaded.
    """
    names: dict[Whose, set[str]] = {whose: set() for whose in there}
    for requested in requested_scores(metrics, baseline="baseline" in there):
        for whose in _read_by(requested):
            needs = {need: load_extractor(need) for need in requested.metric.needs}
            if not _can_have_value(requested, needs.values(), there, captioned) or whose not in there:
                continue
            if _reads_captions(needs.values()) and whose not in captioned:
                continue
            names[whose] |= {name for name, one in needs.items() if whose != "baseline" or not one.compares}
    return {whose: _with_what_is_free(found) for whose, found in names.items()}


def _read_by(requested: ScoreKey) -> tuple[Whose, ...]:
    """Return the sets of clips that a score reads; the baseline's also for the difference to its own score."""
    return ("generated", "baseline") if requested.against != "reference" else ("generated", "reference", "baseline")


def _can_have_value(
    requested: ScoreKey, needs: Iterable[Extractor], there: Collection[Whose], captioned: Collection[Whose]
) -> bool:
    if _reads_captions(needs) and "generated" not in captioned:
        return False
    return requested.against is None or requested.against in there


def _reads_captions(extractors: Iterable[Extractor]) -> bool:
    return any(isinstance(one, CaptionExtractor) for one in extractors)


def _with_what_is_free(names: Collection[str]) -> list[Extractor]:
    """Return extractors by name, in the order of the names, and those of ours that read the same networks' output."""
    asked = [load_extractor(name) for name in names]
    computing = roles_of(one for one in asked if isinstance(one, AudioExtractor))
    ours = [load_extractor(name) for name in BUILTIN]
    free = {one.name for one in ours if isinstance(one, AudioExtractor) and one.role in computing}
    return [load_extractor(name) for name in sorted(free | set(names))]
