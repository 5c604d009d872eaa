"""What a package that `bench new-...` writes has to hold, and its own tests where it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from admbench.versions import ROOT


def assert_complete(package: Path, kind: str, name: str) -> None:
    """It has its entry point, its file and its test, under the names that follow from its own, and no open template."""
    module = name.replace("-", "_")
    files = {path.relative_to(package).as_posix() for path in package.rglob("*") if path.is_file()}
    assert files == {"pyproject.toml", "README.md", f"{module}.py", f"tests/test_{module}.py"}
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    class_name = "".join(word.capitalize() for word in name.split("-"))
    assert project["entry-points"] == {f"admbench.{kind}s": {name: f"{module}:{class_name}"}}
    assert project["name"] == f"admbench-{name}"
    assert not [path for path in package.rglob("*") if path.is_file() and "{{" in path.read_text()]


def run_its_tests(package: Path, site: Path) -> str:
    """Put the package into a folder of installed ones, run its tests, and return what pytest printed."""
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    ((group, points),) = project["entry-points"].items()
    ((name, target),) = points.items()
    module = target.partition(":")[0]
    info = site / f"admbench_{module}-0.1.0.dist-info"
    info.mkdir(parents=True)
    shutil.copy(package / f"{module}.py", site)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {target}\n")
    path = os.pathsep.join(filter(None, [str(site), str(ROOT), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(package), str(package)]
    child = subprocess.run(
        command, capture_output=True, text=True, cwd=site.parent, env={**os.environ, "PYTHONPATH": path}
    )
    assert child.returncode == 0, child.stdout
    return child.stdout
