"""The package as a whole: light to import, doctests true, reference page current."""

import doctest
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from admbench.leaderboard.document import record_markdown


def test_importing_the_package_loads_no_heavy_library():
    heavy = "{'torch', 'pandas', 'numpy', 'pydantic', 'matplotlib', 'jinja2'}"
    code = f"import sys, admbench.leaderboard; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("module", ["admbench.leaderboard.site.numbers"])
def test_doctests(module):
    result = doctest.testmod(importlib.import_module(module))
    assert result.attempted
    assert not result.failed


def test_the_reference_page_is_current():
    page = Path(__file__).parents[2] / "docs" / "record.md"
    if not page.exists():
        pytest.skip("docs/ is not beside these tests")
    assert page.read_text() == record_markdown(), "run: python -m admbench.leaderboard.document > docs/record.md"
