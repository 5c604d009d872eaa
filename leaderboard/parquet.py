"""Rows as an Apache Parquet file, without a library: pyarrow is 140 MB, and its releases of today refuse NumPy 1.

One row group; of each column one plain, uncompressed data page. A column may be null anywhere: a page begins with which
of its values are there, one bit each ("definition levels"). The footer is a Thrift structure in the compact protocol.
Source: https://parquet.apache.org/docs/file-format/ and `parquet.thrift` of apache/parquet-format 2.11, whose names and
numbers of fields these are; https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MAGIC = b"PAR1"
BOOLEAN, INT64, DOUBLE, BYTE_ARRAY = 0, 2, 5, 6
"""`Type`."""
_OPTIONAL, _UTF8, _DATA_PAGE, _UNCOMPRESSED = 1, 0, 0, 0
_PLAIN, _RLE = 0, 3
"""`Encoding`."""
_I32, _I64, _BINARY, _LIST, _STRUCT = 5, 6, 8, 9, 12
"""Types of the compact protocol."""


def to_parquet(rows: Sequence[dict[str, Any]]) -> bytes:
    """Return rows as a Parquet file, the columns in the order in which the rows name them.

    A column is of booleans, of integers, of numbers, or of texts (UTF-8); null where a row has no value. A column of
    several kinds is of texts, and so is one without a value.

    >>> file = to_parquet([{"name": "a", "bits": 4}, {"name": "b"}])
    >>> file[:4], file[-4:]
    (b'PAR1', b'PAR1')
    """
    names = dict.fromkeys(key for row in rows for key in row)
    return columns_to_parquet({name: [row.get(name) for row in rows] for name in names}, len(rows))


def columns_to_parquet(values: Mapping[str, list[Any]], rows: int) -> bytes:
    """Return columns of so many values each as a Parquet file, as of `to_parquet`."""
    columns = [_Column.of(name, own) for name, own in values.items()]
    body, chunks, size = bytearray(MAGIC), [], 0
    for column in columns:
        page, at = column.page(), len(body)
        body += page
        size += len(page)
        chunks.append(_struct((2, _I64, at), (3, _STRUCT, column.chunk(rows, at, len(page)))))
    root = _struct((4, _BINARY, "rows"), (5, _I32, len(columns)))
    group = _struct((1, _LIST, (_STRUCT, chunks)), (2, _I64, size), (3, _I64, rows))
    footer = _struct(
        (1, _I32, 1),
        (2, _LIST, (_STRUCT, [root, *(column.schema() for column in columns)])),
        (3, _I64, rows),
        (4, _LIST, (_STRUCT, [group])),
        (6, _BINARY, "admbench"),
    )
    return bytes(body) + footer + struct.pack("<I", len(footer)) + MAGIC


@dataclass(frozen=True)
class _Column:
    name: str
    kind: int
    values: list[Any]

    @classmethod
    def of(cls, name: str, values: list[Any]) -> _Column:
        kinds = {type(value) for value in values if value is not None}
        if kinds == {bool}:
            return cls(name, BOOLEAN, values)
        if kinds == {int} and all(value is None or -(2**63) <= value < 2**63 for value in values):
            return cls(name, INT64, values)
        if kinds and kinds <= {int, float}:
            return cls(name, DOUBLE, values)
        return cls(name, BYTE_ARRAY, [None if value is None else str(value) for value in values])

    def page(self) -> bytes:
        there = _bits(value is not None for value in self.values)
        levels = _varint(len(there) << 1 | 1) + there  # one bit-packed run, in groups of eight
        data = struct.pack("<I", len(levels)) + levels + self._plain([one for one in self.values if one is not None])
        about = _struct((1, _I32, len(self.values)), (2, _I32, _PLAIN), (3, _I32, _RLE), (4, _I32, _RLE))
        return _struct((1, _I32, _DATA_PAGE), (2, _I32, len(data)), (3, _I32, len(data)), (5, _STRUCT, about)) + data

    def _plain(self, values: list[Any]) -> bytes:
        if self.kind == BOOLEAN:
            return _bits(values)
        if self.kind == BYTE_ARRAY:
            texts = [text.encode("utf-8", "replace") for text in values]
            return b"".join(struct.pack("<I", len(text)) + text for text in texts)
        return struct.pack(f"<{len(values)}{'q' if self.kind == INT64 else 'd'}", *values)

    def schema(self) -> bytes:
        converted = ((6, _I32, _UTF8),) if self.kind == BYTE_ARRAY else ()
        return _struct((1, _I32, self.kind), (3, _I32, _OPTIONAL), (4, _BINARY, self.name), *converted)

    def chunk(self, rows: int, at: int, size: int) -> bytes:
        return _struct(
            (1, _I32, self.kind),
            (2, _LIST, (_I32, [_zigzag(_PLAIN), _zigzag(_RLE)])),
            (3, _LIST, (_BINARY, [_text(self.name)])),
            (4, _I32, _UNCOMPRESSED),
            (5, _I64, rows),
            (6, _I64, size),
            (7, _I64, size),
            (9, _I64, at),
        )


def _bits(flags: Iterable[bool]) -> bytes:
    """Pack flags into bytes, the first in the lowest bit."""
    packed = list(flags)
    return bytes(
        sum(bool(flag) << bit for bit, flag in enumerate(packed[at : at + 8])) for at in range(0, len(packed), 8)
    )


def _struct(*fields: tuple[int, int, Any]) -> bytes:
    """Return (number, type, value) of fields, their numbers rising, as a structure."""
    written, last = bytearray(), 0
    for number, kind, value in fields:
        written.append((number - last) << 4 | kind)
        written += _value(kind, value)
        last = number
    return bytes(written) + b"\0"


def _value(kind: int, value: Any) -> bytes:
    if kind in (_I32, _I64):
        return _zigzag(value)
    if kind == _BINARY:
        return _text(value)
    if kind == _LIST:
        of, items = value
        head = bytes([len(items) << 4 | of]) if len(items) < 15 else bytes([0xF0 | of]) + _varint(len(items))
        return head + b"".join(items)
    return bytes(value)


def _text(text: str) -> bytes:
    data = text.encode("utf-8", "replace")
    return _varint(len(data)) + data


def _zigzag(number: int) -> bytes:
    return _varint(number << 1 if number >= 0 else (-number << 1) - 1)


def _varint(number: int) -> bytes:
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*written, number])
