"""From clips on disk to features: files are read as written, so that scoring them later gives the same numbers."""

from __future__ import annotations

import dataclasses
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from admbench import cache
from admbench.bench.scoring.clips import Clip
from admbench.errors import DataError
from admbench.hashing import sha256_file, sha256_json
from admbench.judged import by_judge, judge_of, without_judge
from admbench.metrics.audio import Sound, read_audio
from admbench.metrics.embedders import registry as judge_registry
from admbench.metrics.extract import extract_features
from admbench.metrics.extractors import registry as extractor_registry
from admbench.metrics.extractors.base import CaptionExtractor, Extractor, Judges, judges_for
from admbench.metrics.features import Features
from admbench.progress import track
from admbench.versions import COMPUTING, distribution_versions, source_sha256

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from admbench.metrics.embedders.base import AudioEmbedder

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
    """Return what arrays depend on besides the clips: of each extractor its plug-in, its weights and its judges'."""
    arrays = [(one, judge) for one in extractors for _, judge in judges_for(one.role, judges)]
    packages = distribution_versions(COMPUTING["scoring"])
    return [source_sha256("admbench.metrics"), packages, [_identity(one, judge) for one, judge in arrays]]


def _identity(extractor: Extractor, judge: AudioEmbedder | None) -> list[str | None]:
    own: list[str | None] = [extractor_registry.identity(extractor.name).sha256, extractor.identity()]
    if judge is None:
        return own
    plugin = judge_registry.identity(judge.name).sha256 if judge.name in judge_registry else None
    return [*own, judge.name, plugin, judge.sha256, getattr(judge, "configuration_sha256", None)]


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
    alike: dict[tuple[tuple[str | None, ...], bool], list[Clip]] = defaultdict(list)
    for clip in with_work:
        alike[kept.lacking(clip), clip.caption is not None].append(clip)
    batches = [
        (seats, group[start : start + BATCH_SIZE])
        for (seats, _), group in alike.items()
        for start in range(0, len(group), BATCH_SIZE)
    ]
    for seats, batch in track(batches, "Embedding"):
        kept.compute(batch, seats)
    return with_files(kept.features(), clips)


class _Kept:
    """The features of clips in groups, a file a clip and group: those of each judge, and those that read none."""

    def __init__(self, clips: Sequence[Clip], extractors: Sequence[Extractor], judges: Judges) -> None:
        self.clips, self.judges = clips, judges
        self._groups: dict[str | None, list[Extractor]] = {None: []}  # always there: the levels of a clip
        for one in extractors:
            for name, _ in judges_for(one.role, judges):
                self._groups.setdefault(one.role and by_judge(one.role, name), []).append(one)
        self._identities = {seat: self._identity(seat) for seat in self._groups}
        self._paths = {clip.id: self._paths_of(clip) for clip in clips}
        self._rows = {
            clip.id: {seat: _read(path, clip.id) for seat, path in self._paths[clip.id].items()} for clip in clips
        }
        self._writable = True

    def lacking(self, clip: Clip) -> tuple[str | None, ...]:
        """Return the groups that a clip does not have yet."""
        return tuple(seat for seat, row in self._rows[clip.id].items() if row is None)

    def compute(self, clips: Sequence[Clip], seats: Sequence[str | None]) -> None:
        """Compute groups of a batch of clips and keep them; what cannot be read is raised once the others are kept."""
        sounds: dict[str, Sound] = {}
        unreadable: DataError | None = None
        for clip in clips:
            try:
                sounds[clip.id] = read_audio(clip.path)
            except DataError as error:
                unreadable = unreadable or error
        if sounds:
            captions = [clip.caption for clip in clips if clip.id in sounds]
            extractors = list(dict.fromkeys(one for seat in seats for one in self._groups[seat]))
            judges = {seat: self.judges[seat] for seat in seats if seat is not None}
            made = extract_features(list(sounds), sounds.values(), captions, extractors, judges, BATCH_SIZE)
            for seat in seats:
                part = self._part(made, seat)
                for name in part.ids:
                    self._rows[name][seat] = row = part.match([name])
                    self._write(self._paths[name][seat], row)
        if unreadable is not None:
            raise unreadable

    def _part(self, made: Features, seat: str | None) -> Features:
        """Return the arrays of one group as if its judge were the only one: kept, it does not say who sat beside it."""
        judge = judge_of(seat) if seat else None
        names = {"levels": "levels"} | {one.name: by_judge(one.name, judge) for one in self._groups[seat]}
        arrays = {own: made.arrays[name] for own, name in names.items() if name in made.arrays}
        return dataclasses.replace(made, arrays=arrays)

    def _identity(self, seat: str | None) -> list[Any]:
        alone = {} if seat is None else {without_judge(seat): self.judges[seat]}
        return identity(self._groups[seat], alone)

    def features(self) -> Features:
        """Return all that was asked for, in the order of the clips."""
        ids = tuple(clip.id for clip in self.clips)
        arrays: dict[str, NDArray[Any]] = {}
        for seat in self._groups:
            judge = judge_of(seat) if seat else None
            joined = Features.join([row for name in ids if (row := self._rows[name][seat]) is not None])
            for name, array in joined.arrays.items():
                if judge is None or name != "levels":  # which are the same in all groups
                    arrays[by_judge(name, judge)] = array
        return Features(ids, arrays)

    def _paths_of(self, clip: Clip) -> dict[str | None, Path]:
        content = sha256_file(clip.path)
        paths = {}
        for seat, group in self._groups.items():
            caption = clip.caption if any(isinstance(one, CaptionExtractor) for one in group) else None
            role = seat and without_judge(seat)
            key = sha256_json([content, caption, role, self._identities[seat]])
            paths[seat] = cache.path("features", key, ".safetensors")
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
