"""From clips on disk to features: files are read as written, so that scoring them later gives the same numbers."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from admbench import cache
from admbench.bench.scoring.clips import Clip
from admbench.bench.scoring.judges import Judges
from admbench.hashing import sha256_file, sha256_json
from admbench.metrics.audio import read_audio
from admbench.metrics.extract import extract_features
from admbench.metrics.features import Features
from admbench.versions import source_sha256

BATCH_SIZE = 16


def cached_features(clips: Sequence[Clip], judges: Judges) -> Features:
    """Return the features of clips; those that were embedded before, in whatever folder, come from the user's cache.

    Raises:
        DataError: a file cannot be read, or is empty.
    """
    version = [judges.identity, source_sha256("admbench.metrics")]
    paths = [
        cache.path("features", sha256_json([clip.caption, sha256_file(clip.path), version]), ".safetensors")
        for clip in clips
    ]
    rows = {
        clip.id: dataclasses.replace(Features.load(path), ids=(clip.id,))
        for clip, path in zip(clips, paths, strict=True)
        if path.is_file()
    }
    new = {clip.id: clip for clip in clips if clip.id not in rows}
    # apart: among clips of which one has no caption, no caption is embedded
    for captioned in (True, False):
        alike = [clip for clip in new.values() if (clip.caption is not None) == captioned]
        if alike:
            embedded = embed_clips(alike, judges)
            rows |= {clip.id: embedded.match([clip.id]) for clip in alike}
    _keep({path: rows[clip.id] for clip, path in zip(clips, paths, strict=True) if clip.id in new})
    return with_files(Features.join([rows[clip.id] for clip in clips]), clips)


def _keep(rows: Mapping[Path, Features]) -> None:
    for path, features in rows.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            features.save(path)
        except OSError as error:
            reason = f"{path.parent} cannot be written ({error.strerror})"
            print(f"warning: {reason}; features are not cached", file=sys.stderr)
            return


def with_files(features: Features, clips: Sequence[Clip]) -> Features:
    """Return features that know where their clips lie, for metrics of waveforms; they are of the same clips."""
    path_of = {clip.id: clip.path for clip in clips}
    return dataclasses.replace(features, files=tuple(path_of[name] for name in features.ids))


def embed_clips(clips: Sequence[Clip], judges: Judges) -> Features:
    """Return the features of clips, read from disk.

    Raises:
        DataError: a file cannot be read, is empty, or holds a sample that is not finite.
    """
    ids, captions = [clip.id for clip in clips], [clip.caption for clip in clips]
    sounds = (read_audio(clip.path) for clip in clips)
    return with_files(extract_features(ids, sounds, captions, judges.tagger, judges.clap, BATCH_SIZE), clips)
