"""From clips on disk to features: files are read as written, so that scoring them later gives the same numbers."""

from __future__ import annotations

import dataclasses
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from admbench import cache
from admbench.bench.scoring.clips import Clip
from admbench.errors import DataError
from admbench.hashing import sha256_file, sha256_json
from admbench.metrics.audio import Sound, read_audio
from admbench.metrics.extract import extract_features
from admbench.metrics.extractors.base import CaptionExtractor, Extractor, Judges, Role
from admbench.metrics.features import Features
from admbench.progress import track
from admbench.versions import plugin_identity, source_sha256

BATCH_SIZE = 16


def embed_clips(clips: Sequence[Clip], extractors: Sequence[Extractor], judges: Judges) -> Features:
    """Return the features of clips, read from disk.

    Raises:
        DataError: a file cannot be read, is empty, or holds a sample that is not finite.
    """
    sounds = (read_audio(clip.path) for clip in track(clips, "Embedding"))
    ids, captions = [clip.id for clip in clips], [clip.caption for clip in clips]
    return with_files(extract_features(ids, sounds, captions, extractors, judges, BATCH_SIZE), clips)


def with_files(features: Features, clips: Sequence[Clip]) -> Features:
    """Return features that know where their clips lie, for metrics of waveforms; they are of the same clips."""
    path_of = {clip.id: clip.path for clip in clips}
    return dataclasses.replace(features, files=tuple(path_of[name] for name in features.ids))


def identity(extractors: Iterable[Extractor], judges: Judges) -> list[Any]:
    """Return what arrays depend on besides the clips: of each extractor its code, its version and its judge."""
    return [source_sha256("admbench.metrics"), [_identity(one, judges) for one in extractors]]


def _identity(extractor: Extractor, judges: Judges) -> list[str | None]:
    code = plugin_identity("admbench.extractors", extractor.name)
    own: list[str | None] = [extractor.name, code, extractor.identity()]
    if extractor.role is None:
        return own
    judge = judges[extractor.role]
    return [*own, judge.name, judge.sha256]


def cached_features(clips: Sequence[Clip], extractors: Sequence[Extractor], judges: Judges) -> Features:
    """Return the features of clips; those that were computed before, in whatever folder, come from the user's cache.

    What is computed is kept batch by batch, each judge's arrays by themselves: a file that cannot be read costs none of
    the others, and another metric later only what its own judge has to compute.

    Raises:
        DataError: a file cannot be read, is empty, or holds a sample that is not finite; those before it are kept.
    """
    kept = _Kept(clips, extractors, judges)
    with_work = [clip for clip in clips if kept.lacking(clip)]
    # apart: among clips of which one has no caption, nothing of captions is computed
    alike: dict[tuple[tuple[Role | None, ...], bool], list[Clip]] = defaultdict(list)
    for clip in with_work:
        alike[kept.lacking(clip), clip.caption is not None].append(clip)
    batches = [
        (roles, group[start : start + BATCH_SIZE])
        for (roles, _), group in alike.items()
        for start in range(0, len(group), BATCH_SIZE)
    ]
    for roles, batch in track(batches, "Embedding"):
        kept.compute(batch, roles)
    return with_files(kept.features(), clips)


class _Kept:
    """The features of clips in groups, a file a clip and group: those of each role, and those that read no judge."""

    def __init__(self, clips: Sequence[Clip], extractors: Sequence[Extractor], judges: Judges) -> None:
        self.clips, self.judges = clips, judges
        self._groups: dict[Role | None, list[Extractor]] = {None: []}  # always there: the levels of a clip
        for one in extractors:
            self._groups.setdefault(one.role, []).append(one)
        self._identities = {role: identity(group, judges) for role, group in self._groups.items()}
        self._paths = {clip.id: self._paths_of(clip) for clip in clips}
        self._rows = {
            clip.id: {role: _read(path, clip.id) for role, path in self._paths[clip.id].items()} for clip in clips
        }
        self._writable = True

    def lacking(self, clip: Clip) -> tuple[Role | None, ...]:
        """Return the groups that a clip does not have yet."""
        return tuple(role for role, row in self._rows[clip.id].items() if row is None)

    def compute(self, clips: Sequence[Clip], roles: Sequence[Role | None]) -> None:
        """Compute groups of a batch of clips and keep them; what cannot be read is raised once the others are kept."""
        sounds: dict[str, Sound] = {}
        unreadable: DataError | None = None
        for clip in clips:
            try:
                sounds[clip.id] = read_audio(clip.path)
            except DataError as error:
                unreadable = unreadable or error
        captions = [clip.caption for clip in clips if clip.id in sounds]
        for role in roles if sounds else ():
            made = extract_features(
                list(sounds), sounds.values(), captions, self._groups[role], self.judges, BATCH_SIZE
            )
            for name in made.ids:
                self._rows[name][role] = row = made.match([name])
                self._write(self._paths[name][role], row)
        if unreadable is not None:
            raise unreadable

    def features(self) -> Features:
        """Return all that was asked for, in the order of the clips."""
        ids = tuple(clip.id for clip in self.clips)
        joined = [
            Features.join([row for name in ids if (row := self._rows[name][role]) is not None]) for role in self._groups
        ]
        return Features(ids, {name: array for group in joined for name, array in group.arrays.items()})

    def _paths_of(self, clip: Clip) -> dict[Role | None, Path]:
        content = sha256_file(clip.path)
        paths = {}
        for role, group in self._groups.items():
            caption = clip.caption if any(isinstance(one, CaptionExtractor) for one in group) else None
            key = sha256_json([content, caption, role, self._identities[role]])
            paths[role] = cache.path("features", key, ".safetensors")
        return paths

    def _write(self, path: Path, row: Features) -> None:
        """Write a row, until that fails: then say so once."""
        if not self._writable:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            row.save(path)
        except OSError as error:
            self._writable = False
            reason = f"{path.parent} cannot be written ({error.strerror})"
            print(f"warning: {reason}; features are not cached", file=sys.stderr)


def _read(path: Path, name: str) -> Features | None:
    """Return the cached features of a clip; None if there are none, or none that can be read."""
    try:
        if not path.is_file():
            return None
        row = Features.load(path)
        if len(row.ids) != 1:
            raise DataError(f"{path}: expected the features of one clip, found {len(row.ids)}")
        return dataclasses.replace(row, ids=(name,))
    except (DataError, OSError) as error:
        print(f"warning: {error}; computed again", file=sys.stderr)
        return None
