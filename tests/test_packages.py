"""What holds between the packages: who imports whom, what stays light, and which plug-ins are declared."""

import ast
import os
import subprocess
import sys
import sysconfig
import tomllib
from importlib import import_module, util
from pathlib import Path

import pytest

MAY_IMPORT = {
    "admcore": set(),
    "metrics": {"admcore"},
    "methods": {"admcore"},
    "leaderboard": {"admcore"},
    "bench": {"admcore", "metrics", "methods", "leaderboard"},
}


def imported_modules(path: Path) -> set[str]:
    """Return the absolute names that a source file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute here"
            names.add(str(node.module))
    return names


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_go_one_way(package):
    spec = util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    files = sorted(Path(spec.origin).parent.rglob("*.py"))
    assert files
    for path in files:
        ours = {name.partition(".")[0] for name in imported_modules(path)} & set(MAY_IMPORT)
        assert ours <= MAY_IMPORT[package] | {package}, path


@pytest.mark.parametrize("package", [*MAY_IMPORT, "bench.cli"])
def test_packages_import_without_torch(package, tmp_path):
    code = f"import sys, {package}; sys.exit('torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment).returncode == 0


PYPROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())


@pytest.mark.parametrize(
    ("package", "group"),
    [
        ("bench.models", "models"),
        ("methods", "methods"),
        ("methods.formats", "formats"),
        ("metrics", "metrics"),
        ("bench.suites", "suites"),
        ("metrics.embedders", "judges"),
    ],
)
def test_built_in_names_are_the_entry_points_of_the_package(package, group):
    declared = PYPROJECT["project"]["entry-points"][f"bench.{group}"]
    registry = import_module(package).registry
    assert registry.builtin == declared
    assert registry.group == f"bench.{group}"
    for info in registry.infos():
        assert info.summary, f"{info.name} has no summary that can be read without importing it"
        assert registry.get(info.name)


@pytest.mark.skipif("TOX_ENV_NAME" not in os.environ, reason="outside of tox the source tree is tested")
@pytest.mark.parametrize("package", MAY_IMPORT)
def test_under_tox_the_installed_wheel_is_tested(package):
    spec = util.find_spec(package)
    assert spec is not None
    assert Path(str(spec.origin)).is_relative_to(sysconfig.get_path("purelib"))
