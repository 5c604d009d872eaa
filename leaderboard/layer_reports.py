"""What methods report of each layer, as a record holds it in memory: one JSON text, a quarter of what dicts take.

A board keeps all its records until the last page is written, and asks for a cell's layers only on that page.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any, overload

from pydantic import Field, GetCoreSchemaHandler, JsonValue
from pydantic_core import CoreSchema, core_schema

from admbench.leaderboard.fields import MOST_REPEATS

Report = dict[str, JsonValue]


class LayerReports(Sequence[Report]):
    """A list of dicts that cannot be changed; each time it is gone through, new ones are made.

    >>> reports = LayerReports([{"name": "conv_in", "weight_bits": 4}])
    >>> reports[0]["weight_bits"], len(reports), reports == [{"name": "conv_in", "weight_bits": 4}]
    (4, 1, True)
    """

    __slots__ = ("_length", "_text")

    def __init__(self, reports: Iterable[Report]) -> None:
        found = list(reports)
        self._length = len(found)
        self._text = json.dumps(found, separators=(",", ":"))

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Report]:
        return iter(self._read())

    @overload
    def __getitem__(self, place: int) -> Report: ...

    @overload
    def __getitem__(self, place: slice) -> list[Report]: ...

    def __getitem__(self, place: int | slice) -> Report | list[Report]:
        return self._read()[place]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, LayerReports):
            return self._text == other._text or self._read() == other._read()
        return self._read() == other

    __hash__ = None  # type: ignore[assignment]  # as of a list

    def __repr__(self) -> str:
        return f"LayerReports({self._read()!r})"

    def _read(self) -> list[Report]:
        found: list[Report] = json.loads(self._text)
        return found

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Of a field: in a record's file, and in what is dumped of it, it is a list as any other."""
        as_list = handler(Annotated[list[Report], Field(max_length=MOST_REPEATS)])
        return core_schema.no_info_after_validator_function(
            cls, as_list, serialization=core_schema.plain_serializer_function_ser_schema(list, return_schema=as_list)
        )
