"""Which files are audio: one list for generated clips, references, and the names in caption files."""

from __future__ import annotations

from pathlib import PurePath

AUDIO_SUFFIXES = (".wav", ".wave", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif")
"""Of the formats that are read, all through libsndfile; upper case counts as well."""


def is_audio_file(name: str | PurePath) -> bool:
    """Return whether a file's name has the suffix of an audio format.

    >>> is_audio_file("rain.AIFF"), is_audio_file("rain.txt")
    (True, False)
    """
    return PurePath(name).suffix.lower() in AUDIO_SUFFIXES
