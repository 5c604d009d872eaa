"""Every example in a docstring runs."""

import doctest
import pkgutil
from importlib import import_module

import pytest

PACKAGES = ("admbench", "admbench.metrics", "admbench.methods", "admbench.leaderboard", "admbench.bench")


def modules() -> list[str]:
    """Return the names of all modules of the packages."""
    names = []
    for package in PACKAGES:
        path = import_module(package).__path__
        names += [package, *(info.name for info in pkgutil.walk_packages(path, f"{package}."))]
    return sorted({name for name in names if not name.endswith("__main__")})


@pytest.mark.parametrize("name", modules())
def test_examples_of(name):
    assert doctest.testmod(import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE).failed == 0
