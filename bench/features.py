"""From clips on disk to features: files are read as written, so that scoring them later gives the same numbers."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence

from admcore.hashing import sha256_file, sha256_json
from bench import cache
from bench.clips import Clip
from bench.judges import Judges
from bench.versions import source_sha256
from metrics.audio import read_audio
from metrics.extract import extract_features
from metrics.features import Features

BATCH_SIZE = 16


def cached_features(clips: Sequence[Clip], judges: Judges) -> Features:
    """Return the features of clips, from the user's cache if the very same clips were embedded before.

    Raises:
        DataError: a file cannot be read, or is empty.
    """
    content = [[clip.id, clip.caption, sha256_file(clip.path)] for clip in clips]
    path = cache.path("features", sha256_json([content, judges.identity, source_sha256("metrics")]), ".safetensors")
    if path.is_file():
        return with_files(Features.load(path), clips)
    features = embed_clips(clips, judges)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        features.save(path)
    except OSError as error:
        print(f"warning: {path.parent} cannot be written ({error.strerror}); features are not cached", file=sys.stderr)
    return features


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
