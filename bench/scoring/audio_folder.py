"""What is in a folder of audio: every entry is a clip or is left out for a stated reason; none is lost unseen.

What has the suffix of an audio format is a clip, readable or not: whether it can be read is said of all clips together
(`admbench.bench.scoring.readable`). Clips lie in the folder itself, or in `audio/` as a run writes them.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from admbench.audio_files import AUDIO_SUFFIXES, is_audio_file
from admbench.bench.suites.matching import first_few
from admbench.errors import DataError
from admbench.files import inside, read_json
from admbench.leaderboard.run_folder import AUDIO, CAPTIONS_FILE

if TYPE_CHECKING:
    from admbench.metrics.needs import Whose

APPLE_DOUBLE = "._"
"""How macOS begins the name of what it notes on a file beside it, on file systems that have no place for notes."""


@dataclass(frozen=True)
class Listed:
    """A clip as a folder lists it."""

    name: str
    """Its file's name without suffix, or its id in captions.json; in Unicode's composed form, bytes that are no UTF-8
    as escapes."""
    path: Path
    caption: str | None
    """Of captions.json."""


@dataclass(frozen=True)
class AudioFolder:
    """The entries of a folder of audio."""

    clips: tuple[Listed, ...]
    """By name, or in the order of captions.json."""
    left_out: dict[str, str]
    """Entries that are no clips -> why; a folder's name ends in a slash."""


def read_audio_folder(folder: Path) -> AudioFolder:
    """Find the clips of a folder: those of its captions.json, else its audio files by name.

    Raises:
        DataError: there is no such folder or no audio in it, two clips have one name, or captions.json is damaged or
            lists a file that is not there or not in the folder.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: {'a file; expected a folder' if folder.exists() else 'no such folder'} of audio")
    try:
        listed = _of_captions_file(folder) if (folder / CAPTIONS_FILE).is_file() else None
        place = folder / AUDIO if (folder / AUDIO).is_dir() else folder
        own = {} if place == folder else _entries(folder, beside=True)
        left_out = own | _entries(place)
        if listed is None:
            listed = [Listed(_plain(path.stem), path, None) for path in sorted(place.iterdir()) if _is_clip(path)]
        else:
            known = {clip.path for clip in listed}
            unlisted = (path for path in sorted(place.iterdir()) if _is_clip(path) and path not in known)
            left_out |= {_shown(path.name): f"not listed in {CAPTIONS_FILE}" for path in unlisted}
    except OSError as error:
        raise DataError(f"{error.filename or folder}: cannot be read ({error.strerror})") from error
    if not listed:
        raise DataError(f"{folder}: no audio; expected {', '.join(AUDIO_SUFFIXES)} files{_found(left_out)}")
    _refuse_duplicates(folder, listed)
    return AudioFolder(tuple(listed), left_out)


def left_out_in_words(left_out: Mapping[Whose, Mapping[str, str]]) -> list[str]:
    """Return a line for each reason for which entries of folders were left out.

    Args:
        left_out: by whose folder it is, entries that are no clips -> why.

    >>> left_out_in_words({"generated": {"a.m4a": "no audio", "b.m4a": "no audio"}})
    ['left out of the generated folder: a.m4a, b.m4a: no audio']
    """
    lines = []
    for whose, entries in left_out.items():
        for reason in dict.fromkeys(entries.values()):
            names = first_few(name for name, why in entries.items() if why == reason)
            lines.append(f"left out of the {whose} folder: {names}: {reason}")
    return lines


def _is_clip(path: Path) -> bool:
    return is_audio_file(path) and not path.name.startswith(".") and not path.is_dir()


def _entries(place: Path, *, beside: bool = False) -> dict[str, str]:
    """Return what is no clip in a place, with why; `beside`: of a folder whose clips are in `audio/`, none is one."""
    found = {}
    for path in sorted(place.iterdir()):
        name = _shown(path.name)
        if path.is_dir():
            if not beside and not path.name.startswith("."):
                found[f"{name}/"] = "a folder within; name it to score what is in it"
        elif path.name.startswith(APPLE_DOUBLE):
            found[name] = "a note of macOS on another file"
        elif path.name.startswith("."):
            found[name] = "a hidden file"
        elif is_audio_file(path):
            if beside:
                found[name] = f"beside the folder {AUDIO}/, whose clips are read"
        elif not beside:
            found[name] = "its suffix is of no audio format that is read"
    return {name: why for name, why in found.items() if name not in (CAPTIONS_FILE, f"{AUDIO}/")}


def _of_captions_file(folder: Path) -> list[Listed]:
    path = folder / CAPTIONS_FILE
    entries = read_json(path)
    if not isinstance(entries, list):
        raise DataError(f"{path}: expected a list of clips")
    clips = []
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in ("id", "caption")):
            raise DataError(f'{path}: entry {index}: expected texts "id" and "caption"')
        name = entry.get("file", f"{AUDIO}/{entry['id']}.wav")
        if not isinstance(name, str) or "\0" in name or not inside(folder, folder / name):
            raise DataError(f'{path}: entry {index}: "file" must be a path within the folder, found {ascii(name)[:80]}')
        if not (folder / name).is_file():
            raise DataError(f"{folder / name}: no such file, but {path} lists it")
        clips.append(Listed(entry["id"], folder / name, entry["caption"]))
    return clips


def _refuse_duplicates(folder: Path, clips: Sequence[Listed]) -> None:
    seen: dict[str, Path] = {}
    for clip in clips:
        if clip.name in seen:
            files = f"{_shown(seen[clip.name].name)} and {_shown(clip.path.name)}"
            raise DataError(f"{folder}: two clips are called {clip.name}: {files}")
        seen[clip.name] = clip.path


def _found(left_out: dict[str, str]) -> str:
    if not left_out:
        return ""
    name, why = next(iter(left_out.items()))
    more = f" and {len(left_out) - 1} more" if len(left_out) > 1 else ""
    return f"; found {name}{more} ({why})"


def _plain(name: str) -> str:
    """Return a name so that it is the same whether macOS or another system wrote it."""
    return unicodedata.normalize("NFC", _shown(name))


def _shown(name: str) -> str:
    """Return a file's name with bytes that are no UTF-8 as escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
