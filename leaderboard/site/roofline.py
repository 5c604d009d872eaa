"""The roofline of a cell, where its record has one: how fast each layer runs below what the machine gives.

It is the `roofline` of a latency section, as `bench latency --roofline` measures it (docs/latency.md). The record lets
any JSON be it, so that nothing of it is trusted: what is no positive number is not drawn.
"""

from __future__ import annotations

from typing import Any

from admbench.leaderboard.record import Record
from admbench.leaderboard.site.layers import MOST_LAYERS
from admbench.plain_text import visible_lines

ROOFS = ("float_flops_per_second", "integer_flops_per_second", "bytes_per_second")
"""Rates of float32 and of int8 products, and the bandwidth of memory."""
OF_LAYER = ("flops_per_byte", "flops_per_second", "ms", "bound_ms")


def roofline_of(record: Record) -> dict[str, Any] | None:
    """Return the roofs and the layers of a cell's roofline, None where there is none that can be drawn."""
    found: Any = record.latency.roofline if record.latency else None
    if found is None or not isinstance(found.get("layers"), list):
        return None
    roofs = [_positive(found.get(key)) for key in ROOFS]
    layers = []
    for one in (layer for layer in found["layers"][:MOST_LAYERS] if isinstance(layer, dict)):
        numbers = [_positive(one.get(key)) for key in OF_LAYER]
        if None not in numbers:
            names = (visible_lines(str(one.get(key, ""))) for key in ("name", "kernel", "limited_by"))
            layers.append([*names, *numbers])
    return {"roofs": roofs, "layers": layers} if layers and None not in roofs else None


def _positive(value: Any) -> float | None:
    real = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if real and value > 0 else None
