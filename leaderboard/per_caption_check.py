"""Are per-caption results those of the record they lie beside? What `bench validate` reads in a cell's folder."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from admbench.errors import DataError
from admbench.leaderboard.clips import MAX_WAV_BYTES, Clip
from admbench.leaderboard.inference.contrasts import contrast
from admbench.leaderboard.per_caption import HEALTH, PerCaption, disagreements
from admbench.leaderboard.record import Record
from admbench.leaderboard.run_folder import AUDIO, CAPTIONS_FILE
from admbench.leaderboard.untrusted import read_bytes

TOLERANCE = 1e-6
"""Relative difference that counts as the same."""


@dataclass(frozen=True)
class FullPrecision:
    """The full-precision cell of a model, which differences are to."""

    record: Record
    content: PerCaption


def contradictions(
    content: PerCaption,
    record: Record,
    run: Path,
    cell: Path,
    clips: Sequence[Clip],
    full: FullPrecision | None,
    *,
    audio: bool = True,
) -> Iterator[str]:
    """Yield what does not belong together, a line each.

    Args:
        content: per-caption results.
        record: beside which they lie.
        run: the run folder.
        cell: the folder of both.
        clips: listed in its captions.json; none if there is no such file.
        full: the cell of the same model in full precision; None if differences cannot be computed again.
        audio: whether clips that are there are hashed.
    """
    if record.status != "done":
        yield f"per-caption results of a cell that is {record.status}"
    yield from disagreements(content, record.scores, tolerance=TOLERANCE)
    yield from _counts(content, record)
    if clips and content.captions != tuple(clip.id for clip in clips):
        yield f"captions: not those of {CAPTIONS_FILE} in their order"
    if audio:
        yield from _other_clips(content, run, cell)
    if full is not None and _comparable(record, full.record):
        yield from _differences(content, record, full)


def _counts(content: PerCaption, record: Record) -> Iterator[str]:
    """The record counts the captions and the faulty clips that are marked."""
    n = len(content.captions)
    if record.suite.n is not None and record.suite.n != n:
        yield f"captions: {n}, but suite.n is {record.suite.n}"
    for fault in HEALTH if record.audio is not None else ():
        marked, counted = int(content.health[fault].sum()), getattr(record.audio, fault)
        if marked != counted:
            yield f"health.{fault}: {marked} clips, but audio.{fault} is {counted}"


def _other_clips(content: PerCaption, run: Path, cell: Path) -> Iterator[str]:
    """Clips that are there have the hashes that are kept; a record may have been published without them."""
    others = []
    for name, digest in zip(content.captions, content.clip_sha256, strict=True):
        path = cell / AUDIO / f"{name}.wav"
        if not path.exists() and not path.is_symlink():
            continue
        try:
            data = read_bytes(run, path, MAX_WAV_BYTES)
        except DataError as error:
            yield f"clip_sha256: {error}"
            continue
        if hashlib.sha256(data).hexdigest() != digest:
            others.append(path.name)
    if others:
        yield f"clip_sha256: {len(others)} of the clips in {AUDIO}/ are others than were scored, such as {others[0]}"


def _comparable(record: Record, full: Record) -> bool:
    """Whether two cells are of one model, suite and sampling, as those of a run are unless a grid was changed."""
    return (record.model, record.suite, record.generation) == (full.model, full.suite, full.generation)


def _differences(content: PerCaption, record: Record, full: FullPrecision) -> Iterator[str]:
    """A score's paired difference to full precision's is what both cells' results give."""
    for key, score in content.scores.items():
        recorded, base = record.scores.get(key), full.record.scores.get(key)
        known = recorded.difference if recorded else None
        if recorded is None or base is None or known is None or known.value is None or known.ci95 is None:
            continue
        if recorded.backbone_sha256 != base.backbone_sha256:
            continue
        try:
            theirs = full.content.influence(key, content.captions_of(key))
            own = contrast(content.as_recorded(content.influence(key, content.captions_of(key))), theirs)
        except ValueError:
            continue  # full precision has no such score of these captions
        found = (own.estimate, *score.kind.difference_inside(own.interval()))
        claimed = (known.value, *score.kind.difference_inside((known.ci95[0], known.ci95[1])))
        scale = max(map(abs, (*found, score.influence.value)))
        if not all(
            math.isclose(*both, rel_tol=TOLERANCE, abs_tol=TOLERANCE * scale)
            for both in zip(claimed, found, strict=True)
        ):
            shown = ("{:g} [{:g}, {:g}]".format(*numbers) for numbers in (claimed, found))
            yield f"scores.{key}.difference: {', per caption '.join(shown)}"
