"""What a run shows in a few lines, for a page that introduces it: the conclusion, and a table of methods by models."""

from __future__ import annotations

import math
from collections.abc import Sequence

from admbench.leaderboard.comparison import Comparison, Line
from admbench.leaderboard.comparison_text import code_span, escaped, markdown_table
from admbench.leaderboard.inference.sentences import conclusion
from admbench.leaderboard.site.numbers import fixed, interval

PLACES = 2
"""Decimals of a score."""


def short_markdown(one: Comparison, verdict: str = "fd") -> str:
    """Return the conclusion of a comparison as a quotation, and its table.

    Args:
        one: the comparison.
        verdict: key of the score whose verdict is in the table.
    """
    lines = {(table.model, line.method): line for table in one.models for line in table.lines if line.standing}
    models = [table.model for table in one.models]
    methods = sorted({method for _, method in lines}, key=lambda name: _nearness(name, models, lines, one.sorted_by))
    rows = []
    for name in methods:
        cells = [_cell(lines.get((model, name)), one.sorted_by, verdict) for model in models]
        rows.append([name, *_about(name, models, lines), *cells])
    header = ["method", "version", "bits a weight, with scales", *map(code_span, models)]
    told = escaped(conclusion(one.sentences, one.cautions))
    return f"> {told}\n\n{markdown_table(header, rows, code=(0,))}"


def _nearness(
    method: str, models: Sequence[str], lines: dict[tuple[str, str], Line], score: str
) -> tuple[int, float, str]:
    """Order methods: those on most models first, by the mean of their places in the orders of these, then by name."""
    places = []
    for model in models:
        order = [name for (own, name), line in lines.items() if own == model and line.scores[score].value is not None]
        if method in order:
            places.append(order.index(method))
    return -len(places), sum(places) / len(places) if places else math.inf, method


def _about(method: str, models: Sequence[str], lines: dict[tuple[str, str], Line]) -> tuple[str, str]:
    """Return the version of a method, and the bits that its weights take: on several models from least to most."""
    own = [lines[model, method] for model in models if (model, method) in lines]
    versions = " and ".join(dict.fromkeys(line.version or "unknown" for line in own))
    bits = [fixed(line.bits_per_weight.value, 1) for line in own if line.bits_per_weight.value is not None]
    least, most = (min(bits, key=float), max(bits, key=float)) if bits else ("-", "-")
    return versions, least if least == most else f"{least} to {most}"


def _cell(line: Line | None, score: str, verdict: str) -> str:
    if line is None or line.standing is None:
        return "-"
    own, place = line.scores[score], line.standing
    if own.value is None or own.low is None or own.high is None:
        return "-"
    numbers = f"{fixed(own.value, PLACES)} {interval((own.low, own.high), PLACES)}"
    word = [line.verdicts[verdict].word] if verdict in line.verdicts else []
    return ", ".join([numbers, place.letters or "no letters", f"rank {place.rank}", *word])
