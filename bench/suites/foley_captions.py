"""The captions-only suite: 308 sentences as an annotator would write them, over all families of AudioSet's ontology.

`foley_captions.csv` beside this file is the suite. Every caption was written for it, from no template; none is from
AudioCaps, Clotho or another data set. There are 11 for each of the seven top-level families of the ontology (Gemmeke et
al., "Audio Set", ICASSP 2017) and each of four polyphonies, and among those 11 at least one that states the loudness,
the distance, the pitch, the rate and the brightness of a sound.

The columns that other caption files do not have:

- `family`: human, animal, music, things, natural, ambiguous (the source is not to be told), environment (channel,
  environment and background);
- `polyphony`: single, simultaneous (two sounds), sequential (one after the other), several (three or more sounds);
- `attributes`: what the caption states, as words of :data:`ATTRIBUTES`, or `none`.

There is no real audio of these scenes, so that scores against a reference are null; CLAP, IS and the scores against the
full-precision model's own audio are what the suite is for.
"""

from __future__ import annotations

import csv
from functools import cached_property

from admbench.bench.suites.base import SuiteItem
from admbench.bench.suites.shipped import ShippedSuite

ATTRIBUTES = {
    "loudness": ("quiet", "loud"),
    "distance": ("near", "far"),
    "pitch": ("low", "high"),
    "rate": ("slow", "fast"),
    "brightness": ("dull", "bright"),
}
"""Attribute -> its two words in the file."""


class FoleyCaptions(ShippedSuite):
    """Captions of everyday sounds in free English, without reference clips."""

    name = "foley-captions"
    summary = "308 captions in free English over AudioSet's families, without reference clips (embedded)"
    file = "foley_captions.csv"

    @cached_property
    def items(self) -> tuple[SuiteItem, ...]:
        """The captions; strata are family, polyphony and the stated attributes."""
        return tuple(
            SuiteItem(
                id=row["id"],
                caption=row["caption"],
                seed=int(row["seed"]),
                strata={key: row[key] for key in ("family", "polyphony", "attributes")},
            )
            for row in csv.DictReader(self.lines)
        )
