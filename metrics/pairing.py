"""Which clips of two sets are held together: those of one name, or each set as a whole. The user says, never the names.

A Frechet distance of 24 generated clips against the 24 real clips of the same captions, and one against all 48 real
clips there are, are different numbers: both have a use, and neither may come of how files happen to be called.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from admbench.metrics.features import Features

Pairing = Literal["paired", "whole"]
"""`paired`: clips of one name, captions taken away together; `whole`: each set as it is, without any names."""
PAIRED: Pairing = "paired"


@dataclass(frozen=True)
class Sets:
    """Two sets of clips that a score is of."""

    generated: Features
    against: Features
    about: dict[str, Any]
    """What the score says of them: `n` and, where something was left out, what."""


def pairs(generated: Features, against: Features, whose: str) -> Sets:
    """Return the clips of both sets that have a partner of their name, in the generated clips' order.

    Args:
        generated: n clips.
        against: m clips to compare with.
        whose: these are, for the reason.

    Returns:
        The pairs; `about` has `n`, the number of pairs, and those left out of either set, where there are any:
        `without_partner` of the generated clips and `against_left_out` of the others.

    Raises:
        ValueError: no two clips have one name.
    """
    known = set(against.ids)
    shared = [name for name in generated.ids if name in known]
    if not shared:
        raise ValueError(
            f"none of the {len(known)} {whose} clips has the name of one of the {len(generated.ids)} clips"
        )
    about = {"n": len(shared)}
    if lacking := len(generated.ids) - len(shared):
        about["without_partner"] = lacking
    if unused := len(against.ids) - len(shared):
        about["against_left_out"] = unused
    return Sets(generated if not lacking else generated.match(shared), against.match(shared), about)


def whole_sets(generated: Features, against: Features) -> Sets:
    """Return both sets as they are; clips of the other set lose their names, so that nothing is taken for a pair."""
    nameless = replace(against, ids=tuple(f"{row} of {len(against.ids)} others" for row in range(len(against.ids))))
    return Sets(generated, nameless, {"n": len(generated.ids), "against_n": len(against.ids), "pairing": "whole"})
