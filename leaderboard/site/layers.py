"""What a record says of the layers that were quantized: the error of each one's weights, by layer and by class."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Any

from admbench.leaderboard.record import Record
from admbench.plain_text import visible_lines

MOST_LAYERS = 5000
"""More layers of one cell are not drawn."""
ERROR = "weight_sqnr_db"
"""What methods report of a layer's weights."""
SHOWN_LAYERS = 15
"""Of the layers that rounding costs most."""


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


def classes_of(record: Record) -> list[tuple[str, int, float, str]]:
    """Return (class, layers, median error in dB, bits of weights) of a cell's layers, in the order of their classes."""
    errors: dict[str, list[float]] = {}
    bits: dict[str, set[float]] = {}
    for _, kind, width, _, error in layer_data(record)["layers"]:
        errors.setdefault(kind, []).append(error)
        bits.setdefault(kind, set()).update([] if width is None else [width])
    return [(kind, len(own), median(own), _span(bits[kind])) for kind, own in errors.items()]


def layer_class(layer: dict[str, Any]) -> str:
    """Return what a layer does, from the last part of its name that is no number: `to_q`, `conv1`, `ff.net`.

    >>> layer_class({"name": "down_blocks.0.attentions.1.transformer_blocks.0.attn1.to_q"})
    'attn1.to_q'
    >>> layer_class({"name": "conv_in"}), layer_class({"name": "up.0.resnets.1.conv1"})
    ('conv_in', 'resnets.conv1')
    """
    parts = [part for part in str(layer.get("name", "")).split(".") if part and not part.isdigit()]
    return ".".join(parts[-2:]) if len(parts) > 1 else "".join(parts)


@dataclass(frozen=True)
class Layer:
    """A layer of a model, over the cells that report its error."""

    name: str
    kind: str
    """Its class."""
    bits: str
    """That cells gave its weights: `4`, or `4-8`."""
    cells: int
    """That report it."""
    below: float
    """Median over cells of how far its SQNR is below the median of all layers of the cell, in dB."""
    worst: float
    """Lowest SQNR of its weights in any cell, in dB."""


def most_sensitive(records: Iterable[Record]) -> list[Layer]:
    """Return the layers of one model whose weights lose most when they are quantized, that which loses most first.

    Cells have other bits, so that a layer is held against the median layer of each cell. Layers that are no further
    below it than half of all layers are left out.
    """
    below: dict[str, list[float]] = {}
    errors: dict[str, list[float]] = {}
    bits: dict[str, set[float]] = {}
    kinds: dict[str, str] = {}
    for record in records:
        layers = layer_data(record)["layers"]
        middle = median([error for *_, error in layers]) if layers else 0.0
        for name, kind, width, _, error in layers:
            kinds[name] = kind
            below.setdefault(name, []).append(middle - error)
            errors.setdefault(name, []).append(error)
            if width is not None:
                bits.setdefault(name, set()).add(width)
    found = [
        Layer(name, kinds[name], _span(bits.get(name, set())), len(own), median(own), min(errors[name]))
        for name, own in below.items()
        if median(own) > 0
    ]
    return sorted(found, key=lambda layer: (-layer.below, layer.name))[:SHOWN_LAYERS]


def _span(numbers: set[float]) -> str:
    if not numbers:
        return "?"
    low, high = min(numbers), max(numbers)
    return f"{low:g}" if low == high else f"{low:g}-{high:g}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
