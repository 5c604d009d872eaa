"""The front page as data: what static/packed.js unpacks for the scripts of the front page and of all cells.

A board may have 10,000 cells, which a browser reads before it shows the first. So a cell is a list and not an object,
a text that many cells have stands once in `texts` and in its place the number there, and numbers have ten digits:

    boards[].cells   [model, method, status, page, facets, scores, values], the first three as numbers: the models
                     and methods of the board, `texts`; facets, scores and values in the order of `facets` and of the
                     board's `scores` and `columns`
    scores[]         [value, low, high, first, last, letters, word, note, missing]; 0 where nothing is known of it
    values[]         [number, text, note, tone, missing], or the number alone; 0 as above
    boards[].told    score -> model -> [cells of its order, best first; bits of its pairs in base64, set where the first
                     is shown to be better than the second], the pairs in the order of `itertools.combinations`

A list ends with the last entry that is known; before it, null stands for what is not.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np

from admbench.leaderboard.matrix import MethodRow
from admbench.leaderboard.site.columns import Column, Value
from admbench.leaderboard.site.front import FACETS, Front, Place, ScoreChoice, facets_of, method_detail
from admbench.leaderboard.site.names import Names
from admbench.plain_text import visible_lines, visible_name

Packed = list[Any] | float | int
DIGITS = 10


class _Texts:
    """Texts, each once; the first is empty."""

    def __init__(self) -> None:
        self._places = {"": 0}

    def __call__(self, text: str) -> int | None:
        """Return the number of a text, None of an empty one."""
        return self._places.setdefault(text, len(self._places)) or None

    @property
    def all(self) -> list[str]:
        return list(self._places)


def packed(fronts: Sequence[Front], names: Names) -> dict[str, Any]:
    """Return the boards of a front page as JSON. Names and notes show all they hold."""
    texts = _Texts()
    boards = [_board(one, names, texts) for one in fronts]
    return {"texts": texts.all, "facet_keys": list(FACETS), "facets": facets_of(fronts), "boards": boards}


def _board(one: Front, names: Names, texts: _Texts) -> dict[str, Any]:
    models = {model: place for place, model in enumerate(one.matrix.models)}
    specs = {row.spec: place for place, row in enumerate(one.matrix.rows)}
    return {
        "score": one.view.score,
        "models": [{"name": visible_name(model), "page": names.model(model)} for model in models],
        "methods": [_method(row, names) for row in one.matrix.rows],
        "scores": [_choice(choice) for choice in one.scores],
        "columns": [_column(column) for column in one.columns],
        "cells": [
            [
                models[model],
                specs[spec],
                texts(cell.own.record.status),
                cell.page,
                [texts(cell.facets[key]) for key in FACETS],
                [_place(cell.scores[choice.key], texts) for choice in one.scores],
                [_value(cell.values[column.key], texts) for column in one.columns],
            ]
            for (model, spec), cell in one.cells.items()
        ],
        "told": _told(one, models),
    }


def _told(one: Front, models: dict[str, int]) -> dict[str, dict[int, tuple[list[int], str]]]:
    number = {key: place for place, key in enumerate(one.cells)}
    told: dict[str, dict[int, tuple[list[int], str]]] = {}
    for model in one.view.models:
        for key, conclusion in model.conclusions.items():
            if conclusion.pairs:
                order = [number[model.name, spec] for spec in conclusion.pairs.order]
                bits = base64.b64encode(np.packbits(conclusion.pairs.apart).tobytes()).decode("ascii")
                told.setdefault(key, {})[models[model.name]] = order, bits
    return told


def _method(row: MethodRow, names: Names) -> dict[str, Any]:
    record = next(iter(row.cells.values())).record
    return {"name": visible_name(row.spec), "page": names.method(row.spec), "detail": method_detail(record)}


def _choice(choice: ScoreChoice) -> dict[str, Any]:
    return {
        "key": choice.key,
        "label": visible_name(choice.label),
        "detail": visible_lines(choice.detail),
        "meaning": choice.meaning,
        "better": choice.better,
        "places": choice.places,
        "scale": {"low": choice.scale.low, "high": choice.scale.high, "log": choice.scale.log},
        "ticks": choice.ticks,
    }


def _column(column: Column) -> dict[str, Any]:
    return {
        "key": column.key,
        "label": column.label,
        "detail": column.detail,
        "meaning": column.meaning,
        "better": column.better,
        "unit": column.unit,
        "places": column.places,
        "shown": column.shown,
    }


def _place(place: Place, texts: _Texts) -> Packed:
    return _short(
        [
            _number(place.value),
            _number(place.low),
            _number(place.high),
            place.first,
            place.last,
            texts(place.letters),
            texts(place.word),
            texts(visible_lines(place.note)),
            texts(visible_lines(place.missing)),
        ]
    )


def _value(value: Value, texts: _Texts) -> Packed:
    found = _short(
        [
            _number(value.number),
            texts(visible_name(value.text)),
            texts(visible_lines(value.note)),
            texts(value.tone),
            texts(visible_lines(value.missing)),
        ]
    )
    alone = isinstance(found, list) and len(found) == 1 and found[0] != 0
    return found[0] if isinstance(found, list) and alone else found


def _short(entries: list[Any]) -> Packed:
    while entries and entries[-1] is None:
        entries.pop()
    return entries or 0


def _number(value: float | None) -> float | None:
    return value if value is None or isinstance(value, int) else float(f"{value:.{DIGITS}g}")
