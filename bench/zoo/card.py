"""The model card, written from what `bench zoo check` measured and what the training stages noted."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import jinja2

from admbench.bench.suites.corpus.corpus import EVENTS, FAMILIES
from admbench.files import write_text_atomic


def write_card(report: dict[str, Any], path: Path) -> None:
    """Writes the card of a report of `admbench.bench.zoo.check.check`."""
    source = resources.files("admbench.bench.zoo").joinpath("card.md.jinja").read_text(encoding="utf-8")
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False, keep_trailing_newline=True)
    text = environment.from_string(source).render(
        report=report, events=EVENTS, families=FAMILIES, heard_instead=heard_instead
    )
    write_text_atomic(path, text)


def heard_instead(counts: list[int], right: int) -> str:
    """What one event was taken for, most often first: "rain 2, wind 1"."""
    wrong = sorted(((count, EVENTS[i]) for i, count in enumerate(counts) if count and i != right), reverse=True)
    return ", ".join(f"{event} {count}" for count, event in wrong)
