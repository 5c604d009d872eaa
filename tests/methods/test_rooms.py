"""The rooms of `methods.core` in their order: what is in one imports what is in its own and in those before it."""

import ast
from importlib import util
from pathlib import Path

import pytest

ROOMS = (
    "native",
    "processor",
    "numbers",
    "layers",
    "calibration",
    "reconstruction",
    "checkpoint",
    "backbone",
    "third_party",
    "weight_only_fallback",
    "kernels",
)
"""Of `admbench.methods.core`, lowest first."""
BENEATH = {"protocol"}
"""Modules of `admbench.methods` that the core may import: what a method sees of a model."""
FRAMES = {"base", "blockwise", "layerwise", "protocol", "spec", "weight_only"}
"""Modules of `admbench.methods` that a paper's file may import, beside the core."""
SUBCLASSES = {("mixup_prompt", "naive")}
"""Papers' files of a method that is declared as another one's subclass."""


def folder() -> Path:
    spec = util.find_spec("admbench.methods")
    assert spec is not None
    return Path(str(spec.origin)).parent


def imports(path: Path) -> set[str]:
    """Return what a file imports of `admbench.methods`, anywhere in it, without that prefix."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    prefix = "admbench.methods."
    return {name.removeprefix(prefix) for name in names if name.startswith(prefix)}


def room_of(name: str) -> str:
    return name.split(".")[1]


def test_every_module_of_the_core_is_in_a_room():
    found = {
        path.stem for path in (folder() / "core").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert found - {"__init__"} == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_downwards(room):
    place = folder() / "core" / room
    files = sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
    assert files
    allowed = {*ROOMS[: ROOMS.index(room) + 1]}
    for path in files:
        for name in imports(path):
            if name.startswith("core."):
                assert room_of(name) in allowed, f"{path.name} imports {name}"
            else:
                assert name.split(".")[0] in BENEATH, f"{path.name} imports {name}"


def test_a_papers_file_imports_no_other_papers():
    files = [path for path in folder().glob("*.py") if path.stem not in {*FRAMES, "__init__"}]
    assert len(files) > 15
    for path in files:
        others = {name.split(".")[0] for name in imports(path)} - {"core", *FRAMES}
        allowed = {second for first, second in SUBCLASSES if first == path.stem}
        assert others <= allowed, f"{path.name} imports {others}"
