"""A user's own captions: a .csv, .jsonl or .txt file read as a suite, or refused with the line that is wrong."""

from __future__ import annotations

import csv
import difflib
import io
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from admcore.errors import DataError
from admcore.hashing import sha256_file, sha256_json
from bench.suites.base import Suite, SuiteItem

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

COLUMNS = ("caption", "id", "seed", "reference")
"""`caption` must be there; other columns than these are ignored, unless one looks like a misspelt one of these."""

_SAFE_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")
_SEED_LIMIT = 2**63

Row = tuple[int, Mapping[str, Any]]
"""Line number (from 1) and the values by column."""


class CaptionFile(Suite):
    """The suite in a caption file.

    .csv has a header line; .jsonl has one JSON object a line; .txt has one caption a line. Columns: `caption`, and if
    wanted `id` (else `row-00001`, counted in captions), `seed` (else derived from id and caption) and `reference` (an
    audio file, relative to the caption file and inside its folder). Blank lines do not count. The file is read and
    checked when the suite is made.

    Raises:
        DataError: missing, empty or broken; names the file, the line and what was expected.
    """

    name = "file"
    summary = "captions of a .csv, .jsonl or .txt file"
    split = "user"

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.name = self.path.name
        self._items = tuple(_read_items(self.path))

    @property
    def items(self) -> tuple[SuiteItem, ...]:
        """The captions in the order of the file; they have no strata."""
        return self._items

    @cached_property
    def sha256(self) -> str:
        """Hash of captions, seeds and the bytes of all reference audio: not of the file's name, place or format."""
        return sha256_json(
            [
                [item.id, item.caption, item.seed, item.reference and sha256_file(self._reference_path(item.reference))]
                for item in self._items
            ]
        )

    def reference_audio(self, item: SuiteItem) -> NDArray[np.float32] | None:
        """Read an item's reference, mixed to one channel and resampled; None if the row names none."""
        if item.reference is None:
            return None
        from metrics.audio import load_audio

        audio: NDArray[np.float32] = load_audio(self._reference_path(item.reference), self.sample_rate)
        return audio

    def _reference_path(self, reference: str) -> Path:
        return self.path.parent / reference


def _read_items(path: Path) -> Iterator[SuiteItem]:
    first_line: dict[str, int] = {}
    for number, (line, row) in enumerate(_rows(path), start=1):
        where = f"{path}:{line}"
        item = _item(path.parent, where, number, row)
        if item.id in first_line:
            raise DataError(
                f'{where}: id "{item.id}" is already that of line {first_line[item.id]}; ids must be unique'
            )
        first_line[item.id] = line
        yield item
    if not first_line:
        raise DataError(f"{path}: no captions in it; expected at least one")


def _rows(path: Path) -> Iterator[Row]:
    text = _decode(path)
    lines = text.split("\n")
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return _csv_rows(path, text)
    if suffix == ".jsonl":
        return _jsonl_rows(path, lines)
    return ((number, {"caption": line}) for number, line in enumerate(lines, start=1) if line.strip())


def _decode(path: Path) -> str:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: no such caption file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}:{line}: expected UTF-8 text, found byte 0x{data[error.start]:02x}") from None


def _csv_rows(path: Path, text: str) -> Iterator[Row]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        header = reader.fieldnames
        if header is None:
            return
        _check_columns(f"{path}:1", header)
        for row in reader:
            if None in row:
                raise DataError(
                    f"{path}:{reader.line_num}: more fields than the {len(header)} columns of the header; "
                    "a caption with a comma needs quotation marks"
                )
            yield reader.line_num, row
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: not valid CSV ({error})") from error


def _jsonl_rows(path: Path, lines: list[str]) -> Iterator[Row]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}:{number}: expected one JSON object, found what is not JSON ({error})") from error
        if not isinstance(row, dict):
            raise DataError(f'{path}:{number}: expected a JSON object with the key "caption", found {_kind(row)}')
        _check_columns(f"{path}:{number}", row)
        yield number, row


def _check_columns(where: str, columns: Iterable[str]) -> None:
    """Refuse a missing caption column, a column given twice, and what seems to be a misspelt column of ours."""
    columns = list(columns)
    for column in COLUMNS:
        if columns.count(column) > 1:
            raise DataError(f'{where}: column "{column}" comes twice')
        misspelt = difflib.get_close_matches(column, columns, n=1, cutoff=0.85)
        if misspelt and column not in columns:
            raise DataError(f'{where}: unknown column "{misspelt[0]}". Did you mean "{column}"?')
    if "caption" not in columns:
        found = ", ".join(columns) or "none"
        raise DataError(f'{where}: no column "caption" (columns found: {found})')


def _item(folder: Path, where: str, number: int, row: Mapping[str, Any]) -> SuiteItem:
    caption = _caption(where, row.get("caption"))
    identifier = _identifier(where, row.get("id"), number)
    seed = _seed(where, row.get("seed"), [identifier, caption])
    return SuiteItem(identifier, caption, seed, reference=_reference(where, folder, row.get("reference")))


def _caption(where: str, value: Any) -> str:
    if value is not None and not isinstance(value, str):
        raise DataError(f"{where}: expected the caption as text, found {_kind(value)}")
    caption = " ".join((value or "").split())
    if not caption:
        raise DataError(f"{where}: the caption is missing; expected some text")
    if not caption.isprintable():
        raise DataError(f"{where}: the caption holds characters that cannot be printed: {_show(caption)}")
    return caption


def _identifier(where: str, value: Any, number: int) -> str:
    if value is None or value == "":
        return f"row-{number:05d}"
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not _SAFE_ID.fullmatch(value):
        raise DataError(
            f"{where}: expected an id of at most 100 letters, digits, '.', '_' or '-', found {_show(value)}"
        )
    return value


def _seed(where: str, value: Any, derived_from: list[str]) -> int:
    if value is None or value == "":
        return int(sha256_json(derived_from)[:8], 16) >> 1
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,19}", value.strip()):
        value = int(value)
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


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _show(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."
