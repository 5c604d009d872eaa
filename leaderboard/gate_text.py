"""A gate as text: a line per cell, Markdown for a pull request, JUnit's XML and JSON for a pipeline of checks."""

from __future__ import annotations

from collections.abc import Callable
from textwrap import shorten
from typing import Any
from xml.etree import ElementTree

from admbench.leaderboard.comparison_text import code_span, escaped, markdown_table
from admbench.leaderboard.gate import Gate, GatedCell, WorstClip, WorstClips
from admbench.leaderboard.inference.equivalence import Verdict
from admbench.leaderboard.inference.sentences import measured
from admbench.leaderboard.json_values import verdict_json
from admbench.leaderboard.xml_text import xml_text

HEADER = ("verdict", "model", "method", "scores", "captions that would tell", "worst clips", "rank, letters")
SPOKEN = 60
"""Characters of a caption that are shown."""
_WORDS = ("no worse", "worse", "cannot be told")


def rows(gate: Gate) -> list[tuple[str, ...]]:
    """Return a line per cell, under `HEADER`."""
    return [(cell.word, cell.model, cell.method, *_about(cell), _place(cell)) for cell in gate.cells]


def summary(gate: Gate) -> str:
    """Return one sentence: does the gate hold, and how many cells are what?

    >>> summary(Gate("fp32", (), ()))
    'passed: no cells'
    """
    words = [cell.word for cell in gate.cells]
    counts = [f"{words.count(word)} {word}" for word in _WORDS if word in words]
    return f"{'passed' if gate.passed else 'failed'}: {', '.join(counts) or 'no cells'}"


def to_markdown(gate: Gate) -> str:
    """Return a heading, a table with a row per cell and score, and what is to be known of it."""
    lines = []
    for cell in gate.cells:
        mark = "pass" if gate.passes(cell) else "**FAIL**"
        if not cell.verdicts:
            lines.append([cell.model, cell.method, mark, cell.word, "", escaped(cell.failed or ""), "", "", ""])
        for key, verdict in cell.verdicts.items():
            needed = f"{verdict.captions_needed:,}" if verdict.captions_needed else ""
            worst = ", ".join(f"{code_span(one.id)}{_spoken(one, escaped)}" for one in cell.worst.get(key, ()))
            about = (code_span(str(verdict.margin)), escaped(measured(verdict)), needed, worst)
            lines.append([cell.model, cell.method, mark, verdict.word, *about, _place(cell)])
    header = (
        "model",
        "method",
        "gate",
        "no worse?",
        "margin",
        "estimate [95 %]",
        "captions that would tell",
        "worst clips",
        "rank, letters",
    )
    table = markdown_table(header, lines, code=(0, 1))
    notes = [f"Held against {code_span(gate.baseline)}, over the same captions."]
    notes += [f"Caution: {escaped(caution)}." for caution in gate.cautions]
    return f"### Gate {summary(gate)}\n\n{table}\n\n{' '.join(notes)}\n"


def to_junit(gate: Gate) -> str:
    """Return JUnit's XML: a suite per model, a case per cell and margin, with a failure where it does not pass."""
    root = ElementTree.Element("testsuites", name="bench gate")
    for model in dict.fromkeys(cell.model for cell in gate.cells):
        suite = ElementTree.SubElement(root, "testsuite", name=xml_text(model))
        for cell in (cell for cell in gate.cells if cell.model == model):
            for verdict in cell.verdicts.values():
                _case(suite, gate, cell, verdict)
            if not cell.verdicts:
                _case(suite, gate, cell, None)
        for name, tag in (("tests", "testcase"), ("failures", ".//failure"), ("skipped", ".//skipped")):
            suite.set(name, str(len(suite.findall(tag))))
        if gate.cautions:
            said = "\n".join(f"Caution: {one}." for one in gate.cautions)
            ElementTree.SubElement(suite, "system-out").text = xml_text(said)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def to_json(gate: Gate) -> dict[str, Any]:
    """Return a gate as JSON values; what is missing is null with its reason."""
    return {
        "passed": gate.passed,
        "baseline": gate.baseline,
        "margins": [str(margin) for margin in gate.margins],
        "allow_undecided": gate.allow_undecided,
        "cautions": gate.cautions,
        "cells": [
            {
                "model": cell.model,
                "method": cell.method,
                "word": cell.word,
                "passes": gate.passes(cell),
                "failed": cell.failed,
                "rank": cell.standing and [cell.standing.first, cell.standing.last],
                "letters": cell.standing and cell.standing.letters,
                "scores": {key: verdict_json(one) for key, one in cell.verdicts.items()},
                "worst": {key: [one._asdict() for one in worst] for key, worst in cell.worst.items()},
            }
            for cell in gate.cells
        ],
    }


def _place(cell: GatedCell) -> str:
    """Return the cell's place in the order of its model, as the leaderboard shows it."""
    return f"{cell.standing.rank}, {cell.standing.letters}" if cell.standing else ""


def _about(cell: GatedCell) -> tuple[str, str, str]:
    if not cell.verdicts:
        return cell.failed or "", "", ""
    scores = "; ".join(_score(key, one, several=len(cell.verdicts) > 1) for key, one in cell.verdicts.items())
    needed = [one.captions_needed for one in cell.verdicts.values() if one.captions_needed]
    worst = "; ".join(f"{key}: {_named(clips)}" for key, clips in cell.worst.items() if clips)
    return scores, f"{max(needed):,}" if needed else "", worst


def _score(key: str, verdict: Verdict, *, several: bool) -> str:
    word = f" ({verdict.word})" if several else ""
    return f"{key} {measured(verdict)}, margin {verdict.margin}{word}"


def _named(clips: WorstClips) -> str:
    return ", ".join(f"{one.id}{_spoken(one)}" for one in clips)


def _spoken(one: WorstClip, form: Callable[[str], str] = str) -> str:
    """Return what the caption says, in brackets; nothing where it is not known."""
    return f" ({form(shorten(one.caption, SPOKEN, placeholder=' ...'))})" if one.caption else ""


def _case(suite: ElementTree.Element, gate: Gate, cell: GatedCell, verdict: Verdict | None) -> None:
    """Add a cell's case for one margin, or for the results that it does not have."""
    name = str(verdict.margin) if verdict else "results"
    about = {"classname": xml_text(cell.model), "name": xml_text(f"{cell.method} {name}")}
    case = ElementTree.SubElement(suite, "testcase", about)
    if verdict is None:
        ElementTree.SubElement(case, "failure", message=xml_text(str(cell.failed)), type="no results")
        return
    if verdict.word == "no worse":
        return
    needed = verdict.captions_needed
    more = f"; about {needed:,} captions would tell" if needed else ""
    message = xml_text(f"{verdict.word}: {measured(verdict)}, margin {verdict.margin}{more}")
    if verdict.word == "cannot be told" and gate.allow_undecided:
        ElementTree.SubElement(case, "skipped", message=message)
        return
    found = ElementTree.SubElement(case, "failure", message=message, type=verdict.word)
    if worst := cell.worst.get(verdict.margin.key):
        found.text = xml_text(f"worst clips: {_named(worst)}")
