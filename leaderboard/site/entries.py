"""Entries of the ladder's table as plain data, all text still unescaped."""

from collections.abc import Sequence
from dataclasses import dataclass

from admbench.leaderboard.ladder import Estimate
from admbench.leaderboard.record import Score
from admbench.leaderboard.site.numbers import Scale, decimals, fixed, interval


@dataclass(frozen=True)
class Bar:
    """An interval on its column's scale, in percent."""

    low: float
    value: float
    high: float


@dataclass(frozen=True)
class Cell:
    """One entry of the table; `missing` is the reason for a dash."""

    key: str
    text: str = ""
    interval: str = ""
    bar: Bar | None = None
    missing: str = ""


def estimate_cells(key: str, estimates: Sequence[Score | Estimate | None]) -> list[Cell]:
    """The cells of a column of numbers: one count of decimals, one scale, a dash and a reason for a missing one."""
    values = [estimate.value for estimate in estimates if estimate and estimate.value is not None]
    bounds = [bound for estimate in estimates if estimate for bound in estimate.ci95 or ()]
    places, scale = decimals(values), Scale.over([*values, *bounds]) if values else None
    return [_estimate_cell(key, estimate, places, scale) for estimate in estimates]


def _estimate_cell(key: str, estimate: Score | Estimate | None, places: int, scale: Scale | None) -> Cell:
    if estimate is None or estimate.value is None or scale is None:
        return Cell(key, missing=(estimate and estimate.reason) or "not asked for")
    text = fixed(estimate.value, places)
    if estimate.value > 0 and not text.strip("0."):
        text = f"< {10.0**-places:g}"
    if estimate.ci95 is None:
        return Cell(key, text, f"no interval: {estimate.reason}")
    low, high = estimate.ci95
    bar = Bar(100 * scale(low), 100 * scale(estimate.value), 100 * scale(high))
    return Cell(key, text, interval(estimate.ci95, places), bar=bar)
