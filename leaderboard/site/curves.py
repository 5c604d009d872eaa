"""What the plots of a model's, a method's and a cell's page are drawn from: bit widths, timesteps, layers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

from admbench.leaderboard.record import Record
from admbench.leaderboard.site.definitions import definition
from admbench.leaderboard.site.front import Front, FrontCell
from admbench.plain_text import visible_lines, visible_name

MOST_LAYERS = 5000
"""More layers of one cell are not drawn."""
LATENTS = "latent_sqnr_vs_baseline"
"""The score whose record has its value at every step."""
ERROR = "weight_sqnr_db"
"""What methods report of a layer's weights."""


def group_data(fronts: Sequence[Front], cells: Iterable[FrontCell], by: str) -> dict[str, Any]:
    """Return the curves of some cells, one a cell, named by their `method` or `model`."""
    own = list(cells)
    curves: list[dict[str, Any]] = []
    for cell in own:
        if cell.own.record.status == "done":
            name = cell.own.spec if by == "method" else cell.model
            curves.append(
                {
                    "name": visible_name(name),
                    "method": visible_name(cell.own.record.method.name),
                    "page": cell.page,
                    "steps": steps_of(cell.own.record),
                    "classes": classes_of(cell.own.record),
                }
            )
    label = definition(fronts[0].view.score).label
    return {"curves": curves, "widths": _widths(fronts, own, by), "score": visible_name(label)}


def steps_of(record: Record) -> list[tuple[float, float]]:
    """Return (timestep, dB) of the latents of a cell, in the order of sampling; empty where the record has none."""
    score = record.scores.get(LATENTS)
    steps = (score.model_extra or {}).get("steps") if score else None
    if not isinstance(steps, list):
        return []
    found = [(one.get("timestep"), one.get("db")) for one in steps if isinstance(one, dict)]
    return [(at, db) for at, db in found if isinstance(at, int | float) and isinstance(db, int | float)]


def layer_data(record: Record) -> dict[str, Any]:
    """Return name, class, bits and error of each layer that the method reports, in the order of the network."""
    layers = []
    for one in (record.method.layers or [])[:MOST_LAYERS]:
        error = one.get(ERROR)
        if _is_number(error):
            name = str(one.get("name", ""))
            bits = [one.get("weight_bits"), one.get("activation_bits")]
            layers.append(
                [
                    visible_lines(name),
                    visible_lines(layer_class(one)),
                    *(bit if _is_number(bit) else None for bit in bits),
                    error,
                ]
            )
    return {"layers": layers}


def classes_of(record: Record) -> list[tuple[str, int, float]]:
    """Return (class, layers, median error in dB) of a cell's layers, in the order in which classes come."""
    found: dict[str, list[float]] = {}
    for _, kind, _, _, error in layer_data(record)["layers"]:
        found.setdefault(kind, []).append(error)
    return [(kind, len(errors), median(errors)) for kind, errors in found.items()]


def layer_class(layer: dict[str, Any]) -> str:
    """Return what a layer does, from the last part of its name that is no number: `to_q`, `conv1`, `ff.net`.

    >>> layer_class({"name": "down_blocks.0.attentions.1.transformer_blocks.0.attn1.to_q"})
    'attn1.to_q'
    >>> layer_class({"name": "conv_in"}), layer_class({"name": "up.0.resnets.1.conv1"})
    ('conv_in', 'resnets.conv1')
    """
    parts = [part for part in str(layer.get("name", "")).split(".") if part and not part.isdigit()]
    return ".".join(parts[-2:]) if len(parts) > 1 else "".join(parts)


def _widths(fronts: Sequence[Front], own: Sequence[FrontCell], by: str) -> list[dict[str, Any]]:
    """Return the score of the order over the bits of a weight.

    Of a model: of all its methods, those of one name joined. Of a method: of all methods of its name, those on one
    model joined.
    """
    method = {cell.own.record.method.name for cell in own}
    known = {id(cell) for cell in own}
    points = []
    for one in fronts:
        for (model, spec), cell in one.cells.items():
            mine = id(cell) in known if by == "method" else cell.own.record.method.name in method
            place, bits = cell.scores.get(one.view.score), cell.values.get("bits")
            if not mine or place is None or place.value is None or bits is None or bits.number is None:
                continue
            line = cell.own.record.method.name if by == "method" else model
            points.append(
                {
                    "line": visible_name(line),
                    "name": visible_name(spec),
                    "bits": bits.number,
                    "value": place.value,
                    "low": place.low,
                    "high": place.high,
                    "letters": place.letters,
                }
            )
    return points


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
