"""What the plots of a model's and a method's page are drawn from: bit widths, timesteps, classes of layers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from admbench.leaderboard.component_table import ComponentRow
from admbench.leaderboard.record import Record
from admbench.leaderboard.site.definitions import definition
from admbench.leaderboard.site.front import Front, FrontCell
from admbench.plain_text import visible_name

LATENTS = "latent_sqnr_vs_baseline"
"""The score whose record has its value at every step."""


@dataclass(frozen=True)
class On:
    """A cell, and the board that it stands on."""

    front: Front
    cell: FrontCell


def group_data(own: Sequence[On], family: Iterable[On], by: Literal["method", "model"]) -> dict[str, Any]:
    """Return the curves of some cells, one a cell, named by their method or model.

    Args:
        own: the cells.
        family: those whose score is shown over the bits of a weight: all methods of a model, or all bit widths of a
            method on its models. Joined are those of one method on one model that differ in the bits of weights alone.
        by: what tells the cells apart.
    """
    curves: list[dict[str, Any]] = []
    for cell in (one.cell for one in own):
        if cell.own.record.status == "done":
            name = cell.own.spec if by == "method" else cell.model
            curves.append(
                {
                    "name": visible_name(name),
                    "method": visible_name(cell.own.record.method.name),
                    "page": cell.page,
                    "steps": steps_of(cell.own.record),
                    "classes": cell.classes,
                }
            )
    label = definition(own[0].front.view.score).label
    return {"curves": curves, "widths": _widths(family, by), "score": visible_name(label)}


def component_data(rows: Sequence[ComponentRow], keys: Sequence[str]) -> dict[str, Any]:
    """Return the points of cells of one component each, by the first of some scores that any of them has."""
    for key in keys:
        found = [(row, score) for row in rows if (score := row.scores[key]) is not None and score.value is not None]
        if found:
            points = [
                {
                    "component": visible_name(row.component),
                    "method": visible_name(row.method),
                    "value": score.value,
                    **dict(zip(("low", "high"), score.ci95 or (None, None), strict=True)),
                }
                for row, score in found
            ]
            return {"score": visible_name(definition(key).label), "points": points}
    return {"score": "", "points": []}


def steps_of(record: Record) -> list[tuple[float, float]]:
    """Return (timestep, dB) of the latents of a cell, in the order of sampling; empty where the record has none."""
    score = record.scores.get(LATENTS)
    steps = (score.model_extra or {}).get("steps") if score else None
    if not isinstance(steps, list):
        return []
    found = [(one.get("timestep"), one.get("db")) for one in steps if isinstance(one, dict)]
    return [(at, db) for at, db in found if isinstance(at, int | float) and isinstance(db, int | float)]


def line_of(spec: str) -> tuple[str, str]:
    """Return a spec without the bits of its weights: the method, and all else that its line has in common.

    >>> line_of("naive@w4a8"), line_of("convrot@w4a4[rotation=0]"), line_of("naive@mxfp4"), line_of("bf16")
    (('naive', 'a8'), ('convrot', 'a4[rotation=0]'), ('naive', 'mxfp4'), ('bf16', ''))
    """
    name, _, scheme = spec.partition("@")
    return name, re.sub(r"^w\d+(?=a\d)", "", scheme)


def _widths(family: Iterable[On], by: str) -> list[dict[str, Any]]:
    """Return the score of the order over the bits of a weight."""
    points = []
    for one in family:
        cell = one.cell
        place, bits = cell.scores.get(one.front.view.score), cell.values.get("bits")
        if place is None or place.value is None or bits is None or bits.number is None:
            continue
        method, common = line_of(cell.own.spec)
        points.append(
            {
                "line": visible_name(" ".join(filter(None, (cell.model if by == "model" else method, common)))),
                "name": visible_name(cell.own.spec),
                "bits": bits.number,
                "value": place.value,
                "low": place.low,
                "high": place.high,
                "letters": place.letters,
            }
        )
    return points
