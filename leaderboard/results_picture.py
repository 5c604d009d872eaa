"""Distances to full precision as one picture, SVG: a row a method, a mark with its interval a model, on one axis."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape

from admbench.leaderboard.comparison import Comparison, Line
from admbench.leaderboard.short_table import called, groups_of_bits, nearness
from admbench.leaderboard.site.definitions import definition

ROW, HEAD, LEFT, RIGHT, TOP = 19, 30, 190, 24, 64
"""Pixels: of a row, of a heading between them, of the names, and at the edges."""
WIDTH = 560
"""Pixels of the axis."""
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
"""One a model, which colour-blind people tell apart (Okabe & Ito 2008); marks have shapes of their own as well."""
_HALO = 'paint-order="stroke" stroke="#fff" stroke-width="4"'
_FONT = 'font-family="system-ui, sans-serif" font-size="12"'


def distances_svg(one: Comparison) -> str:
    """Return the picture of a comparison's score of the order, on a logarithmic axis.

    Cells whose score is not above zero, as full precision's is not, have no place on it and are left out.
    """
    groups = groups_of_bits(one)
    models = [table.model for table in one.models]
    score = one.sorted_by
    axis = _Axis([value for lines in groups.values() for line in lines.values() for value in _numbers(line, score)])
    parts: list[str] = []
    y = TOP
    for bits, lines in groups.items():
        methods = sorted({method for _, method in lines}, key=lambda name: nearness(name, models, lines, score))
        parts.append(f'<text x="8" y="{y + HEAD - 10}" font-weight="600" {_HALO}>{escape(called(*bits))}</text>')
        y += HEAD
        for method in methods:
            middle = y + ROW / 2
            parts.append(f'<text x="{LEFT - 8}" y="{middle + 4:.1f}" text-anchor="end">{escape(method)}</text>')
            parts.append(f'<line x1="{LEFT}" x2="{LEFT + WIDTH}" y1="{middle}" y2="{middle}" stroke="#eee"/>')
            for k, model in enumerate(models):
                if (model, method) in lines and (found := _numbers(lines[model, method], score)):
                    parts.append(_mark(k, axis, found, middle + 4 * (k - (len(models) - 1) / 2), model, method))
            y += ROW
    title = f"{definition(score).label} (logarithmic, 95 % intervals over {one.n} captions; left is nearer)"
    drawn = [_legend(models), *axis.lines(TOP, y), *parts]
    drawn.append(f'<text x="{LEFT}" y="{y + 38}">{escape(title)}</text>')
    width, height = LEFT + WIDTH + RIGHT, y + 50
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        f' {_FONT} role="img" aria-label="{escape(title)}">\n<rect width="100%" height="100%" fill="#fff"/>\n'
        + "\n".join(drawn)
        + "\n</svg>\n"
    )


class _Axis:
    """Where a number lies between the ends of the axis, which are powers of ten."""

    def __init__(self, numbers: Sequence[float]) -> None:
        numbers = numbers or [1.0]
        self.first = math.floor(math.log10(min(numbers)))
        self.last = max(self.first + 1, math.ceil(math.log10(max(numbers))))

    def place(self, number: float) -> float:
        """Return the pixel of a number above zero."""
        return LEFT + WIDTH * (math.log10(number) - self.first) / (self.last - self.first)

    def lines(self, top: float, bottom: float) -> Iterable[str]:
        """Yield a line and a number for each power of ten."""
        for power in range(self.first, self.last + 1):
            x = self.place(10.0**power)
            yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}" stroke="#ccc"/>'
            yield f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{10.0**power:g}</text>'


def _numbers(line: Line, score: str) -> list[float]:
    """Return value, low and high of a score, where all three have a place on a logarithmic axis."""
    own = line.scores[score]
    if own.value is None or own.low is None or own.high is None or min(own.value, own.low) <= 0:
        return []
    return [own.value, own.low, own.high]


def _mark(k: int, axis: _Axis, numbers: Sequence[float], y: float, model: str, method: str) -> str:
    value, low, high = map(axis.place, numbers)
    colour = COLOURS[k % len(COLOURS)]
    told = escape(f"{method}, {model}: {numbers[0]:.3g} [{numbers[1]:.3g}, {numbers[2]:.3g}]")
    return (
        f'<g stroke="{colour}" fill="{colour}"><title>{told}</title>'
        f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke-width="1.5"/>{_shape(k, value, y)}</g>'
    )


def _shape(k: int, x: float, y: float) -> str:
    if k % 3 == 0:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>'
    if k % 3 == 1:
        return f'<path d="M{x - 4:.1f} {y:.1f}L{x:.1f} {y - 4:.1f}L{x + 4:.1f} {y:.1f}L{x:.1f} {y + 4:.1f}Z"/>'
    return f'<rect x="{x - 3:.1f}" y="{y - 3:.1f}" width="6" height="6"/>'


def _legend(models: Sequence[str]) -> str:
    marks, x = [], LEFT
    for k, model in enumerate(models):
        colour = COLOURS[k % len(COLOURS)]
        marks.append(f'<g fill="{colour}">{_shape(k, x, 24)}</g><text x="{x + 10}" y="28">{escape(model)}</text>')
        x += 40 + 7 * len(model)
    return "\n".join(marks)
