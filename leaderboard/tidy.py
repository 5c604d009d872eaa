"""What a record may say: the one definition of its texts and sizes, for who writes records and for who reads them.

`tidied` returns the record as it is written: every text visible (`admbench.plain_text`) and no longer than the schema
allows, every list and every free value (options, per-layer reports, what a plug-in adds to an open section) within a
limit. A reader refuses a record of today's schema that is not what `tidied` leaves as it is, so that nothing that our
writer wrote is ever refused for its texts; a record of an older schema, whose writer knew no such limits, is tidied.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from admbench.hashing import sha256_json
from admbench.leaderboard.fields import NAME_LENGTH, NAMED, TEXT_LENGTH
from admbench.leaderboard.record import Record
from admbench.leaderboard.untrusted import nesting
from admbench.plain_text import visible

Json = Any
"""A decoded JSON value."""
Schema = Mapping[str, Any]
"""Of a value, as pydantic writes it."""

FREE_BYTES = 2**16
"""Of one free value, such as `method.config` or what a plug-in adds to a score, as JSON."""
LAYERS_BYTES = 2 * 2**20
"""Of `method.layers`: the reports of the largest named model take below 1 MB."""
DEPTH = 12
"""Of nested lists and objects in a free value."""
EMPTY = "(empty)"
"""In place of a text that is needed and says nothing."""
LEFT_OUT = "left out"
"""Key, in place of a free value that is too large, of what it would have taken; beside its hash."""
_LAYERS = ("method", "layers")


def tidied(record: Json) -> Json:
    """Return a record with its texts visible and everything within its limits; what fits is left as it is.

    Whether it is a record at all is not asked here: a value of a wrong type stays for the schema to refuse. An empty
    text is null where the schema has null.
    """
    return record if _is_plain(record, FREE_BYTES) else _tidy(record, _root(), ())


def tidied_score(score: Json) -> Json:
    """Return one score as `tidied` leaves it in a record."""
    return _tidy(score, {"$ref": "#/$defs/Score"}, ())


def untidy(record: Json) -> Iterator[str]:
    """Yield a line for each place in which a record is not what `tidied` makes of it, such as a hidden character."""
    if (found := tidied(record)) is not record:
        yield from _apart(record, found, ())


def plain_json(value: Any) -> Json:
    """Return a value that a plug-in gave as JSON: numbers of numpy as numbers, what JSON has no form for as text.

    >>> plain_json({"bits": (4, 8), 3: float("inf"), "seed": 2**70})
    {'bits': [4, 8], '3': 'inf', 'seed': '1180591620717411303424'}
    """
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, int):
        return int(value) if -(2**63) <= value < 2**64 else str(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, Mapping):
        return {key if isinstance(key, str) else str(key): plain_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_json(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(map(str, value))
    if hasattr(value, "tolist"):  # of numpy and torch
        return plain_json(value.tolist())
    return str(value)


@cache
def _root() -> Schema:
    return Record.model_json_schema()


def _tidy(value: Json, schema: Schema | None, path: tuple[str, ...]) -> Json:
    optional = schema is not None and {"type": "null"} in schema.get("anyOf", ())
    schema = None if schema is None else _resolved(schema)
    if schema is None:
        return _free(value, FREE_BYTES)
    if path == _LAYERS and isinstance(value, list):
        return _layers(value)
    if isinstance(value, str):
        shown = visible(value, schema.get("maxLength", TEXT_LENGTH), name=schema.get("format") == NAMED["format"])
        return shown or (None if optional else EMPTY)
    if isinstance(value, list):
        return [_tidy(item, schema.get("items"), (*path, "")) for item in value]
    if isinstance(value, dict):
        return _object(value, schema, path)
    return value


def _object(value: dict[str, Json], schema: Schema, path: tuple[str, ...]) -> dict[str, Json]:
    known = schema.get("properties")
    if known is None:
        of_each = next(iter(schema.get("patternProperties", {}).values()), schema.get("additionalProperties"))
        if not isinstance(of_each, Mapping) or _is_free(of_each):
            return _free(value, FREE_BYTES)
        return {_key(key, name=True): _tidy(item, of_each, (*path, key)) for key, item in value.items()}
    more = {key: item for key, item in value.items() if key not in known}
    whole = {key: _tidy(item, known[key], (*path, key)) for key, item in value.items() if key in known}
    tidy_more = _free(more, FREE_BYTES) if more else {}
    if not more or list(more) == list(tidy_more):
        return {key: whole[key] if key in whole else tidy_more[key] for key in value}
    return whole | {key: item for key, item in tidy_more.items() if key not in known}


def _resolved(schema: Schema) -> Schema | None:
    """Follow references and alternatives to the schema of a value; None of one that may be anything."""
    while True:
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            if name == "JsonValue":
                return None
            schema = _root()["$defs"][name]
        elif "anyOf" in schema:
            schema = next((one for one in schema["anyOf"] if one.get("type") != "null"), schema["anyOf"][0])
        else:
            return None if _is_free(schema) else schema


def _is_free(schema: Schema) -> bool:
    """Whether a schema asks for nothing: any JSON value."""
    if "$ref" in schema:
        return str(schema["$ref"]).endswith("/JsonValue")
    return not {"type", "enum", "const", "properties", "anyOf"} & set(schema)


def _free(value: Json, most: int) -> Json:
    """Return a free value with visible texts; of what is beyond `most` bytes, its size and hash.

    Of an object the largest entries go first, so that one huge option does not cost all others.
    """
    if _is_plain(value, most):
        return value
    shown = _visible_within(value, DEPTH)
    if _bytes(shown) <= most:
        return shown
    if isinstance(shown, dict):
        for key in sorted(shown, key=lambda key: (-_bytes(shown[key]), key)):
            small = _in_place_of(value.get(key, shown[key]), shown[key])
            if _bytes(small) >= _bytes(shown[key]):
                break
            shown[key] = small
            if _bytes(shown) <= most:
                return shown
    return _in_place_of(value, shown)


def _layers(value: list[Json]) -> list[Json]:
    """Return reports of layers; where they are too large, the names, and the numbers that are not lists."""
    if _is_plain(value, LAYERS_BYTES):
        return value
    shown = [_visible_within(one, DEPTH) for one in value]
    if _bytes(shown) <= LAYERS_BYTES:
        return shown
    short = [
        {key: item for key, item in one.items() if key == "name" or isinstance(item, (int, float, type(None)))}
        if isinstance(one, dict)
        else one
        for one in shown
    ]
    while _bytes(short) > LAYERS_BYTES - 300:
        short = short[: len(short) // 2]
    return [*short, {"name": LEFT_OUT, **_in_place_of(value, shown)}]


_STRING = re.compile(r'"[^"]*"')
_NOT_TRIM = re.compile(r'""|" | "|  ')


def _is_plain(value: Json, most: int) -> bool:
    """Whether a value is within all limits at a glance, as almost all are: short ASCII texts, none empty."""
    text = json.dumps(value, separators=(",", ":"))
    if len(text) > most or "\\" in text or _NOT_TRIM.search(text) or not text.isprintable():
        return False
    longest = max(map(len, _STRING.findall(text)), default=0)
    return longest <= NAME_LENGTH + len('""') and nesting(text.encode("ascii")) <= DEPTH


def _visible_within(value: Json, depth: int) -> Json:
    if isinstance(value, str):
        return visible(value, TEXT_LENGTH)
    if not isinstance(value, (dict, list)):
        return value
    if not depth:
        return f"{LEFT_OUT}: nested deeper than {DEPTH} levels"
    if isinstance(value, list):
        return [_visible_within(item, depth - 1) for item in value]
    return {_key(key): _visible_within(item, depth - 1) for key, item in value.items()}


def _in_place_of(value: Json, shown: Json) -> dict[str, Json]:
    return {LEFT_OUT: f"{_bytes(shown):,} bytes", "sha256": sha256_json(plain_json(value))}


def _key(text: str, *, name: bool = False) -> str:
    return visible(text, NAME_LENGTH, name=name) or EMPTY


def _bytes(value: Json) -> int:
    return len(json.dumps(value, separators=(",", ":")))


def _apart(value: Json, other: Json, path: tuple[str, ...]) -> Iterator[str]:
    """Yield where two JSON values differ, with what the first should have been."""
    if isinstance(value, dict) and isinstance(other, dict) and list(value) == list(other):
        for key, item in value.items():
            yield from _apart(item, other[key], (*path, key))
    elif isinstance(value, list) and isinstance(other, list) and len(value) == len(other):
        for place, (item, own) in enumerate(zip(value, other, strict=True)):
            yield from _apart(item, own, (*path, str(place)))
    elif value != other:
        where = ".".join(visible(part, 80) for part in path) or "record"
        yield f"{where}: {_why(value, other)}"


def _why(value: Json, other: Json) -> str:
    if isinstance(value, str):
        if len(value) > len(str(other)) and visible(value) == value:
            return f"{len(value):,} characters; expected fewer"
        return f"hidden or look-alike characters; expected them escaped, {visible(str(other), 60)!r}"
    if isinstance(value, dict) and isinstance(other, dict) and LEFT_OUT not in other:
        return "a key with hidden characters, or too long"
    return "larger, or nested deeper, than a record may be"
