"""The room as a whole: light to import, and examples that run."""

import doctest
import subprocess
import sys
from importlib import import_module

import pytest

from admbench.leaderboard import inference

PURE = (
    "across",
    "contrasts",
    "crossed",
    "equivalence",
    "influence",
    "letters",
    "margins",
    "pairs",
    "scores",
    "sentences",
)


def test_importing_it_loads_nothing_heavy():
    heavy = "{'torch', 'numpy', 'scipy', 'pydantic', 'pandas'}"
    code = f"import sys, admbench.leaderboard.inference; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_the_engine_needs_arrays_only():
    names = ", ".join(f"admbench.leaderboard.inference.{name}" for name in PURE)
    code = (
        f"import sys, {names}; print(sorted({{'torch', 'pydantic', 'pandas', 'admbench.metrics'}} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_every_public_name_is_there():
    for name in inference.__all__:
        assert getattr(inference, name).__doc__ or name == "DEFAULT_MARGINS"
    with pytest.raises(AttributeError):
        inference.nothing  # noqa: B018


@pytest.mark.parametrize("name", ["crossed", "letters", "margins", "scores", "sentences"])
def test_examples_run(name):
    result = doctest.testmod(import_module(f"admbench.leaderboard.inference.{name}"))
    assert result.attempted
    assert not result.failed
