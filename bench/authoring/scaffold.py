"""Writes a package of one working plug-in: its entry point, its file, and a test that runs the conformance suite.

Everything that differs between the kinds of plug-ins is in their templates, `template/KIND/`; `KIND` is the registry's.
"""

from __future__ import annotations

import keyword
import re
from pathlib import Path

from admbench.bench.authoring.rendering import write_folder
from admbench.errors import UsageError
from admbench.registry import Registry
from admbench.versions import package_version

FILES = {
    "pyproject.toml": "pyproject.toml",
    "README.md": "{kind}/README.md",
    "{module}.py": "{kind}/plugin.py",
    "tests/test_{module}.py": "{kind}/test_plugin.py",
}
"""File of the package -> its template."""


def write_package(registry: Registry, name: str, out: Path) -> list[Path]:
    """Write the package of a plug-in called `name` into a new or empty folder; return the files.

    Args:
        registry: of the plug-in's kind.
        name: lower-case words with hyphens between them.
        out: the folder.

    Raises:
        UsageError: the name is none that a plug-in may have, or is taken; or the folder holds something.
    """
    words = _words(name)
    if name in registry:
        owner = registry.info(name).distribution
        raise UsageError(f'"{name}" is already the name of a {registry.kind}, of {owner}')
    facts = {
        "kind": registry.kind,
        "group": registry.group,
        "name": name,
        "module": "_".join(words),
        "class_name": "".join(word.capitalize() for word in words),
        "version": package_version(),
    }
    return write_folder(out, "admbench.bench.authoring", FILES, facts)


def _words(name: str) -> list[str]:
    """Return the parts of a plug-in's name, which make a module's name and a class's."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) or len(name) > 60:
        raise UsageError(f'"{name}": expected lower-case words with hyphens between them, such as power-of-two')
    words = name.split("-")
    if keyword.iskeyword("_".join(words)):
        raise UsageError(f'"{name}": a word of Python\'s own cannot name its module')
    return words
