"""Geometry of the quality-size plot: the score of the order over checkpoint bytes, a panel per model, drawn as SVG.

SVG rather than a bitmap: it follows the page's colours in light and dark, stays sharp, and every point keeps its text.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from admbench.leaderboard.inference.pairs import AllPairs
from admbench.leaderboard.site.numbers import Scale, decimals, fixed, interval, megabytes
from admbench.leaderboard.view import BoardView, ModelView, ViewRow

WIDTH, HEIGHT = 400, 300
LEFT, RIGHT, TOP, BOTTOM = 46, 388, 28, 256
_CHARACTER = 6.1  # width of a label's character, px
_LINE = 13  # height of a label, px


@dataclass(frozen=True)
class Point:
    """A method on a panel, in px."""

    x: float
    y: float
    low: float
    high: float
    front: bool  # no method of the model that is as small or smaller is shown to be better
    label: "Label | None"  # None where there is no room; the title still names it
    title: str


@dataclass(frozen=True)
class Label:
    """Text beside a point."""

    x: float
    y: float
    anchor: str
    text: str


@dataclass(frozen=True)
class Panel:
    """The plot of one group of a board."""

    group: str
    model: str
    points: list[Point]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    log: tuple[bool, bool]  # x, y


def panels(view: BoardView) -> list[Panel]:
    """One panel per model with an order and sizes; the axis of the score is the same for all panels of a board."""
    models = [(model, [own for own in model.rows if _coordinates(own, view.score)]) for model in view.models]
    bounds = [value for _, rows in models for own in rows for value in _coordinates(own, view.score)[1:]]
    if not bounds:
        return []
    quality = Scale.over(bounds, margin=0.06)
    return [_panel(model, rows, view.score, quality) for model, rows in models if rows]


def _panel(model: ModelView, rows: Sequence[ViewRow], score: str, quality: Scale) -> Panel:
    places = [_coordinates(own, score) for own in rows]
    size = Scale.over([place[0] for place in places], margin=0.12, log_from=3)
    xs = [LEFT + size(place[0]) * (RIGHT - LEFT) for place in places]
    ys = [[BOTTOM - quality(value) * (BOTTOM - TOP) for value in place[1:]] for place in places]
    pairs = model.conclusions[score].pairs
    front = _front(pairs, [(own.spec, place[0]) for own, place in zip(rows, places, strict=True)]) if pairs else []
    labels = _labels([(x, y[0]) for x, y in zip(xs, ys, strict=True)], [own.spec for own in rows], front)
    points = [
        Point(x, y, low, high, place in front, label, _title(own, score))
        for place, (own, x, (y, low, high), label) in enumerate(zip(rows, xs, ys, labels, strict=True))
    ]
    y_ticks = quality.ticks()
    digits = 0 if max(y_ticks, default=0) >= 10 else decimals(y_ticks)
    return Panel(
        group=model.name,
        model=rows[0].record.model.name,
        points=points,
        x_ticks=[(LEFT + size(tick) * (RIGHT - LEFT), f"{tick / 1e6:g}") for tick in size.ticks(4)],
        y_ticks=[(BOTTOM - quality(tick) * (BOTTOM - TOP), _tick(tick, digits)) for tick in y_ticks],
        log=(size.log, quality.log),
    )


def _coordinates(own: ViewRow, score: str) -> tuple[float, ...]:
    """Bytes, score, low, high; empty if one of them is missing."""
    standing, size = own.standings.get(score), own.record.size
    if standing is None or size is None or size.checkpoint_bytes is None:
        return ()
    return float(size.checkpoint_bytes), standing.value, standing.low, standing.high


def _tick(value: float, places: int) -> str:
    return f"{value:g}" if value < 1 else fixed(value, places)


def _title(own: ViewRow, score: str) -> str:
    size, value, low, high = _coordinates(own, score)
    places, standing = decimals([value]), own.standings[score]
    return (
        f"{own.spec}: {fixed(value, places)} {interval((low, high), places)}, rank {standing.rank}, "
        f"{standing.letters}, {megabytes(round(size))}"
    )


def _front(pairs: AllPairs, cells: Sequence[tuple[str, float]]) -> list[int]:
    """Indices of the cells, named with their bytes, that no other one of as many bytes or fewer is shown to beat."""
    return [
        place
        for place, (spec, size) in enumerate(cells)
        if not any(other != spec and its <= size and pairs.better_than(other, spec) for other, its in cells)
    ]


def _labels(points: Sequence[tuple[float, float]], texts: Sequence[str], first: Sequence[int]) -> list[Label | None]:
    """Place each label beside its point where it covers no other label or point; the front chooses first."""
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in points]
    labels: list[Label | None] = [None] * len(points)
    for index in [*first, *(index for index in range(len(points)) if index not in first)]:
        x, y = points[index]
        text = texts[index] if len(texts[index]) <= 24 else texts[index][:23] + "…"
        width = len(text) * _CHARACTER
        options = (
            (x + 8, y - 4, "start"),
            (x + 8, y + 14, "start"),
            (x - 8, y - 4, "end"),
            (x - 8, y + 14, "end"),
            (x, y - 10, "middle"),
            (x, y + 20, "middle"),
        )
        for at, base, anchor in options:
            left = at - {"start": 0.0, "middle": width / 2, "end": width}[anchor]
            box = (left, base - _LINE + 3, left + width, base + 3)
            inside = box[0] > LEFT + 2 and box[2] < WIDTH and box[1] > 2 and box[3] < BOTTOM
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                labels[index] = Label(at, base, anchor, text)
                break
    return labels


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
