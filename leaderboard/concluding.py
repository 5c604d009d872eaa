"""What follows from the per-caption results of one model's cells: concluded once, and remembered where asked for.

Reading is most of a board of many records and concluding the rest, so a board that is built again with one new record
takes all models but one from the user's cache (`admbench.leaderboard.remembered`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from admbench.files import slug
from admbench.hashing import sha256_json
from admbench.leaderboard import remembered
from admbench.leaderboard.inference.agreement import Agreement, Opinion, agreement
from admbench.leaderboard.inference.board import ModelConclusion, conclude_model
from admbench.leaderboard.inference.margins import DEFAULT_MARGINS
from admbench.leaderboard.inference.repeats import ModelResults, read_results
from admbench.leaderboard.inference.scores import ScoreKind
from admbench.leaderboard.reading import LoadedRecord
from admbench.leaderboard.record import FULL_PRECISION
from admbench.leaderboard.run_folder import PER_CAPTION, RECORD_FILE
from admbench.leaderboard.states import Checks, State


@dataclass(frozen=True)
class Asked:
    """What is to be concluded of every model of a board."""

    orders: tuple[str, ...]
    """Scores of orders, that of the verdicts first."""
    judge: str
    """Of the first order."""
    further: Mapping[str, str]
    """Score by a further judge -> the judge."""
    remembered: bool = False
    """Whether the user's cache is asked, and kept."""


@dataclass(frozen=True)
class Concluded:
    """What follows from the per-caption results of a model's cells, which are read once."""

    conclusions: dict[str, ModelConclusion]
    """By each score of an order, verdicts with the first."""
    agreements: tuple[Agreement, ...]
    states: dict[str, State]
    """How far each record that has scores was checked, by its path."""


def conclude_cells(asked: Asked, group: str, cells: Sequence[LoadedRecord]) -> Concluded:
    """Conclude from the cells of a model."""
    found = _remembered(asked, group, cells) if asked.remembered else _concluded(asked, group, cells)
    checks = Checks()  # a note that a cell was scored again is of this copy of the run, and is looked at each time
    noted: dict[str, State] = {str(loaded.path): "re-scored" for loaded in cells if checks.rescored(loaded)}
    return Concluded(found.conclusions, found.agreements, found.states | noted)


def _remembered(asked: Asked, group: str, cells: Sequence[LoadedRecord]) -> Concluded:
    files = list(_files(cells))
    before = remembered.states_of(files)
    name = remembered.key("conclusions", _follows_from(asked, group, cells, files))
    found = remembered.recall(name)
    if found is None:
        found = _concluded(asked, group, cells)
        if remembered.states_of(files) == before:
            remembered.remember(name, found)
    return found


def _files(cells: Sequence[LoadedRecord]) -> Iterator[Path]:
    """Yield what conclusions are read from beside the records: every cell's results, and full precision's record."""
    yield from (loaded.cell / PER_CAPTION for loaded in cells)
    for model in dict.fromkeys(loaded.cell.parent for loaded in cells):
        yield model / slug(FULL_PRECISION) / RECORD_FILE
        yield model / slug(FULL_PRECISION) / PER_CAPTION


def _follows_from(
    asked: Asked, group: str, cells: Sequence[LoadedRecord], files: Iterable[Path]
) -> Iterator[str | None]:
    """Yield everything that conclusions follow from; paths too, for what is left out is named by its file."""
    yield sha256_json([group, asked.orders, asked.judge, dict(asked.further)])
    yield from map(str, DEFAULT_MARGINS.values())
    for loaded in cells:
        yield from (loaded.name, str(loaded.path), str(loaded.run))
        yield hashlib.sha256(loaded.record.model_dump_json().encode()).hexdigest()
    yield from map(remembered.file_sha256, files)


def _concluded(asked: Asked, group: str, cells: Sequence[LoadedRecord]) -> Concluded:
    results, orders = read_results(cells), asked.orders
    first = {orders[0]: conclude_model(group, results, orders[0], DEFAULT_MARGINS)}
    conclusions = first | {key: conclude_model(group, results, key, margins={}) for key in orders[1:]}
    agreements = _agreements(conclusions, asked.judge, asked.further)
    return Concluded({key: _kept(one) for key, one in conclusions.items()}, agreements, _states(cells, results))


def _kept(one: ModelConclusion) -> ModelConclusion:
    """Return a conclusion without the draws of its bootstrap, which nobody asks for after the agreement of judges."""
    return one if one.pairs is None else replace(one, pairs=replace(one.pairs, largest=np.zeros(0)))


def _states(cells: Iterable[LoadedRecord], results: ModelResults) -> dict[str, State]:
    checks = Checks()
    found: dict[str, State] = {}
    for loaded in cells:
        if loaded.record.status == "done":
            content = results.content.get(loaded.name, {}).get(loaded.record.method.repeat)
            found[str(loaded.path)] = checks.computed(loaded, content) if content else checks.read(loaded)
    return found


def _agreements(
    conclusions: Mapping[str, ModelConclusion], judge: str, further: Mapping[str, str]
) -> tuple[Agreement, ...]:
    """Hold the order of a model's cells by one judge against that by each further one, where two cells have both."""
    first = next(iter(conclusions.values()))
    found = []
    for key, name in further.items():
        other = conclusions[key]
        both = first.cells.keys() & other.cells.keys()
        if first.kind and other.kind and first.captions == other.captions and len(both) > 1:
            found.append(agreement(_opinion(judge, first, first.kind), _opinion(name, other, other.kind)))
    return tuple(found)


def _opinion(judge: str, one: ModelConclusion, kind: ScoreKind) -> Opinion:
    return Opinion(judge, one.cells, kind, one.pairs.largest if one.pairs else None)
