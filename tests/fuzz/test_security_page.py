"""The page on security names tests that there are, and a table of attacks that all held."""

import re
from pathlib import Path
from types import SimpleNamespace

from ..attack_table import rows, table
from ..bench.test_faults import EVERY
from . import contract
from .targets import TARGETS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")


def test_every_test_that_the_page_names_is_there():
    named = re.findall(r"`(tests/[\w/.]+?)/?`", PAGE)
    assert len(named) >= 8
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_in_the_table_of_the_page_every_attack_held():
    shown = PAGE.partition("<!-- attacks -->")[2].partition("<!-- /attacks -->")[0]
    counts = re.findall(r"^\| [^|]+ \| \**([\d,]+)\** \| \**([\d,]+)\** \|$", shown, flags=re.MULTILINE)
    assert len(counts) > 10
    assert all(tried == held for tried, held in counts)
    numbers = [int(tried.replace(",", "")) for tried, _ in counts]
    assert numbers[-1] == sum(numbers[:-1])


def test_the_page_has_the_bounds_and_the_kinds_that_there_are():
    shown = PAGE.partition("<!-- attacks -->")[2].partition("<!-- /attacks -->")[0]
    kinds = set(re.findall(r"^\| ([^|]+) \| [\d,]+ \|", shown, flags=re.MULTILINE))
    assert {target.kind for target in TARGETS.values()} <= kinds
    assert f"{contract.SECONDS:g} s of the processor ({contract.PATIENCE:g} s by the clock)" in PAGE
    assert f"{contract.BYTES >> 30} GiB of memory" in PAGE
    assert f"every {EVERY}th operation" in PAGE


def report(name: str, when: str, kind: str, *, failed: bool = False, skipped: bool = False, tried: int | None = None):
    said = [("attack", kind)] + ([] if tried is None else [("attack tried", tried)])
    return SimpleNamespace(nodeid=name, when=when, user_properties=said, failed=failed, skipped=skipped)


def test_the_table_counts_what_was_tried_and_what_held():
    reports = [
        report("a", "call", "files"),
        report("a", "teardown", "files", tried=40),
        report("b", "call", "files", failed=True),
        report("b", "teardown", "files", tried=3),
        report("c", "setup", "runs", skipped=True),
        report("c", "teardown", "runs"),
        report("d", "teardown", "runs"),
    ]
    found = rows(reports)
    assert found == [("files", 43, 42), ("runs", 1, 1)]
    assert table(found)[2:5] == ["| files | 43 | 42 |", "| runs | 1 | 1 |", "| **all** | **44** | **43** |"]
