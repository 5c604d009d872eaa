"""For all tests: products that repeat, properties that may take their time, and the table of attacks."""

import os
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from admbench import arithmetic, progress

from .attack_table import collected, rows, table, tried  # noqa: F401 (a fixture)

# MKL reads its mode at the first product of a process, and children inherit it: so this comes before torch is imported.
os.environ.update(arithmetic.reproducible(os.environ))

# how long an example takes says more of what else the machine does than of us
settings.register_profile("unhurried", deadline=None)
# `tox -e fuzz`: many more examples, other ones each time
settings.register_profile("attacks", deadline=None, max_examples=2500, print_blob=True)
settings.load_profile("unhurried")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> pytest.CaptureFixture[str]:
    """A terminal that can draw, wherever the tests run and whatever a command said before; read what it shows."""
    # of the class: what captures a fixture's output is not yet the object that captures the test's
    monkeypatch.setattr(type(sys.stderr), "isatty", lambda _: True, raising=False)
    monkeypatch.setattr(progress, "_quiet", False)
    monkeypatch.setenv("TERM", "xterm")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    return capsys


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that no worker is left with one at the end."""
    collected(items)
    seconds: dict[Path, float] = defaultdict(float)
    for item in items:
        seconds[item.path] = max(seconds[item.path], _said_seconds(item))
    items.sort(key=lambda item: seconds[item.path], reverse=True)


def _said_seconds(item: pytest.Item) -> float:
    """What a test says its file takes, `slow(90)`; the many that take less than a minute say nothing."""
    mark = item.get_closest_marker("slow")
    return float(mark.args[0]) if mark is not None and mark.args else 0.0


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the table of attacks where they are asked for by their mark."""
    if "attack" not in config.option.markexpr:
        return
    reports = [report for group in terminalreporter.stats.values() for report in group if hasattr(report, "when")]
    terminalreporter.section("attacks")
    for line in table(rows(reports)):
        terminalreporter.line(line)
