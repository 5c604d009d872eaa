"""Comparisons as text: markdown for a page, tab-separated lines for a program."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from admbench.leaderboard.comparison import Comparison, Line, ModelTable, Value
from admbench.leaderboard.frame import score_column
from admbench.leaderboard.inference.across import Across
from admbench.leaderboard.inference.sentences import conclusion
from admbench.leaderboard.site.definitions import definition
from admbench.leaderboard.site.numbers import decimals, fixed, interval
from admbench.leaderboard.states import LEAST_FIRST, MEANING
from admbench.leaderboard.versus import Statement
from admbench.leaderboard.view_words import ratio_text

_SECONDS = "quantizing, s"
_SIZE = "MB"
_BITS = "bits a weight"
_STATE = "checked"
_VERSION = "version"
_DRAWS = "draws (of the variance)"
_WORDS = ("worse", "cannot be told", "no worse")
VERSUS = ("model", "method", "is", "than", "ratio or difference [95 %, all pairs at once]", "n")


def to_markdown(comparisons: Iterable[Comparison], *, notes: str = "") -> str:
    """Return one section per comparison and one table per model; reasons of what is missing in footnotes.

    Args:
        comparisons: to be shown.
        notes: what the marks of the footnotes begin with, where a page has several such texts.
    """
    footnotes = _Footnotes(notes)
    sections = [_section(one, footnotes) for one in comparisons]
    return "\n\n".join([*sections, *footnotes.lines()]) + "\n"


def to_tsv(comparisons: Iterable[Comparison]) -> str:
    """Return a header and one line per method and model; missing numbers empty, their reasons in the last column."""
    comparisons = list(comparisons)
    metrics = list(dict.fromkeys(key for one in comparisons for key in one.metrics))
    ends = ("", "_low", "_high", "_verdict", "_captions_needed")
    before = ["suite", "n", "model", "method", "method_version", "preset", "state"]
    before += ["weight_bits", "activation_bits", "bits_per_weight"]
    before += ["order_by", "rank_low", "rank_high", "letters", "draws", "share_draws"]
    after = ["megabytes", "seconds", "missing"]
    columns = [score_column(key, {*before, *after}) for key in metrics]
    rows = [[*before, *(f"{column}{end}" for column in columns for end in ends), *after]]
    for one in comparisons:
        for table in one.models:
            for line in table.lines:
                about = (one.suite, one.n, table.model, line.method, line.version, line.preset, line.state)
                rows.append([_plain(value) for value in (*about, *_numbers(line, one.sorted_by, metrics))])
    return "".join("\t".join(row) + "\n" for row in rows)


def _numbers(line: Line, sorted_by: str, metrics: Sequence[str]) -> list[object]:
    scores = {key: line.scores.get(key, Value(None, reason="not asked for in this run")) for key in metrics}
    found = {**scores, "bits_per_weight": line.bits_per_weight, "megabytes": line.megabytes, "seconds": line.seconds}
    missing = [f"rank: {line.not_ordered}"] if line.not_ordered else []
    missing += [f"{key}: {value.reason}" for key, value in found.items() if value.value is None]
    place = line.standing
    order = (place.first, place.last, place.letters, place.draws, place.share_draws) if place else (None,) * 5
    numbers: list[object] = [line.weight_bits, line.activation_bits, line.bits_per_weight.value, sorted_by, *order]
    for key, value in scores.items():
        verdict = line.verdicts.get(key)
        numbers += [value.value, value.low, value.high]
        numbers += [verdict.word, verdict.captions_needed] if verdict else [None, None]
    return [*numbers, line.megabytes.value, line.seconds.value, "; ".join(missing)]


def _plain(value: object) -> str:
    return "" if value is None else " ".join(str(value).split())


class _Footnotes:
    """Reasons, each said once, by number."""

    def __init__(self, before: str) -> None:
        self._before = before
        self._numbers: dict[str, int] = {}

    def mark(self, reason: str | None) -> str:
        """Return the mark that refers to a reason."""
        text = escaped(reason or "no reason is given")
        return f"[^{self._before}{self._numbers.setdefault(text, len(self._numbers) + 1)}]"

    def lines(self) -> list[str]:
        """Return all reasons that were referred to."""
        lines = [f"[^{self._before}{number}]: {text}" for text, number in self._numbers.items()]
        return ["\n".join(lines)] if lines else []


def _section(one: Comparison, notes: _Footnotes) -> str:
    judges = sorted({code_span(name) for name, _ in one.networks.values()})
    about = [
        f"Suite {code_span(one.suite)}, n = {one.n if one.n is not None else 'unknown'} captions",
        f"judged by {', '.join(judges)}" if judges else "no judges",
    ]
    drawn = any(line.draws != "1" for table in one.models for line in table.lines)
    over = " and, of a method that was run with several, calibration draws" if drawn else ""
    text = (
        f"{'; '.join(about)}; 95 % intervals over captions{over}. The first is best by {code_span(one.sorted_by)};"
        " methods of a model that share a letter are not told apart, and all ranks are in their intervals at once."
        " *No worse?* is held against full precision, by each score that is shown; in brackets how many captions would"
        " tell. *Checked*: " + "; ".join(f"{state}, {MEANING[state]}" for state in reversed(LEAST_FIRST)) + "."
    )
    if one.processors:
        text += f" Seconds, calibration included, on {', '.join(map(escaped, one.processors))}."
    told = escaped(conclusion(one.sentences, one.cautions))
    across = [one for one in one.across if len(one.models) > 1]
    tables = [part for table in one.models for part in _model(one, table, notes)]
    more = ([_across(across)] if across else []) + ([escaped(" ".join(one.judges))] if one.judges else [])
    return "\n\n".join([f"**{told}**", text, *tables, *more])


def _model(one: Comparison, table: ModelTable, notes: _Footnotes) -> list[str]:
    several = any(line.draws != "1" for line in table.lines)
    header = ["method", "rank", "letters", *map(_label, one.metrics), "no worse?"]
    header += [*([_DRAWS] if several else []), _VERSION, _BITS, _SIZE, _SECONDS, _STATE]
    places = {key: _places([line.scores[key] for line in table.lines]) for key in one.metrics}
    rows = [
        [
            line.method,
            *((line.standing.rank, line.standing.letters) if line.standing else ("-", notes.mark(line.not_ordered))),
            *(_cell(line.scores[key], places[key], notes) for key in one.metrics),
            _words(line),
            *([line.draws] if several else []),
            escaped(line.version or "-"),
            _cell(line.bits_per_weight, 1, notes),
            _cell(line.megabytes, 2, notes),
            _cell(line.seconds, 1 if (line.seconds.value or 0) < 10 else 0, notes),
            line.state or "-",
        ]
        for line in table.lines
    ]
    first, *others = (text.removeprefix(f"{table.model}: ") for text in table.sentences or ("",))
    sentences = escaped(" ".join([first, *(re.sub("^at ", "At ", text) for text in others)]))
    return [f"{code_span(table.model)}: {sentences}", markdown_table(header, rows, code=(0,))]


def _words(line: Line) -> str:
    """Return the verdicts of a line by their words: `no worse` alone if all are, else with the scores' keys."""
    of_word: dict[str, list[str]] = {}
    for key, verdict in line.verdicts.items():
        needed = verdict.captions_needed
        of_word.setdefault(verdict.word, []).append(f"{code_span(key)}{f' ({needed:,})' if needed else ''}")
    if set(of_word) == {"no worse"}:
        return "no worse"
    return "; ".join(f"{word}: {', '.join(of_word[word])}" for word in _WORDS if word in of_word)


def _across(across: Sequence[Across]) -> str:
    header = ("method", "than", "ratio, geometric mean [95 %]", "better on", "worse on", "not told apart on")
    rows = [
        (one.cell, one.versus, ratio_text(one), *(f"{part} of {len(one.models)}" for part in _counts(one)))
        for one in across
    ]
    return f"All models, against rounding at the same nominal bits:\n\n{markdown_table(header, rows, code=(0, 1))}"


def _counts(one: Across) -> tuple[int, int, int]:
    return one.better, one.worse, one.untold


def versus_markdown(name: str, score: str, statements: Sequence[Statement]) -> str:
    """Return a heading and a table with a row per statement."""
    bits = "" if "@" in name else " at the same bits"
    about = (
        f"Against {code_span(name)}{bits}, by {code_span(score)}; the intervals of all pairs of a model hold at once:"
    )
    rows = [versus_cells(one, escape=True) for one in statements]
    return f"{about}\n\n{markdown_table(VERSUS, rows, code=(0, 1, 3))}\n"


def versus_cells(one: Statement, *, escape: bool = False) -> tuple[str, ...]:
    """Return a statement as the cells of a row under `VERSUS`."""
    if one.estimate is None or one.low is None or one.high is None:
        reason = str(one.reason)
        return (one.model, one.method, one.word, one.versus, escaped(reason) if escape else reason, "")
    form = "#.3g" if one.scale == "ratio" else "+.3g"
    unit = " times" if one.scale == "ratio" else ""
    numbers = f"{one.estimate:{form}}{unit} [{one.low:{form}}, {one.high:{form}}]"
    return (one.model, one.method, one.word, one.versus, numbers, str(one.n or ""))


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
