"""Comparisons as text: markdown for a page, tab-separated lines for a program."""

import re
from collections.abc import Iterable, Sequence

from admbench.leaderboard.comparison import Comparison, Group, Line, Value
from admbench.leaderboard.site.definitions import definition
from admbench.leaderboard.site.numbers import decimals, fixed, interval

_SECONDS = "quantizing, s"
_SIZE = "MB"


def to_markdown(comparisons: Iterable[Comparison]) -> str:
    """Return one section per comparison and one table per number of bits; reasons of what is missing in footnotes."""
    notes = _Footnotes()
    sections = [_section(one, notes) for one in comparisons]
    return "\n\n".join([*sections, *notes.lines()]) + "\n"


def to_tsv(comparisons: Iterable[Comparison]) -> str:
    """Return a header and one line per method and model; missing numbers empty, their reasons in the last column."""
    comparisons = list(comparisons)
    metrics = list(dict.fromkeys(key for one in comparisons for key in one.metrics))
    scores = [f"{key}{end}" for key in metrics for end in ("", "_low", "_high")]
    header = ["suite", "n", "weight_bits", "activation_bits", "model", "method", "preset", *scores]
    rows = [[*header, "megabytes", "seconds", "missing"]]
    for one in comparisons:
        for group in one.groups:
            for line in group.lines:
                about = (one.suite, one.n, group.weight_bits, group.activation_bits)
                rows.append([_plain(value) for value in (*about, *_numbers(line, metrics))])
    return "".join("\t".join(row) + "\n" for row in rows)


def _numbers(line: Line, metrics: Sequence[str]) -> list[object]:
    scores = {key: line.scores.get(key, Value(None, reason="not asked for in this run")) for key in metrics}
    found = {**scores, "megabytes": line.megabytes, "seconds": line.seconds}
    missing = "; ".join(f"{key}: {value.reason}" for key, value in found.items() if value.value is None)
    numbers = [number for value in scores.values() for number in (value.value, value.low, value.high)]
    return [line.model, line.method, line.preset, *numbers, line.megabytes.value, line.seconds.value, missing]


def _plain(value: object) -> str:
    return "" if value is None else " ".join(str(value).split())


class _Footnotes:
    """Reasons, each said once, by number."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def mark(self, reason: str | None) -> str:
        """Return the mark that refers to a reason."""
        text = escaped(reason or "no reason is given")
        return f"[^{self._numbers.setdefault(text, len(self._numbers) + 1)}]"

    def lines(self) -> list[str]:
        """Return all reasons that were referred to."""
        return ["\n".join(f"[^{number}]: {text}" for text, number in self._numbers.items())] if self._numbers else []


def _section(one: Comparison, notes: _Footnotes) -> str:
    judges = sorted({code_span(name) for name, _ in one.networks.values()})
    about = [
        f"Suite {code_span(one.suite)}, n = {one.n if one.n is not None else 'unknown'} captions",
        f"judged by {', '.join(judges)}" if judges else "no judges",
    ]
    text = f"{'; '.join(about)}; 95 % intervals over captions."
    if one.sorted_by:
        text += f" Within a model the first is best by {code_span(one.sorted_by)}."
    if one.processors:
        text += f" Seconds, calibration included, on {', '.join(map(escaped, one.processors))}."
    return "\n\n".join([text, *(_table(one, group, notes) for group in one.groups)])


def _table(one: Comparison, group: Group, notes: _Footnotes) -> str:
    labels = [_label(key) for key in one.metrics]
    header = ["model", "method", *labels, _SIZE, _SECONDS]
    places = {key: _places([line.scores[key] for line in group.lines]) for key in one.metrics}
    rows = [
        [
            line.model,
            line.method,
            *(_cell(line.scores[key], places[key], notes) for key in one.metrics),
            _cell(line.megabytes, 2, notes),
            _cell(line.seconds, 1 if (line.seconds.value or 0) < 10 else 0, notes),
        ]
        for line in group.lines
    ]
    return f"**{group.title}**\n\n{markdown_table(header, rows, code=(0, 1))}"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]], code: Sequence[int]) -> str:
    """Return a table of markdown.

    Args:
        header: names of the columns, markdown.
        rows: their cells, markdown but for those in `code`.
        code: columns of text that is shown as it is, to the left; the others are to the right.
    """
    rules = ["---" if column in code else "---:" for column in range(len(header))]
    shown = [[code_span(cell) if column in code else cell for column, cell in enumerate(row)] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in [header, rules, *shown])


def _label(key: str) -> str:
    label = definition(key).label
    return label if label != key else code_span(key)


def _places(values: Sequence[Value]) -> int:
    return decimals(value.value for value in values if value.value is not None)


def _cell(value: Value, places: int, notes: _Footnotes) -> str:
    if value.value is None:
        return notes.mark(value.reason)
    text = fixed(value.value, places)
    if value.low is not None and value.high is not None:
        return f"{text} {interval((value.low, value.high), places)}"
    return f"{text} {notes.mark(value.reason)}" if value.reason else text


def code_span(text: str) -> str:
    """Return text from a record as a code span that it cannot end, nor the cell that it is in."""
    return f"`{' '.join(text.replace('`', chr(39)).split())}`".replace("|", r"\|")


def escaped(text: str) -> str:
    """Return text from a record so that it cannot end a cell or a line, nor become markup."""
    return re.sub(r"([\\`|<>\[\]*_])", r"\\\1", " ".join(text.split()))
