"""For all tests: products that repeat, properties that may take their time, and the table of attacks."""

import os
from typing import Any

import pytest
from hypothesis import settings

from admbench import arithmetic

from .attack_table import collected, rows, table, tried  # noqa: F401 (a fixture)

# MKL reads its mode at the first product of a process, and children inherit it: so this comes before torch is imported.
os.environ.update(arithmetic.reproducible(os.environ))

# how long an example takes says more of what else the machine does than of us
settings.register_profile("unhurried", deadline=None)
# `tox -e fuzz`: many more examples, other ones each time
settings.register_profile("attacks", deadline=None, max_examples=2500, print_blob=True)
settings.load_profile("unhurried")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    collected(items)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the table of attacks where they are asked for by their mark."""
    if "attack" not in config.option.markexpr:
        return
    reports = [report for group in terminalreporter.stats.values() for report in group if hasattr(report, "when")]
    terminalreporter.section("attacks")
    for line in table(rows(reports)):
        terminalreporter.line(line)
