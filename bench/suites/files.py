"""A user's own captions: a .csv, .jsonl or .txt file read as a suite, or refused with the line that is wrong."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from admbench.bench.suites.base import Suite, SuiteItem
from admbench.bench.suites.formats import (
    IMPORTED,
    Captions,
    ClipFolder,
    Encoding,
    Format,
    Row,
    check_columns,
    from_audiocaps,
    from_clotho,
    recognise,
)
from admbench.bench.suites.matching import clip_name
from admbench.errors import DataError, UsageError
from admbench.files import MOST_TEXT_BYTES, read_bytes, slug, unique_keys
from admbench.hashing import sha256_file, sha256_json
from admbench.leaderboard.clips import MAX_CAPTION

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SAFE_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")
_NAME = re.compile(r"[^./\\\s][^/\\]{0,99}")
"""What becomes a safe id: any name of a file that is not hidden."""
_SEED_LIMIT = 2**63
_INVISIBLE_TEXT = dict.fromkeys(map(ord, "\u00ad\u061c\u200b\u200c\u200d\u200e\u200f"))
_INVISIBLE_TEXT |= dict.fromkeys(range(0xE0020, 0xE0080))
"""What cannot be seen and is text: soft hyphens, the ends of words in Thai and Khmer, the joiners of Persian and emoji,
marks of direction in Arabic and Hebrew, the tags of flags. What turns the direction of all that follows is none."""


class CaptionFile(Suite):
    """The suite in a caption file.

    .csv has a header line; .jsonl has one JSON object a line; .txt has one caption a line. Columns: `caption`, and if
    wanted `id` (else the name in `file_name`, else `row-00001`, counted in captions), `seed` (else derived from id and
    caption), `reference` (an audio file, relative to the caption file and inside its folder) and `file_name` (what a
    clip of the caption is called). Blank lines do not count. The file is read and checked when the suite is made.

    An id that is no safe file name, such as one with spaces or Cyrillic letters, becomes one (`admbench.files.slug`).

    The .csv files of AudioCaps and Clotho are read as they are (`admbench.bench.suites.formats`).

    Args:
        path: of the file.
        format: of its columns; None recognises AudioCaps and Clotho by theirs, and takes all else for plain.
        encoding: of its text; a file in another one is refused, never guessed at.
        audio: folder of reference clips; clips that are not there are `missing`. A plain row's clip has the name of
            its `reference`, or else of its `file_name`, or else of its `id`, with any suffix of audio.
        captions: of a clip with several, the `first` (the default) or `all`; only for AudioCaps and Clotho.

    Raises:
        DataError: missing, empty or broken, or no clip found; names the file, the line and what was expected.
        UsageError: options that do not fit the file.
    """

    name = "file"
    summary = "captions of a .csv, .jsonl or .txt file"
    split = "user"

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        format: Format | None = None,
        encoding: Encoding = "utf-8",
        audio: str | os.PathLike[str] | None = None,
        captions: Captions | None = None,
    ) -> None:
        self.path = Path(path)
        self.name = self.path.name
        self._clips = ClipFolder(Path(audio)) if audio is not None else None
        found, rows = _read_rows(self.path, format, encoding)
        if found in IMPORTED:
            self.captions = captions or "first"
            bring = from_audiocaps if found == "audiocaps" else from_clotho
            rows = bring(self.path, rows, self.captions)
        elif captions is not None:
            raise UsageError(f'{path}: captions = "{captions}" is for audiocaps and clotho; this is a plain file')
        self._items = tuple(self._read_items(rows))
        if self._clips is not None:
            self.missing = frozenset(item.id for item in self._items if item.reference is None)

    @property
    def items(self) -> tuple[SuiteItem, ...]:
        """The captions in the order of the file; they have no strata."""
        return self._items

    @cached_property
    def sha256(self) -> str:
        """Hash of captions, seeds and the bytes of all reference audio: not of the file's name, place or format."""
        files = dict.fromkeys(item.reference for item in self._items if item.reference is not None)
        digests = {reference: sha256_file(self._folder / reference) for reference in files}
        return sha256_json(
            [[item.id, item.caption, item.seed, item.reference and digests[item.reference]] for item in self._items]
        )

    def reference_audio(self, item: SuiteItem) -> NDArray[np.float32] | None:
        """Read an item's reference, mixed to one channel and resampled; None if there is none."""
        if item.reference is None:
            return None
        from admbench.metrics.audio import load_audio

        audio: NDArray[np.float32] = load_audio(self._folder / item.reference, self.sample_rate)
        return audio

    @property
    def _folder(self) -> Path:
        """What references are relative to."""
        return self._clips.path if self._clips is not None else self.path.parent

    def _read_items(self, rows: Iterable[Row]) -> Iterator[SuiteItem]:
        first_line: dict[str, int] = {}
        wanted, found = "", False
        for number, row in enumerate(rows, start=1):
            where = f"{self.path}:{row.line}"
            item = _item(where, number, row)
            if item.id in first_line:
                raise DataError(
                    f'{where}: id "{item.id}" is already that of line {first_line[item.id]}; ids must be unique'
                )
            first_line[item.id] = row.line
            if self._clips is None:
                reference = _reference(where, self.path.parent, row.values.get("reference"))
            else:
                _check_reference_name(where, row.values.get("reference"))
                names = item.clip_names if row.clips else (*item.clip_names, item.id)[:1]
                reference = self._clips.find(where, names)
                wanted, found = wanted or names[0], found or reference is not None
            yield replace(item, reference=reference)
        if not first_line:
            raise DataError(f"{self.path}: no captions in it; expected at least one")
        if self._clips is not None and not found:
            raise DataError(
                f"{self._clips.path}: has no clip of {self.path}; expected files such as {wanted}.wav, of its first row"
            )


def _read_rows(path: Path, format: Format | None, encoding: Encoding) -> tuple[Format, Iterator[Row]]:
    """Return the format of a file's columns, and its rows as they are."""
    text = _decode(path, encoding)
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return _csv_rows(path, text, format)
    if format in IMPORTED:
        raise UsageError(f'{path}: format = "{format}" is for .csv files')
    lines = text.split("\n")
    if suffix == ".jsonl":
        return "plain", _jsonl_rows(path, lines)
    return "plain", (Row(number, {"caption": line}) for number, line in enumerate(lines, start=1) if line.strip())


def _decode(path: Path, encoding: Encoding) -> str:
    if not os.path.exists(path):  # of a name that no file can have, `Path.exists` raises
        raise DataError(f"{path}: no such caption file")
    data = read_bytes(path, MOST_TEXT_BYTES)
    try:
        return data.decode("utf-8-sig" if encoding == "utf-8" else encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        known = ", ".join(other for other in get_args(Encoding) if other != encoding)
        raise DataError(
            f"{path}:{line}: expected {encoding.upper()} text, found byte 0x{data[error.start]:02x}; if the file is in"
            f" another encoding ({known}), say so (--encoding, or [suite] encoding in a grid) or convert it (iconv -f"
            " ISO-8859-1 -t UTF-8)"
        ) from None


def _csv_rows(path: Path, text: str, format: Format | None) -> tuple[Format, Iterator[Row]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        header = list(reader.fieldnames or ())
    except csv.Error as error:
        raise DataError(f"{path}:1: not valid CSV ({error})") from error
    found = format or recognise(header)
    if header:
        check_columns(f"{path}:1", header, found)

    def rows() -> Iterator[Row]:
        try:
            for row in reader:
                if None in row:
                    raise DataError(
                        f"{path}:{reader.line_num}: more fields than the {len(header)} columns of the header; "
                        "a caption with a comma needs quotation marks"
                    )
                yield Row(reader.line_num, row)
        except csv.Error as error:
            raise DataError(f"{path}:{reader.line_num}: not valid CSV ({error})") from error

    return found, rows()


def _jsonl_rows(path: Path, lines: list[str]) -> Iterator[Row]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, object_pairs_hook=unique_keys)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}:{number}: expected one JSON object, found what is not JSON ({error})") from error
        if not isinstance(row, dict):
            raise DataError(f'{path}:{number}: expected a JSON object with the key "caption", found {_kind(row)}')
        check_columns(f"{path}:{number}", row, "plain")
        yield Row(number, row)


def _item(where: str, number: int, row: Row) -> SuiteItem:
    caption = _caption(where, row)
    file = _clip_name(where, "file_name", value) if (value := row.values.get("file_name")) else None
    given = row.values.get("id") or file
    identifier = _identifier(where, given, number)
    reference = row.values.get("reference")
    of_reference = clip_name(Path(reference).name) if isinstance(reference, str) else None
    names = row.clips or tuple(str(name) for name in dict.fromkeys((of_reference, file, given)) if name)
    seed = _seed(where, row.values.get("seed"), [identifier, caption])
    return SuiteItem(identifier, caption, seed, clip_names=names)


def _caption(where: str, row: Row) -> str:
    value = row.values.get("caption")
    if value is not None and not isinstance(value, str):
        raise DataError(f"{where}: expected the caption as text, found {_kind(value)}")
    if not (value or "").strip():
        raise DataError(f'{where}: the caption is missing; expected some text in column "{row.column}"')
    return one_caption(where, value or "")


def one_caption(where: str, text: str) -> str:
    """Return a caption as suites have it: one line, whose words are one space apart.

    Args:
        where: what the text is from, for errors.
        text: a caption with some text in it.

    Raises:
        DataError: it holds what cannot be printed, or is longer than boards take.
    """
    caption = " ".join(text.split())
    if not caption.translate(_INVISIBLE_TEXT).isprintable():
        raise DataError(f"{where}: the caption holds characters that cannot be printed: {_show(caption)}")
    if len(caption) > MAX_CAPTION:  # no board would take what was run with it
        raise DataError(f"{where}: the caption has {len(caption):,} characters; expected at most {MAX_CAPTION:,}")
    return caption


def _identifier(where: str, value: Any, number: int) -> str:
    if value is None or value == "":
        return f"row-{number:05d}"
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, str) and _SAFE_ID.fullmatch(value):
        return value
    if not isinstance(value, str) or not _NAME.fullmatch(value) or not value.translate(_INVISIBLE_TEXT).isprintable():
        raise DataError(
            f"{where}: expected an id of at most 100 letters, digits and signs that a file name may have, found"
            f" {_show(value)}"
        )
    return slug(clip_name(value))


def _seed(where: str, value: Any, derived_from: list[str]) -> int:
    if value is None or value == "":
        return int(sha256_json(derived_from)[:8], 16) >> 1
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,19}", value.strip()):
        value = int(value.strip())  # int() does not take all that strip() takes away
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _SEED_LIMIT:
        raise DataError(f"{where}: expected the seed as an integer from 0 to 2**63 - 1, found {_show(value)}")
    return value


def _reference(where: str, folder: Path, value: Any) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise DataError(f"{where}: expected the reference as a path, found {_kind(value)}")
    root = folder.resolve()
    try:
        target = (root / value).resolve()
        exists = target.is_file()
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(f"{where}: the reference {_show(value)} is not a path ({error})") from error
    if Path(value).is_absolute() or not target.is_relative_to(root):
        raise DataError(
            f"{where}: the reference {_show(value)} must be a relative path inside the caption file's folder"
        )
    if not exists:
        raise DataError(f"{where}: the reference {_show(value)} is not there; expected an audio file at {target}")
    return value


def _check_reference_name(where: str, value: Any) -> None:
    """Refuse a reference that is no name of a file in a folder of clips."""
    if value and (not isinstance(value, str) or Path(value).name != value):
        raise DataError(f"{where}: expected the reference as the name of a file in the folder, found {_show(value)}")


def _clip_name(where: str, column: str, value: Any) -> str:
    """Return the name, without folder and suffix, that a plain row gives its clip."""
    if not isinstance(value, str) or not Path(value).name:
        raise DataError(f"{where}: expected the {column} as the name of a file, found {_show(value)}")
    return clip_name(Path(value).name)


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _show(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."
