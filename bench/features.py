"""From clips on disk to features: files are read as written, so that scoring them later gives the same numbers."""

from __future__ import annotations

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
        return Features.load(path)
    features = embed_clips(clips, judges)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        features.save(path)
    except OSError as error:
        print(f"warning: {path.parent} cannot be written ({error.strerror}); features are not cached", file=sys.stderr)
    return features


def embed_clips(clips: Sequence[Clip], judges: Judges) -> Features:
    """Return the features of clips, read from disk.

    Raises:
        DataError: a file cannot be read, is empty, or differs in length from the others.
    """
    # At the files' own rates: at the tagger's 16 kHz a CLAP network at 48 kHz would never hear what is above 8 kHz.
    waveforms, rates = zip(*(read_audio(clip.path) for clip in clips), strict=True)
    captions = [clip.caption for clip in clips]
    return extract_features(
        [clip.id for clip in clips], waveforms, rates, captions, judges.tagger, judges.clap, BATCH_SIZE
    )
