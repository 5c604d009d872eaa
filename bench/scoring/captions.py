"""Captions given to clips by name: which caption each generated clip is of, and which other clips belong to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from admbench.bench.scoring.clips import Clip
from admbench.bench.suites import load_suite
from admbench.bench.suites.matching import Match, Matcher, first_few
from admbench.bench.suites.spec import CaptionFileSpec
from admbench.errors import DataError
from admbench.metrics.needs import Whose

Clips = Mapping[Whose, Sequence[Clip]]


@dataclass(frozen=True)
class Captioned:
    """Clips with captions."""

    clips: dict[Whose, list[Clip]]
    without_clip: tuple[str, ...] = ()
    """Ids of the captions that no generated clip is of."""
    repeated: int = 0
    """Captions that several generated clips are of."""


def give_captions(clips: Clips, prompts: str | CaptionFileSpec) -> Captioned:
    """Return clips with the captions of a file; see `admbench.bench.suites.matching` for how they are matched.

    A clip of another folder that belongs to the caption of a generated clip gets that clip's id, so that the two are
    held together whatever either is called. A .txt file has a caption for each generated clip in the order of names.

    Args:
        clips: of each folder.
        prompts: suite, or caption file, or one with how it is read.

    Raises:
        DataError: a generated clip has no caption, or it could be that of several; or the file is broken.
    """
    where = str(prompts.file if isinstance(prompts, CaptionFileSpec) else prompts)
    items, generated = load_suite(prompts).items, clips["generated"]
    if where.lower().endswith(".txt"):
        if len(items) != len(generated):
            expected = "expected one caption per clip, in the order of the clips' names"
            raise DataError(f"{where}: {len(items)} captions for {len(generated)} clips; {expected}")
        own = [replace(clip, caption=item.caption) for clip, item in zip(generated, items, strict=True)]
        return Captioned({whose: list(one) for whose, one in clips.items()} | {"generated": own})
    matcher = Matcher(where, items)
    matches = {clip.id: match for clip in generated if (match := matcher.find(clip.id))}
    if missing := [clip.id for clip in generated if clip.id not in matches]:
        more = f", one of {len(missing)} without" if len(missing) > 1 else ""
        known = first_few(item.id for item in items)
        raise DataError(f"{where}: no caption for clip {missing[0]}{more}; its captions are of {known}")
    found: dict[Whose, list[Clip]] = {
        "generated": [replace(clip, caption=matches[clip.id].item.caption) for clip in generated]
    }
    ids = {_key(match): name for name, match in matches.items()}
    found |= {whose: _renamed(own, ids, matcher) for whose, own in clips.items() if whose != "generated"}
    counts = Counter(match.item.id for match in matches.values())
    return Captioned(
        found,
        tuple(item.id for item in items if item.id not in counts),
        sum(count > 1 for count in counts.values()),
    )


def _renamed(clips: Sequence[Clip], ids: Mapping[tuple[str, str], str], matcher: Matcher) -> list[Clip]:
    """Return clips of another folder under the ids of the generated clips that they belong to."""
    taken = {clip.id for clip in clips} & set(ids.values())
    renamed = []
    for clip in clips:
        match = None if clip.id in taken else matcher.find(clip.id)
        own = ids.get(_key(match)) if match else None
        if own is not None and own not in taken:
            taken.add(own)
            clip = replace(clip, id=own)
        renamed.append(clip)
    return renamed


def _key(match: Match) -> tuple[str, str]:
    return match.item.id, match.number
