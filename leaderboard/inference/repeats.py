"""The calibration draws of each method, from the records of a model and the per-caption results beside them.

A method that was run with several calibration draws has a record for each (`method.repeat`). Its score is a sequence of
scores, one a draw, and draw r of one method is held against draw r of another: so methods that are compared with each
other are taken with the same draws.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from admbench.errors import DataError
from admbench.leaderboard.per_caption import PER_CAPTION, PerCaption, read_per_caption
from admbench.leaderboard.reading import LoadedRecord

Draws = Mapping[int, PerCaption]
"""Per-caption results of one method by the number of the draw, ascending."""


def methods_of(cells: Sequence[LoadedRecord]) -> dict[str, list[LoadedRecord]]:
    """Return the records of each method by its spec, or by what a board calls it, in the order of their draws.

    Raises:
        ValueError: two records of one method and draw.
    """
    methods: dict[str, list[LoadedRecord]] = {}
    for cell in cells:
        methods.setdefault(cell.name, []).append(cell)
    for spec, own in methods.items():
        own.sort(key=lambda cell: cell.record.method.repeat)
        if len({cell.record.method.repeat for cell in own}) < len(own):
            raise ValueError(f"{own[0].record.model.name}: two records of one method and draw, {spec}")
    return methods


@dataclass(frozen=True)
class ModelResults:
    """What is read once of the cells of a model."""

    methods: dict[str, list[LoadedRecord]]
    """Method spec -> its records, in the order of their draws."""
    content: dict[str, Draws]
    """Method spec -> its per-caption results."""
    left_out: dict[str, str]
    """Method spec -> why it has none."""


def read_results(cells: Sequence[LoadedRecord]) -> ModelResults:
    """Read the per-caption results of every method of a model.

    Args:
        cells: its records, of one board; of a method that was run with several calibration draws one for each.

    Raises:
        ValueError: two records of one method and calibration draw.
    """
    methods = methods_of(cells)
    content: dict[str, Draws] = {}
    left_out: dict[str, str] = {}
    for spec, own in methods.items():
        try:
            content[spec] = read_draws(own)
        except ValueError as error:
            left_out[spec] = str(error)
    return ModelResults(methods, content, left_out)


def read_draws(cells: Sequence[LoadedRecord]) -> Draws:
    """Read the per-caption results of a method's draws.

    Raises:
        ValueError: a draw failed, is not to be ranked, or its results cannot be read: a method is not judged by those
            of its draws that went well.
    """
    draws = {}
    for cell in cells:
        which = f"repeat {cell.record.method.repeat}: " if len(cells) > 1 else ""
        if cell.record.status != "done":
            raise ValueError(f"{which}{cell.record.status}: {cell.record.reason}")
        if cell.record.model.random_weights:
            raise ValueError("random weights are not ranked")
        try:
            draws[cell.record.method.repeat] = read_per_caption(cell.run, cell.cell / PER_CAPTION)
        except DataError as error:
            raise ValueError(f"{which}{error}") from None
    return draws


def same_draws(methods: Mapping[str, Draws]) -> dict[str, Draws]:
    """Return methods with the draws by which they are compared with each other.

    Those that have the draws which most have are taken with these; one that lacks some of them with its first alone,
    as is one that has no other.
    """
    known = Counter(tuple(draws) for draws in methods.values() if len(draws) > 1)
    if not known:
        return dict(methods)
    usual = max(known, key=lambda numbers: (known[numbers], len(numbers)))
    return {
        spec: {number: draws[number] for number in (usual if set(usual) <= set(draws) else list(draws)[:1])}
        for spec, draws in methods.items()
    }


def paired_draws(own: Draws, base: Draws) -> tuple[list[PerCaption], list[PerCaption]]:
    """Return the draws of a method and of what it is held against: those that both have, where both have several.

    Raises:
        ValueError: they have none in common.
    """
    if len(own) == 1 or len(base) == 1:
        return list(own.values()), list(base.values())
    common = [number for number in own if number in base]
    if not common:
        raise ValueError("no calibration draw in common with what it is held against")
    return [own[number] for number in common], [base[number] for number in common]


def draws_caution(spec: str, cells: Sequence[LoadedRecord], taken: Draws, most: int) -> str | None:
    """Return what is to be said of a method that depends on its draws but is compared by one; None if nothing.

    Args:
        spec: of the method.
        cells: its records.
        taken: the draws by which it is compared.
        most: draws of the other methods.
    """
    if most < 2 or len(taken) > 1 or all(cell.record.calibration is None for cell in cells):
        return None
    return f"{spec} is compared by 1 calibration draw, others by {most}: its interval knows nothing of other draws"
