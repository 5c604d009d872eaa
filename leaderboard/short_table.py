"""What a run shows in a few lines, for a page that introduces it: the conclusion, and a table of methods by models."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from admbench.leaderboard.comparison import Comparison, Line
from admbench.leaderboard.comparison_text import code_span, escaped, markdown_table
from admbench.leaderboard.inference.sentences import conclusion
from admbench.leaderboard.site.numbers import decimals, fixed, interval

PLACES, FINE = 2, 0.1
"""Decimals of a score, of which the median is not below the second number; else as many as give it three digits."""
FLOAT_BITS = 16
"""How a spec writes a side that stays in floating point."""


Lines = dict[tuple[str, str], Line]
"""By model and spec."""


def short_markdown(one: Comparison, verdict: str = "fd", *, by_bits: bool = False) -> str:
    """Return the conclusion of a comparison as a quotation, and its table.

    Args:
        one: the comparison.
        verdict: key of the score whose verdict is in the table.
        by_bits: one table for each pair of nominal bits, most bits first, weights alone at the end; letters and ranks
            are still those among all cells of a model.
    """
    told = f"> {escaped(conclusion(one.sentences, one.cautions))}"
    if not by_bits:
        return f"{told}\n\n{_table(one, _lines(one), verdict)}"
    parts = [f"**{called(*bits)}**\n\n{_table(one, lines, verdict)}" for bits, lines in groups_of_bits(one).items()]
    return "\n\n".join([told, *parts])


def _lines(one: Comparison) -> Lines:
    return {(table.model, line.method): line for table in one.models for line in table.lines if line.standing}


def groups_of_bits(one: Comparison) -> dict[tuple[int, int], Lines]:
    """Return the lines of a comparison that have a standing, by nominal bits of weights and of inputs.

    Most bits come first, weights alone at the end; full precision has no bits, and is in no group.
    """
    groups: dict[tuple[int, int], Lines] = {}
    for key, line in _lines(one).items():
        if line.weight_bits is not None and line.activation_bits is not None:
            groups.setdefault((line.weight_bits, line.activation_bits), {})[key] = line
    order = sorted(groups, key=lambda bits: (bits[1] == FLOAT_BITS, -bits[0], -bits[1]))
    return {bits: groups[bits] for bits in order}


def called(weight: int, activation: int) -> str:
    """Return what a group of cells has in common, in words."""
    inputs = "inputs as they are" if activation == FLOAT_BITS else f"inputs of {activation} bits"
    return f"Weights of {weight} bits, {inputs}"


def _table(one: Comparison, lines: Lines, verdict: str) -> str:
    models = [table.model for table in one.models]
    methods = sorted({method for _, method in lines}, key=lambda name: nearness(name, models, lines, one.sorted_by))
    places = _places(one)
    rows = []
    for name in methods:
        cells = [_cell(lines.get((model, name)), one.sorted_by, verdict, places) for model in models]
        rows.append([name, *_about(name, models, lines), *cells])
    header = ["method", "version", "bits a weight, with scales", *map(code_span, models)]
    return markdown_table(header, rows, code=(0,))


def nearness(method: str, models: Sequence[str], lines: Lines, score: str) -> tuple[int, float, str]:
    """Return a method's place: those on most models come first, by the mean of their places there, then by name."""
    places = []
    for model in models:
        order = [name for (own, name), line in lines.items() if own == model and line.scores[score].value is not None]
        if method in order:
            places.append(order.index(method))
    return -len(places), sum(places) / len(places) if places else math.inf, method


def _about(method: str, models: Sequence[str], lines: Lines) -> tuple[str, str]:
    """Return the version of a method, and the bits that its weights take: on several models from least to most."""
    own = [lines[model, method] for model in models if (model, method) in lines]
    versions = " and ".join(dict.fromkeys(line.version or "unknown" for line in own))
    bits = [fixed(line.bits_per_weight.value, 1) for line in own if line.bits_per_weight.value is not None]
    least, most = (min(bits, key=float), max(bits, key=float)) if bits else ("-", "-")
    return versions, least if least == most else f"{least} to {most}"


def _places(one: Comparison) -> int:
    scores = [line.scores[one.sorted_by].value for line in _lines(one).values()]
    values = [value for value in scores if value]
    return PLACES if not values or median(values) >= FINE else decimals(values)


def _cell(line: Line | None, score: str, verdict: str, places: int) -> str:
    if line is None or line.standing is None:
        return "-"
    own, place = line.scores[score], line.standing
    if own.value is None or own.low is None or own.high is None:
        return "-"
    numbers = f"{fixed(own.value, places)} {interval((own.low, own.high), places)}"
    word = [line.verdicts[verdict].word] if verdict in line.verdicts else []
    return ", ".join([numbers, place.letters or "no letters", f"rank {place.rank}", *word])
