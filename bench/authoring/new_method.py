"""Writes a package of one working method: its entry point, its file, and a test that runs the conformance suite."""

from __future__ import annotations

import keyword
import re
from importlib import resources
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from admbench.errors import UsageError
from admbench.files import atomic_directory, write_text_atomic
from admbench.methods import registry
from admbench.versions import package_version

FILES = {
    "pyproject.toml": "pyproject.toml",
    "README.md": "README.md",
    "{module}.py": "method.py",
    "tests/test_{module}.py": "test_method.py",
}
"""File of the package -> its template."""


def write_package(name: str, out: Path) -> list[Path]:
    """Write the package of a method called `name` into a new or empty folder; return the files.

    Raises:
        UsageError: the name is none that a method may have, or is taken; or the folder holds something.
    """
    words = _words(name)
    if name in registry:
        raise UsageError(f'"{name}" is already the name of a method, of {registry.info(name).distribution}')
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out}: expected a new or an empty folder")
    facts = {
        "name": name,
        "module": "_".join(words),
        "class_name": "".join(word.capitalize() for word in words),
        "version": package_version(),
    }
    templates = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    folder = resources.files("admbench.bench.authoring") / "template"
    written = [Path(file.format(**facts)) for file in FILES]
    with atomic_directory(out) as made:
        for file, template in zip(written, FILES.values(), strict=True):
            text = (folder / f"{template}.jinja").read_text(encoding="utf-8")
            write_text_atomic(made / file, templates.from_string(text).render(facts))
    return [out / file for file in written]


def _words(name: str) -> list[str]:
    """Return the parts of a method's name, which make a module's name and a class's."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) or len(name) > 60:
        raise UsageError(f'"{name}": expected lower-case words with hyphens between them, such as power-of-two')
    words = name.split("-")
    if keyword.iskeyword("_".join(words)):
        raise UsageError(f'"{name}": a word of Python\'s own cannot name its module')
    return words
