"""Methods by models, read from a view: which method stands in which row, and its cell on each model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean

from admbench.leaderboard.record import FULL_PRECISION
from admbench.leaderboard.view import BoardView, ModelView, ViewRow


@dataclass(frozen=True)
class MethodRow:
    """A method and its cells."""

    spec: str
    """As typed, and what tells its cells from others of that spec where there are any."""
    cells: dict[str, ViewRow]
    """By the name of the model, in the order of the view; a model that it did not run on is not there."""


@dataclass(frozen=True)
class Matrix:
    """Every cell of a board."""

    models: tuple[str, ...]
    rows: tuple[MethodRow, ...]

    def cells(self) -> Iterator[tuple[str, MethodRow, ViewRow]]:
        """Yield (model, row, cell), row by row."""
        for row in self.rows:
            for model, own in row.cells.items():
                yield model, row, own


def matrix(view: BoardView) -> Matrix:
    """Return the cells of a view, a row for each method.

    Full precision stands first. Then a method's row is where its places in the orders of its models are on average,
    each as a share of that order, so that of one model the rows are in the engine's order. A method that has no place
    in any order stands last. Scores of different models are not averaged, and nothing is concluded from the order of
    rows.
    """
    found: dict[str, dict[str, ViewRow]] = {}
    places: dict[str, list[float]] = {}
    for model in view.models:
        shares = _places(view, model)
        for own in model.rows:
            found.setdefault(own.spec, {})[model.name] = own
            if own.spec in shares:
                places.setdefault(own.spec, []).append(shares[own.spec])
    order = sorted(found, key=lambda spec: _rank(spec, places))
    return Matrix(tuple(model.name for model in view.models), tuple(MethodRow(spec, found[spec]) for spec in order))


def _places(view: BoardView, model: ModelView) -> dict[str, float]:
    """Return where each method stands in the order of a model, from 0, first, to 1, last."""
    pairs = model.conclusions[view.score].pairs
    order = pairs.order if pairs else ()
    return {spec: place / max(1, len(order) - 1) for place, spec in enumerate(order)}


def _rank(spec: str, places: dict[str, list[float]]) -> tuple[bool, bool, float, str]:
    own = places.get(spec)
    return spec != FULL_PRECISION, own is None, fmean(own) if own else 0.0, spec
