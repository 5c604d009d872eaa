"""A plug-in is another one when its version, distribution, source or what it requires changed - and only then."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from admbench import sources
from admbench.identities import PluginIdentity
from admbench.methods import BUILTIN
from admbench.registry import Registry

GROUP = "test.plugins"
PLUGIN = """
from abc import ABC
from typing import Generic, TypeVar

import numpy as np

from . import base, helper

T = TypeVar("T")


class Theirs(base.Base, ABC, Generic[T]):
    summary = "Theirs."
    requires = ("numpy",)
"""


class Installed:
    """A distribution `theirs` with a package, as it lies in a site-packages."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.package = folder, folder / "theirs"
        self.package.mkdir()
        (self.package / "__init__.py").write_text("")
        (self.package / "helper.py").write_text("SCALE = 1\n")
        self.versioned("1")
        self.says(PLUGIN)
        self.release("1.0")

    def says(self, source: str) -> None:
        (self.package / "plugin.py").write_text(source)

    def versioned(self, version: str) -> None:
        (self.package / "base.py").write_text(f"class Base:\n    version: str = {version!r}\n")

    def release(self, version: str) -> None:
        info = self.folder / "theirs-1.0.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: theirs\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[{GROUP}]\nmine = theirs.plugin:Theirs\n")

    @property
    def identity(self) -> PluginIdentity:
        return Registry(GROUP, "plugin").identity("mine")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installed]:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    yield Installed(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "theirs"]:
        del sys.modules[name]


def test_it_is_told_without_importing_the_plugin(installed: Installed) -> None:
    found = installed.identity
    assert (found.version, found.distribution, found.distribution_version) == ("1", "theirs", "1.0")
    assert list(found.packages) == ["numpy"]
    assert not any(name.startswith("theirs") for name in sys.modules)


CHANGES: dict[str, Callable[[Installed], object]] = {
    "version of its class": lambda at: at.versioned("2"),
    "version of its distribution": lambda at: at.release("1.1"),
    "its source": lambda at: at.says(PLUGIN + "\n\ndef more():\n    pass\n"),
    "a helper's source": lambda at: (at.package / "helper.py").write_text("SCALE = 2\n"),
    "a file that comes with it": lambda at: (at.package / "weights.bin").write_bytes(b"1"),
    "what it requires": lambda at: at.says(PLUGIN.replace('("numpy",)', '("scipy",)')),
}


@pytest.mark.parametrize("change", CHANGES)
def test_each_part_that_changes_makes_it_another(installed: Installed, change: str) -> None:
    before = installed.identity
    assert installed.identity == before
    CHANGES[change](installed)
    assert installed.identity.sha256 != before.sha256


def test_what_python_leaves_behind_is_no_source(installed: Installed) -> None:
    before = installed.identity
    (installed.package / "__pycache__").mkdir()
    (installed.package / "__pycache__" / "plugin.cpython-311.pyc").write_bytes(b"1")
    assert installed.identity == before


def test_another_version_of_a_required_package_makes_it_another(
    installed: Installed, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = installed.identity
    monkeypatch.setattr("admbench.identities.distribution_versions", lambda names: dict.fromkeys(names, "99"))
    assert installed.identity.sha256 != before.sha256


def test_a_version_that_is_computed_is_told_by_a_child(installed: Installed) -> None:
    installed.says("from . import helper\n\n\nclass Theirs:\n    version = str(helper.SCALE + 1)\n")
    assert installed.identity.version == "2"
    assert not any(name.startswith("theirs") for name in sys.modules)


def test_one_that_cannot_be_loaded_has_the_identity_of_its_source(installed: Installed) -> None:
    installed.says("class Theirs:\n    version = no_such_name\n")
    before = installed.identity
    assert before.version is None
    assert before.source_sha256 is not None
    installed.says("class Theirs:\n    version = no_such_name_either\n")
    assert installed.identity.sha256 != before.sha256


def test_every_module_that_a_distribution_brings_counts(installed: Installed) -> None:
    (installed.folder / "other_of_theirs.py").write_text("A = 1\n")
    (installed.folder / "theirs-1.0.dist-info" / "top_level.txt").write_text("theirs\nother_of_theirs\n")
    before = installed.identity
    (installed.folder / "other_of_theirs.py").write_text("A = 2\n")
    assert installed.identity.sha256 != before.sha256


def test_one_of_a_decorator_has_its_modules_source() -> None:
    registry = Registry(GROUP, "plugin")

    @registry.register("here")
    class Here:
        version = 3

    found = registry.identity("here")
    assert (found.version, found.distribution_version) == ("3", None)
    assert found.source_sha256 is not None


def test_a_class_that_is_imported_elsewhere_is_found_where_it_is_written(installed: Installed) -> None:
    (installed.package / "front.py").write_text("from .plugin import Theirs as Renamed\n")
    assert sources.class_literal("theirs.front:Renamed", "version") == "1"
    with pytest.raises(LookupError, match="no source"):
        sources.class_literal("theirs.front:Nothing", "version")


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of three methods and what they share, of which `second` builds upon `first`."""
    folder = tmp_path / "room"
    (folder / "core").mkdir(parents=True)
    for name, source in {
        "__init__": "",
        "base": "",
        "first": "def one():\n    from room.base import what\n",
        "second": "from . import first\n",
        "third": "from .base import what\n",
        "core/__init__": "from room.base import what\n",
        "core/layers": "",
    }.items():
        (folder / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


@pytest.mark.parametrize(
    ("edited", "others"),
    [
        ("first", {"first", "second"}),
        ("second", {"second"}),
        ("third", {"third"}),
        ("base", {"first", "second", "third", "shared"}),
        ("core/layers", {"first", "second", "third", "shared"}),
        ("__init__", {"first", "second", "third", "shared"}),
    ],
)
def test_an_edited_file_is_another_source_for_what_builds_upon_it(room: Path, edited: str, others: set[str]) -> None:
    def all_of_them() -> dict[str, str | None]:
        parts = {name: [f"room.{name}"] for name in ("first", "second", "third")} | {"shared": []}
        return {name: sources.sha256_of_used("room", *modules) for name, modules in parts.items()}

    before = all_of_them()
    with open(room / f"{edited}.py", "a") as file:
        file.write("MORE = 1\n")
    after = all_of_them()
    assert {name for name in before if before[name] != after[name]} == others


def test_what_a_run_imports_of_methods_beside_plugins_counts_for_all_of_them() -> None:
    """So an edit of `methods/base.py` quantizes everything again, and none slips through as nobody's."""
    root = Path(sources.find_module("admbench.methods").submodule_search_locations[0])  # type: ignore[union-attr, index]
    shared = {name.rpartition(".")[2] for name in sources.used_modules("admbench.methods")}
    assert {"base", "spec", "protocol"} <= shared
    plugins = {target.partition(":")[0].removeprefix("admbench.methods.") for target in BUILTIN.values()}
    assert not shared & plugins
    for room in ("run", "measurement", "models", "suites"):  # as `made_by.STAGES` has them where methods count
        folder = Path(sources.find_module(f"admbench.bench.{room}").submodule_search_locations[0])  # type: ignore[union-attr, index]
        text = "\n".join(path.read_text() for path in folder.rglob("*.py"))
        named = {*re.findall(r"admbench\.methods\.(\w+)", text)} & {path.stem for path in root.glob("*.py")}
        assert named <= shared, room
    used_by_some = {
        name for one in plugins for name in sources.used_modules("admbench.methods", f"admbench.methods.{one}")
    }
    named = {name.rpartition(".")[2] for name in used_by_some}
    assert {path.stem for path in root.glob("*.py")} - {"__init__"} == named


def test_a_namespace_is_no_ones_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shared" / "mine").mkdir(parents=True)
    (tmp_path / "shared" / "mine" / "__init__.py").write_text("A = 1\n")
    (tmp_path / "shared" / "others.py").write_text("B = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    before = sources.sha256_of_distribution("nobody", "shared.mine")
    (tmp_path / "shared" / "others.py").write_text("B = 2\n")
    assert sources.sha256_of_distribution("nobody", "shared.mine") == before is not None
