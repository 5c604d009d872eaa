"""Reading files that anybody may have written: bounded, strict JSON, and paths that cannot leave their folder."""

import json
import math
import re
import stat
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any, NoReturn

from admbench.errors import DataError

MAX_DIGITS = 21
"""Of an integer of 64 bits, with its sign."""
MAX_JSON_BYTES = 16 * 2**20  # a record with per-layer reports of the largest named model is below 1 MB

MAX_DEPTH = 100
"""Of lists and objects in each other, so that whoever walks through them comes to an end."""

_STRING = re.compile(rb'"[^"]*"')
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_NO_BRACKETS = bytes(set(range(256)) - set(_STEP))
_CLIP_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")  # YouTube's ids may begin with - or _
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def read_bytes(root: Path, path: Path, max_bytes: int) -> bytes:
    """Read a regular file below `root`.

    Raises:
        DataError: the file is missing, too large, not a regular file, or reached through a symbolic link below `root`.
    """
    check_inside(root, path)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{path}: not a regular file")
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    if len(data) > max_bytes:
        raise DataError(f"{path}: larger than the limit of {max_bytes / 2**20:g} MB")
    return data


def check_inside(root: Path, path: Path) -> None:
    """Raise DataError unless `path` lies below `root` and no part of it below `root` is a symbolic link."""
    try:
        parts = path.relative_to(root).parts
    except ValueError:
        raise DataError(f"{path}: outside of {root}") from None
    if ".." in parts:
        raise DataError(f"{path}: leads out of {root}")
    step = root
    for part in parts:
        step = step / part
        if step.is_symlink():
            raise DataError(f"{step}: a symbolic link; a run folder holds real files only")


def read_json(root: Path, path: Path) -> Any:
    """Read a JSON file below `root` strictly.

    Raises:
        DataError: besides what `read_bytes` raises, the text is not UTF-8 or not JSON, a number is not finite or beyond
            64 bits, a key appears twice in one object, or a string holds control or text-direction characters.
    """
    return decode_json(read_bytes(root, path, MAX_JSON_BYTES), path)


def decode_json(data: bytes, path: Path) -> Any:
    """Decode JSON that was read from `path`, as strictly as `read_json`, and with its errors."""
    try:
        value = json.loads(
            data.decode("utf-8"),
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_bounded,
            object_pairs_hook=_without_duplicates,
        )
    except RecursionError:
        raise DataError(f"{path}: nested too deeply") from None
    except ValueError as error:  # also JSONDecodeError and UnicodeDecodeError
        raise DataError(f"{path}: not valid JSON ({error})") from error
    for text in _strings(value, path) if _may_hide(data) else ():
        if found := _CONTROL.search(text):
            raise DataError(f"{path}: a string holds the control character U+{ord(found[0]):04X}")
    return value


def clip_id(text: str) -> str:
    """Return a clip's id unchanged if it is safe as a file name, which ids are used as; a ValueError if not."""
    if not _CLIP_ID.fullmatch(text):
        raise ValueError(f"{text[:80]!r} is no clip id: expected letters, digits and ._- only, at most 128")
    return text


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:40]} is not finite")
    return number


def _bounded(text: str) -> int:
    if len(text) > MAX_DIGITS or not -(2**63) <= (number := int(text)) < 2**64:
        raise ValueError(f"the number {text[:40]} is beyond 64 bits")
    return number


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {twice[:80]!r} appears twice in one object")
    return result


def _may_hide(data: bytes) -> bool:
    """Whether JSON, which holds no control character as it is, may have one as an escape, or be nested too deeply."""
    return not data.isascii() or b"\\" in data or b"\x7f" in data or nesting(data) > MAX_DEPTH


def nesting(data: bytes) -> int:
    """Return how many lists and objects of a JSON text are in each other at most; of one without backslashes.

    >>> nesting(b'{"a": [1, [2]], "b]": []}')
    3
    """
    brackets = _STRING.sub(b"", data).translate(None, _NO_BRACKETS)
    return max(accumulate(_STEP[byte] for byte in brackets), default=0)


def _strings(value: Any, path: Path) -> Iterator[str]:
    """Yield every string of a JSON value, keys included; DataError where it is nested too deeply."""
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise DataError(f"{path}: nested too deeply")
        inner: list[Any] = []
        for item in level:
            if isinstance(item, str):
                yield item
            elif isinstance(item, dict):
                yield from item.keys()
                inner.extend(item.values())
            elif isinstance(item, list):
                inner.extend(item)
        level = inner
