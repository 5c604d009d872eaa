"""Rooms of the harness: each imports from those below it, so that one can be read, and changed, without those above."""

import ast
from pathlib import Path

import pytest

import admbench.bench

ORDER = (
    "suites",
    "models",
    "exporting",
    "scoring",
    "measurement",
    "run",
    "studies",
    "conformance",
    "authoring",
    "publishing",
    "api",
    "zoo",
    "cli",
)
"""Lowest first: captions, models, exports, scores, what is measured of a model, runs, and what is asked of runs."""
FOLDER = Path(str(admbench.bench.__file__)).parent


def rooms_imported_by(path: Path) -> set[str]:
    """Return the rooms that a source file imports from, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    parts = (name.split(".") for name in names)
    return {part[2] for part in parts if part[:2] == ["admbench", "bench"] and len(part) > 2}


def test_every_room_has_its_place():
    present = {path.stem for path in FOLDER.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert present - {"__init__"} == set(ORDER)


@pytest.mark.parametrize("room", ORDER)
def test_no_import_runs_up(room):
    files = sorted((FOLDER / room).rglob("*.py")) or [FOLDER / f"{room}.py"]
    allowed = set(ORDER[: ORDER.index(room) + 1])
    for path in files:
        assert rooms_imported_by(path) <= allowed, path
