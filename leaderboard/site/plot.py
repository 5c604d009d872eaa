"""Geometry of the quality-size plot: FD over checkpoint bytes, one panel per model, drawn as SVG by the template.

SVG rather than a bitmap: it follows the page's colours in light and dark, stays sharp, and every point keeps its text.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from admbench.leaderboard.boards import RANKED_BY, Board, Row
from admbench.leaderboard.record import FULL_PRECISION
from admbench.leaderboard.site.numbers import Scale, decimals, fixed, interval, megabytes

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
    front: bool  # no method of the panel is both smaller and better
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
    front: str  # path of the Pareto front
    full: tuple[float, float, float] | None  # y of full precision and of its interval
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    log: tuple[bool, bool]  # x, y


def panels(board: Board) -> list[Panel]:
    """One panel per group with at least one FD and size; the FD axis is the same for all panels of a board."""
    plotted = [row for row in board.rows if _coordinates(row)]
    if not plotted:
        return []
    bounds = [value for row in plotted for value in _coordinates(row)[1:]]
    quality = Scale.over(bounds, margin=0.06)
    groups = dict.fromkeys(row.group for row in plotted)
    return [_panel([row for row in plotted if row.group == group], quality) for group in groups]


def _panel(rows: Sequence[Row], quality: Scale) -> Panel:
    size = Scale.over([_coordinates(row)[0] for row in rows], margin=0.12, log_from=3)
    xs = [LEFT + size(_coordinates(row)[0]) * (RIGHT - LEFT) for row in rows]
    ys = [[BOTTOM - quality(value) * (BOTTOM - TOP) for value in _coordinates(row)[1:]] for row in rows]
    front = _pareto([(_coordinates(row)[0], _coordinates(row)[1]) for row in rows])
    labels = _labels([(x, y[0]) for x, y in zip(xs, ys, strict=True)], [row.name for row in rows], front)
    points = [
        Point(x, y, low, high, place in front, label, _title(row))
        for place, (row, x, (y, low, high), label) in enumerate(zip(rows, xs, ys, labels, strict=True))
    ]
    full = next((ys[i] for i, row in enumerate(rows) if row.record.method.name == FULL_PRECISION), None)
    y_ticks = quality.ticks()
    places = 0 if max(y_ticks, default=0) >= 10 else decimals(y_ticks)
    return Panel(
        group=rows[0].group,
        model=rows[0].record.model.name,
        points=points,
        front=_steps([points[place] for place in front]),
        full=(full[0], full[1], full[2]) if full else None,
        x_ticks=[(LEFT + size(tick) * (RIGHT - LEFT), f"{tick / 1e6:g}") for tick in size.ticks(4)],
        y_ticks=[(BOTTOM - quality(tick) * (BOTTOM - TOP), _tick(tick, places)) for tick in y_ticks],
        log=(size.log, quality.log),
    )


def _coordinates(row: Row) -> tuple[float, ...]:
    """Bytes, FD, low, high; empty if one of them is missing."""
    score, size = row.record.scores.get(RANKED_BY), row.record.size
    if score is None or score.value is None or size is None or size.checkpoint_bytes is None:
        return ()
    low, high = score.ci95 or (score.value, score.value)
    return float(size.checkpoint_bytes), score.value, low, high


def _tick(value: float, places: int) -> str:
    return f"{value:g}" if value < 1 else fixed(value, places)


def _title(row: Row) -> str:
    size, value, low, high = _coordinates(row)
    places = decimals([value])
    return f"{row.name}: FD {fixed(value, places)} {interval((low, high), places)}, {megabytes(round(size))}"


def _pareto(values: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points that no other point beats in both size and FD, from small to large."""
    front: list[int] = []
    for index in sorted(range(len(values)), key=lambda index: values[index]):
        if not front or values[index][1] < values[front[-1]][1]:
            front.append(index)
    return front


def _steps(points: Sequence[Point]) -> str:
    """A staircase through the front: from one size to the next, the best FD stays that of the smaller one."""
    if not points:
        return ""
    moves = [f"M{points[0].x:.1f} {points[0].y:.1f}"]
    moves += [f"H{point.x:.1f}V{point.y:.1f}" for point in points[1:]]
    return "".join(moves)


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
