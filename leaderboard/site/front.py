"""The front page of a board as data: its matrix, the columns beside it, what it can be filtered by, who beats whom."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from admbench.leaderboard.identity import submitter
from admbench.leaderboard.inference.scores import OWN_AUDIO, score_kind
from admbench.leaderboard.inference.sentences import measured
from admbench.leaderboard.matrix import Matrix, MethodRow, matrix
from admbench.leaderboard.record import FULL_PRECISION, Record, Score
from admbench.leaderboard.site.columns import Column, Value, columns_of, kernels, width
from admbench.leaderboard.site.definitions import against, definition
from admbench.leaderboard.site.layers import classes_of
from admbench.leaderboard.site.names import Names
from admbench.leaderboard.site.numbers import Scale, count, decimals
from admbench.leaderboard.view import BoardView, ViewRow
from admbench.leaderboard.view_words import short_verdict
from admbench.plain_text import visible_name


@dataclass(frozen=True, slots=True)
class Place:
    """A score of a cell, with what the engine concludes from it where it does."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    letters: str = ""
    first: int | None = None
    """Rank interval."""
    last: int | None = None
    word: str = ""
    """no worse | worse | cannot be told, of what the score is held against."""
    note: str = ""
    missing: str = ""
    """Why it has no value, or no place in the order."""

    @property
    def rank(self) -> str:
        """The rank interval as text; empty where there is none."""
        return "" if self.first is None else str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


@dataclass(frozen=True)
class ScoreChoice:
    """A score that the matrix can show."""

    key: str
    label: str
    detail: str
    meaning: str
    better: str
    places: int
    scale: Scale
    ticks: list[float]


@dataclass(frozen=True)
class FrontCell:
    """A method on a model."""

    own: ViewRow
    model: str
    page: str
    """Its page, from the root of the site."""
    scores: dict[str, Place]
    values: dict[str, Value]
    facets: dict[str, str]

    @cached_property
    def classes(self) -> list[tuple[str, int, float, str]]:
        """Class of layers, how many, the median error of their weights in dB, and their bits."""
        return classes_of(self.own.record)


@dataclass(frozen=True)
class Front:
    """Everything that the front page says of a board."""

    view: BoardView
    matrix: Matrix
    scores: list[ScoreChoice]
    columns: list[Column]
    cells: dict[tuple[str, str], FrontCell]
    """By model and method, row by row of the matrix."""

    def cell(self, model: str, row: MethodRow) -> FrontCell | None:
        """Return the cell of a method on a model, None where it was not run."""
        return self.cells.get((model, row.spec))

    def of(self, row: MethodRow) -> list[FrontCell]:
        """Return the cells of a method."""
        return [self.cells[model, row.spec] for model in row.cells]


_FACETS: tuple[tuple[str, str, Callable[[ViewRow], str | None]], ...] = (
    ("family", "Family", lambda own: own.record.method.family),
    ("track", "Track", lambda own: own.record.method.track),
    ("width", "Bits", lambda own: width(own.record)),
    ("components", "Component", lambda own: "+".join(own.record.method.components or ())),
    ("kernels", "Kernels", lambda own: kernels(own.record)),
    ("verdict", "Verdict", lambda own: own.verdicts["fd"].word if "fd" in own.verdicts else None),
    ("checked", "Checked", lambda own: own.state),
    ("machine", "Machine", lambda own: _machine(own.record)),
    ("submitter", "Submitter", lambda own: submitter(own.record)),
)
FACETS = tuple(key for key, _, _ in _FACETS)
NOT_SAID = "not said"


def front(view: BoardView, names: Names) -> Front:
    """Return the front page of a board, with names of pages as `names` says."""
    table = matrix(view)
    rows = [own for _, _, own in table.cells()]
    columns, scores = columns_of(rows), _scores(view, rows)
    cells = {
        (model, row.spec): FrontCell(
            own,
            model,
            names.cell(own.row),
            {one.key: place_of(own, one.key) for one in scores},
            {column.key: column.of(own) for column in columns},
            {facet: visible_name(of(own) or NOT_SAID) for facet, _, of in _FACETS},
        )
        for model, row, own in table.cells()
    }
    return Front(view, table, scores, columns, cells)


def place_of(own: ViewRow, key: str) -> Place:
    """Return a score of a cell: the engine's value where it has one, else what the record says."""
    score = own.record.scores.get(key)
    if own.spec == FULL_PRECISION and key.endswith(OWN_AUDIO):
        return Place(missing="this is full precision")
    if own.record.status != "done" or score is None or score.value is None:
        return Place(missing=own.record.reason or (score and score.reason) or "not asked for")
    note = count(splits, "split") if (splits := splits_of(score)) else ""
    verdict = own.verdicts.get(key)
    word, judged = (verdict.word, f"{short_verdict(verdict)}: {measured(verdict)}") if verdict else ("", "")
    note = "; ".join(filter(None, (note, judged)))
    place, drawn = own.standings.get(key), own.drawn.get(key)
    if place is not None:
        return Place(place.value, place.low, place.high, place.letters, place.first, place.last, word, note)
    if drawn is not None:
        return Place(drawn.value, drawn.low, drawn.high, word=word, note=note, missing=own.missing.get(key, ""))
    low, high = score.ci95 or (None, None)
    return Place(score.value, low, high, word=word, note=note, missing=own.missing.get(key, ""))


def splits_of(score: Score) -> int | None:
    """Return the number of splits of an Inception score."""
    splits = (score.model_extra or {}).get("splits")
    return splits if isinstance(splits, int) else None


def facets_of(fronts: Sequence[Front]) -> list[dict[str, Any]]:
    """Return what cells can be filtered by: the models, then each facet that differs, with its values."""
    models = list(dict.fromkeys(visible_name(model) for one in fronts for model in one.matrix.models))
    found = [{"key": "model", "label": "Models", "values": models}]
    cells = [cell for one in fronts for cell in one.cells.values()]
    for key, label, _ in _FACETS:
        values = sorted({cell.facets[key] for cell in cells}, key=_natural)
        if len(values) > 1:
            found.append({"key": key, "label": label, "values": values})
    return found


def _scores(view: BoardView, rows: Sequence[ViewRow]) -> list[ScoreChoice]:
    """Return the scores that any cell has: that of the order first."""
    found = []
    for key in dict.fromkeys((view.score, *view.board.metrics)):
        places = [place_of(own, key) for own in rows]
        known = [place for place in places if place.value is not None]
        bounds = [number for place in known for number in (place.value, place.low, place.high) if number is not None]
        if not bounds:
            continue
        said = next(score for own in rows if (score := own.record.scores.get(key)) and score.value is not None)
        meaning = definition(key)
        log = bool((kind := score_kind(key)) and kind.ratio_scale)
        scale = Scale.over(bounds, margin=0.04, log_from=3 if log else float("inf"))
        found.append(
            ScoreChoice(
                key,
                meaning.label,
                against(said),
                meaning.meaning,
                "higher" if said.higher_is_better else "lower",
                decimals([place.value for place in known if place.value is not None]),
                scale,
                scale.ticks(4),
            )
        )
    return found


def method_detail(record: Record) -> str:
    """Return a method in two or three words."""
    family = record.method.family or ("full precision" if record.method.name == FULL_PRECISION else "")
    return ", ".join(filter(None, (family, "fine-tuned" if record.method.track == "fine-tuned" else "")))


def _machine(record: Record) -> str | None:
    environment = record.environment
    return " + ".join(filter(None, (environment.cpu, environment.gpu))) if environment else None


def _natural(text: str) -> tuple[bool, str]:
    return text == NOT_SAID, text
