"""The embedded suite: 260 captions of the corpus's test split, each with its reference clip.

`foley.jsonl` beside this file is the suite. Each line holds id, caption, the seed that audio is generated from, the
event that the item stands for, the structure, the specification of its reference clip (rendered when asked for), and
the hash of that clip's audio. :func:`compose` made it; it is kept as a file so that the suite is what was hashed,
whatever becomes of the code that drew it.
"""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from admbench.bench.suites.base import SuiteItem
from admbench.bench.suites.shipped import ShippedSuite

if TYPE_CHECKING:
    from admbench.bench.suites.corpus.corpus import ClipSpec

ITEMS_PER_EVENT = 10
SINGLES_PER_EVENT = 6


class Foley(ShippedSuite):
    """Foley sounds with 26 events, alone, at the same time and one after the other."""

    name = "foley"
    summary = "260 captions of 26 sound events, alone, together and in turn, with reference clips (embedded)"
    file = "foley.jsonl"

    @cached_property
    def items(self) -> tuple[SuiteItem, ...]:
        """The captions; strata are the event that an item stands for, and the structure."""
        return tuple(
            SuiteItem(
                id=line["id"],
                caption=line["caption"],
                seed=line["seed"],
                strata={"event": line["event"], "structure": line["structure"]},
                reference=line["id"],
            )
            for line in self._lines.values()
        )

    def clip(self, item: SuiteItem) -> ClipSpec:
        """Return the specification of an item's reference clip. Raises KeyError if the item is not of this suite."""
        from admbench.bench.suites.corpus.corpus import ClipSpec

        line = self._lines[item.id]
        shared = {key: line[key] for key in ("id", "caption", "structure")}
        return ClipSpec.from_json(line["clip"] | shared)

    def reference_audio(self, item: SuiteItem) -> NDArray[np.float32]:
        """Render an item's reference clip: float32 (40960,)."""
        from admbench.bench.suites.corpus.corpus import render

        return render(self.clip(item))

    @cached_property
    def _lines(self) -> dict[str, dict[str, Any]]:
        lines = map(json.loads, self.lines)
        return {line["id"]: line for line in lines}


def compose() -> str:
    """Return the content of foley.jsonl as the corpus gives it today.

    Ten items for each event: six of it alone, and two or three each with a second one at the same time and after it,
    by turns, so that the whole has the corpus's mix of 60, 25 and 15 %. No caption comes twice.
    """
    from admbench.bench.suites.corpus.corpus import EVENTS

    seen: set[str] = set()
    lines = []
    for number, event in enumerate(EVENTS):
        together = 3 if number % 2 == 0 else 2
        counts = {
            "single": SINGLES_PER_EVENT,
            "simultaneous": together,
            "sequential": ITEMS_PER_EVENT - SINGLES_PER_EVENT - together,
        }
        for structure, count in counts.items():
            for clip in _draw_unseen(structure, event, count, seen):
                lines.append(json.dumps(_line(clip, event)))
    return "\n".join(lines) + "\n"


def _draw_unseen(structure: str, event: str, count: int, seen: set[str]) -> list[ClipSpec]:
    """Draw the first `count` test clips whose captions are not in `seen`, and add them to it."""
    from admbench.bench.suites.corpus.corpus import draw_clip

    clips: list[ClipSpec] = []
    index = 0
    while len(clips) < count:
        clip = draw_clip("test", index, structure=structure, event=event)
        if clip.caption not in seen:
            seen.add(clip.caption)
            clips.append(clip)
        index += 1
    return clips


def _line(clip: ClipSpec, event: str) -> dict[str, Any]:
    from admbench.bench.suites.corpus.corpus import pcm16, render

    values = clip.to_json()
    return {
        "id": clip.id,
        "caption": clip.caption,
        "seed": clip.seed % 2**31,
        "event": event,
        "structure": clip.structure,
        "clip": {key: values[key] for key in ("split", "events", "seed")},
        "reference_sha256": hashlib.sha256(pcm16(render(clip)).tobytes()).hexdigest(),
    }
