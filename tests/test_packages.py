"""What holds between the packages: who imports whom, what stays light, and which plug-ins are declared."""

import ast
import os
import subprocess
import sys
import sysconfig
import tomllib
from graphlib import CycleError, TopologicalSorter
from importlib import import_module, metadata, util
from pathlib import Path

import pytest

ROOMS = ("bench", "leaderboard", "methods", "metrics")
MAY_IMPORT: dict[str, set[str]] = {
    "metrics": set(),
    "methods": set(),
    "leaderboard": set(),
    "bench": {"metrics", "methods", "leaderboard"},
}
"""Room -> the other rooms that it may import; each may import what lies in `admbench` itself."""
PACKAGES = ["admbench", *(f"admbench.{room}" for room in ROOMS)]
API = {"__init__.py", "__main__.py"}
"""Of `admbench` itself, where the API and the command are loaded from `bench` when they are used."""


def imported_modules(path: Path) -> set[str]:
    """Return the absolute names that a source file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute here"
            names.add(str(node.module))
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def room_of(module: str) -> str | None:
    """Return the room that a module is in; None for what lies in `admbench` itself, and for other packages."""
    parts = module.split(".")
    return parts[1] if parts[0] == "admbench" and len(parts) > 1 and parts[1] in ROOMS else None


def folder_of(package: str) -> Path:
    spec = util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


@pytest.mark.parametrize("room", ROOMS)
def test_imports_go_one_way(room):
    files = sorted(folder_of(f"admbench.{room}").rglob("*.py"))
    assert files
    for path in files:
        rooms = {found for name in imported_modules(path) if (found := room_of(name)) is not None}
        assert rooms <= MAY_IMPORT[room] | {room}, path


def test_what_the_rooms_share_imports_none_of_them():
    files = [path for path in sorted(folder_of("admbench").glob("*.py")) if path.name not in API]
    assert files
    for path in files:
        assert not {name for name in imported_modules(path) if room_of(name)}, path


def modules() -> dict[str, Path]:
    """Return every module of the package with its file."""
    found = {f"admbench.{path.stem}": path for path in folder_of("admbench").glob("*.py")}
    for room in ROOMS:
        root = folder_of(f"admbench.{room}")
        for path in root.rglob("*.py"):
            found[".".join(["admbench", room, *path.relative_to(root).with_suffix("").parts])] = path
    return {name.removesuffix(".__init__"): path for name, path in found.items()}


def test_no_module_imports_itself_in_a_circle():
    """Imports anywhere in a file count, those inside of functions too."""
    known = modules()
    graph = {
        name: {imported for imported in imported_modules(path) if imported in known and imported != name}
        for name, path in known.items()
        if path.name not in API
    }
    assert graph["admbench.bench.run.program"] & graph.keys(), "imports inside of the package are seen"
    circle: list[str] = []
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle = error.args[1]
    assert not circle, " -> ".join(circle)


@pytest.mark.parametrize("package", [*PACKAGES, "admbench.bench.cli.app"])
def test_packages_import_without_torch(package, tmp_path):
    code = f"import sys, {package}; sys.exit('torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment).returncode == 0


PYPROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())


@pytest.mark.parametrize(
    ("package", "group"),
    [
        ("admbench.bench.models", "models"),
        ("admbench.methods", "methods"),
        ("admbench.methods.core.checkpoint.formats", "formats"),
        ("admbench.metrics", "metrics"),
        ("admbench.bench.suites", "suites"),
        ("admbench.metrics.extractors", "extractors"),
        ("admbench.metrics.embedders", "judges"),
    ],
)
def test_built_in_names_are_the_entry_points_of_the_package(package, group):
    declared = PYPROJECT["project"]["entry-points"][f"admbench.{group}"]
    registry = import_module(package).registry
    assert registry.builtin == declared
    assert registry.group == f"admbench.{group}"
    for info in registry.infos():
        assert info.summary, f"{info.name} has no summary that can be read without importing it"
        assert registry.get(info.name)


@pytest.mark.skipif("TOX_ENV_NAME" not in os.environ, reason="outside of tox the source tree is tested")
@pytest.mark.parametrize("package", PACKAGES)
def test_under_tox_the_installed_wheel_is_tested(package):
    spec = util.find_spec(package)
    assert spec is not None
    assert Path(str(spec.origin)).is_relative_to(sysconfig.get_path("purelib"))


@pytest.fixture
def research_folder(tmp_path):
    """A folder with packages that are called as our folders are, and cannot be imported."""
    for name in ROOMS:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('the package of the research folder')")
    return tmp_path


def python_of_the_user(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder as its user would, with what is installed and nothing else on the path."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )


def test_packages_of_the_same_names_in_the_users_folder_are_no_obstacle(research_folder):
    asked = python_of_the_user(research_folder, "-c", "import admbench; admbench.score_folders; import metrics")
    assert asked.stderr.splitlines()[-1] == "ImportError: the package of the research folder", asked.stderr
    command = Path(sysconfig.get_path("scripts")) / "bench"
    listed = python_of_the_user(research_folder, str(command), "list", "models")
    assert listed.returncode == 0, listed.stderr
    assert "tiny-tango" in listed.stdout
    assert python_of_the_user(research_folder, "-m", "admbench", "--help").returncode == 0


@pytest.mark.skipif("TOX_ENV_NAME" not in os.environ, reason="outside of tox nothing is installed as a user has it")
def test_the_distribution_installs_one_top_level_package():
    files = metadata.distribution("admbench").files
    assert files
    tops = {file.parts[0] for file in files if file.parts[0] != ".."}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"admbench"}
    scripts = {file.name for file in files if file.parts[0] == ".."}
    assert scripts == {"bench", "admbench"}
