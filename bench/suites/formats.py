"""The columns of caption files: plain ones, or those of AudioCaps and Clotho brought to the plain ones.

AudioCaps (Kim et al., NAACL 2019) has a row per caption, `audiocap_id,youtube_id,start_time,caption`: one for each clip
of the training split, five for those of validation and test. Clotho (Drossos et al., ICASSP 2020) has a row per clip,
`file_name,caption_1,...,caption_5`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from admbench.audio_files import is_audio_file
from admbench.bench.suites.matching import clip_name
from admbench.errors import DataError
from admbench.files import slug

Format = Literal["plain", "audiocaps", "clotho"]
Encoding = Literal["utf-8", "iso-8859-1", "windows-1252"]
Captions = Literal["first", "all"]
"""Of a clip with several captions: its first, or every one as an item of its own."""

PLAIN = ("caption", "id", "seed", "reference", "file_name")
"""`caption` must be there; other columns than these are ignored, unless one looks like a misspelt one of these."""
CLOTHO_CAPTIONS = tuple(f"caption_{number}" for number in range(1, 6))
IMPORTED: dict[Format, tuple[str, ...]] = {
    "audiocaps": ("audiocap_id", "youtube_id", "start_time", "caption"),
    "clotho": ("file_name", *CLOTHO_CAPTIONS),
}
"""The columns, all needed, by which a .csv file is recognised as one of these."""

_COLUMN = re.compile(r"[\w .;()\t-]{0,40}")
CLIP_SECONDS = 10
"""Length of an AudioCaps clip, which some file names hold as the end of the clip."""


class Row(NamedTuple):
    """One caption of a file."""

    line: int
    """Line of the file, from 1."""
    values: Mapping[str, Any]
    """By the columns of :data:`PLAIN`."""
    column: str = "caption"
    """Where the caption stands in the file."""
    clips: tuple[str, ...] = ()
    """Names, without suffix, that a clip may have in a folder of clips."""


def recognise(columns: Iterable[str]) -> Format:
    """Return the format that has all of its columns among these."""
    present = set(columns)
    return next((name for name, needed in IMPORTED.items() if present.issuperset(needed)), "plain")


def check_columns(where: str, columns: Iterable[str], format: Format) -> None:
    """Refuse a missing column, one given twice, and in a plain file what seems to be a misspelt column.

    Raises:
        DataError: names the column, and those that are there. What cannot be the name of one is not told: the file may
            be a link to any other.
    """
    columns = list(columns)
    known = IMPORTED.get(format, PLAIN)
    for column in known:
        if columns.count(column) > 1:
            raise DataError(f'{where}: column "{column}" comes twice')
        misspelt = difflib.get_close_matches(column, columns, n=1, cutoff=0.85)
        if format == "plain" and misspelt and column not in columns:
            raise DataError(f'{where}: unknown column "{misspelt[0]}". Did you mean "{column}"?')
    needed = IMPORTED.get(format, ("caption",))
    for column in needed:
        if column not in columns:
            found = ", ".join(name if _COLUMN.fullmatch(name) else "..." for name in columns) or "none"
            expected = f"; format {format} needs {', '.join(needed)}" if format in IMPORTED else ""
            raise DataError(f'{where}: no column "{column}" (columns found: {found}){expected}')


def from_audiocaps(path: Path, rows: Iterable[Row], captions: Captions) -> Iterator[Row]:
    """Bring rows of AudioCaps to plain ones: ids are `YOUTUBEID_START`, with `_1`, `_2`, ... if all captions are taken.

    Raises:
        DataError: a youtube_id or start_time that is none; names file and line.
    """
    seen: dict[str, int] = {}
    for row in rows:
        youtube_id, start = _youtube_id(path, row), _start(path, row)
        clip = f"{youtube_id}_{start}"
        seen[clip] = seen.get(clip, 0) + 1
        if captions == "first" and seen[clip] > 1:
            continue
        identifier = clip if captions == "first" else f"{clip}_{seen[clip]}"
        values = {"caption": row.values["caption"], "id": identifier}
        yield Row(row.line, values, clips=_audiocaps_names(youtube_id, start, row.values["audiocap_id"]))


def from_clotho(path: Path, rows: Iterable[Row], captions: Captions) -> Iterator[Row]:
    """Bring rows of Clotho to plain ones: ids are the file's name made safe, with `_1` to `_5` if all are taken.

    Raises:
        DataError: a file_name that is none; names file and line.
    """
    for row in rows:
        name = row.values["file_name"]
        stem = Path(name or "").stem
        if not stem or name != stem + Path(name).suffix or not is_audio_file(name):
            raise DataError(f'{path}:{row.line}: expected an audio file\'s name in column "file_name", found {name!r}')
        for number, column in enumerate(CLOTHO_CAPTIONS if captions == "all" else CLOTHO_CAPTIONS[:1], start=1):
            identifier = f"{slug(stem)}_{number}" if captions == "all" else slug(stem)
            yield Row(row.line, {"caption": row.values[column], "id": identifier}, column, clips=(stem,))


def _youtube_id(path: Path, row: Row) -> str:
    value = row.values["youtube_id"]
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,50}", value or ""):
        raise DataError(
            f"{path}:{row.line}: expected letters, digits, '_' and '-' in column \"youtube_id\", found {value!r}"
        )
    return str(value)


def _start(path: Path, row: Row) -> str:
    """Return the start of a clip in seconds as it stands in names: `30` for 30 and 30.000."""
    value = row.values["start_time"]
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", value or ""):
        raise DataError(f'{path}:{row.line}: expected seconds in column "start_time", found {value!r}')
    return f"{float(value):.6f}".rstrip("0").rstrip(".")


def _audiocaps_names(youtube_id: str, start: str, audiocap_id: str) -> tuple[str, ...]:
    """Return the names under which downloaders of AudioSet and AudioCaps keep a clip.

    With and without a leading `Y`: the id alone, or followed by the start, or by start and end, in seconds, in seconds
    with three decimals, or in milliseconds. Or the number of the caption.
    """
    begin, end = float(start), float(start) + CLIP_SECONDS
    of_times = [(f"{time:.6f}".rstrip("0").rstrip("."), f"{time:.3f}", f"{time * 1000:.0f}") for time in (begin, end)]
    parts = [youtube_id]
    for first, last in zip(*of_times, strict=True):
        parts += [f"{youtube_id}_{first}", f"{youtube_id}_{first}_{last}"]
    return tuple(dict.fromkeys([*parts, *(f"Y{part}" for part in parts), audiocap_id]))


class ClipFolder:
    """A folder of reference clips, in which not every clip has to be.

    Raises:
        DataError: there is no such folder, or it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._files: dict[str, list[str]] = {}
        try:
            names = sorted(entry.name for entry in path.iterdir())
        except OSError as error:
            raise DataError(f"{path}: expected a folder of reference clips ({error.strerror})") from None
        for name in names:
            if is_audio_file(name) and not name.startswith("."):
                self._files.setdefault(clip_name(name), []).append(name)

    def find(self, where: str, names: Iterable[str]) -> str | None:
        """Return the file of a clip that may have any of these names, without suffix; None if it is not there.

        Raises:
            DataError: more than one file could be the clip, or it is no regular file; names `where` and the files.
        """
        found = [file for name in dict.fromkeys(map(clip_name, names)) for file in self._files.get(name, ())]
        if len(found) > 1:
            raise DataError(f"{where}: {self.path} has {len(found)} files for one clip: {', '.join(found)}")
        if found and not (self.path / found[0]).is_file():
            raise DataError(f"{where}: {self.path / found[0]}: expected a regular file")
        return found[0] if found else None
