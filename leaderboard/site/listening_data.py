"""What the listening page of a model reads: one JSON value, put into a script by `admbench.leaderboard.site.output`.

The scripts of the page read these keys and no others; lists named `clips` are in the order of `sources`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from admbench.leaderboard.fields import Section

RANGE_DB = 70.0
"""Decibels between the brightest and the darkest colour of a spectrogram."""
DIFFERENCE_DB = 30.0
"""Decibels at both ends of the colours of a difference."""


class Source(Section):
    """Where one clip of every caption comes from."""

    label: str
    """Name that is shown."""
    kind: Literal["reference", "baseline", "method"]
    """A recording, the model in full precision, or a method."""


class ScoreWords(Section):
    """A score that each clip has, or each caption has a part in."""

    key: str
    label: str
    higher_is_better: bool
    per: Literal["clip", "set"]
    """A clip's own number, or what a caption adds to the score of the set."""


class HeardClip(Section):
    """One clip, and what is known of it."""

    sha256: str | None = None
    """Of its WAV file; the name of the script that holds it. Null where there is no clip."""
    seconds: float | None = None
    rate: int | None = None
    """Hz."""
    channels: int | None = None
    loudness: float | None = None
    """LUFS by BS.1770; null for silence."""
    peak: float | None = None
    """Largest sample, of 1."""
    scores: dict[str, float] = Field(default_factory=dict)
    """By key of `ListeningData.scores`."""
    missing: str | None = None
    """Why there is no clip."""


class HeardCaption(Section):
    """One caption with a clip of every source."""

    id: str
    text: str
    seed: int | None
    chosen: Literal["even", "worst"]
    """Taken at even steps through the suite, or as one of the worst of a method. Blind tests take the even ones."""
    clips: list[HeardClip]


class ListeningData(Section):
    """The page of one model."""

    schema_version: Literal[1] = 1
    model: str
    suite: str
    suite_sha256: str | None
    n: int
    """Captions of the suite for which something was generated; the page may have fewer."""
    full: int | None
    """Place of full precision among the sources."""
    sources: list[Source]
    scores: list[ScoreWords]
    worst_by: str | None
    """Key of the score by which the worst captions were chosen."""
    captions: list[HeardCaption]
    range_db: float = RANGE_DB
    difference_db: float = DIFFERENCE_DB
    colours: dict[Literal["level", "difference"], str]
    """256 colours each, as 256 times six hex digits."""
