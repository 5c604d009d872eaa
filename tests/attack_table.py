"""The table of attacks: how many of each kind were tried, and how many held; printed by `tox -e attacks`.

A test that is marked `attack("kind")` is one attack of that kind, or as many as it counts by the fixture `tried`.
"""

from __future__ import annotations

import platform
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

PROPERTY = "attack"
COLUMNS = ("Attack", "Tried", "Held")


@pytest.fixture
def tried(request: pytest.FixtureRequest) -> Iterator[Callable[[int], None]]:
    """Count attacks that a test makes; one that holds is counted before the next is tried."""
    counts: list[int] = []
    yield lambda more=1: counts.append(more)
    request.node.user_properties.append((f"{PROPERTY} tried", sum(counts)))


def kind_of(item: pytest.Item) -> str | None:
    """Return the kind of attack that a test is marked with."""
    mark = item.get_closest_marker(PROPERTY)
    return None if mark is None else str(mark.args[0])


def collected(items: list[pytest.Item]) -> None:
    """Let the report of a marked test say its kind, from whatever process it comes."""
    for item in items:
        if (kind := kind_of(item)) is not None:
            item.user_properties.append((PROPERTY, kind))


def rows(reports: list[Any]) -> list[tuple[str, int, int]]:
    """Return kind, tried and held of the reports of tests that ran.

    Of a test that fails, all but the last of its attacks held; one that is skipped tried nothing.
    """
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    skipped = {report.nodeid for report in reports if report.skipped}
    failed = {report.nodeid for report in reports if report.failed}
    for report in reports:
        said = dict(report.user_properties)
        if report.when != "teardown" or PROPERTY not in said or report.nodeid in skipped:
            continue
        number = max(1, said.get(f"{PROPERTY} tried", 1))
        counts[said[PROPERTY]][0] += number
        counts[said[PROPERTY]][1] += number - (report.nodeid in failed)
    return sorted((kind, tried, held) for kind, (tried, held) in counts.items())


def table(found: list[tuple[str, int, int]]) -> list[str]:
    """Return the lines of the table, in Markdown, with the day and the machine."""
    lines = [f"| {' | '.join(COLUMNS)} |", "|---|---|---|"]
    lines += [f"| {kind} | {tried:,} | {held:,} |" for kind, tried, held in found]
    total = [sum(row[column] for row in found) for column in (1, 2)]
    lines.append(f"| **all** | **{total[0]:,}** | **{total[1]:,}** |")
    day, machine = datetime.now(UTC).date(), f"{platform.system()} {platform.machine()}, {_processor()}"
    return [*lines, "", f"{day}, {machine}, Python {platform.python_version()}"]


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "unknown")
    except OSError:
        return platform.processor() or "unknown"
