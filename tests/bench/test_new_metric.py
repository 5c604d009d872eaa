"""`bench new-metric` writes a package that works as it is written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from admbench.bench.cli.app import main
from admbench.versions import ROOT


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("new") / "centroid-distance"
    assert main(["new-metric", "centroid-distance", "--out", str(folder), "--quiet"]) == 0
    return folder


def test_the_package_has_its_entry_point_its_metric_and_its_test(package: Path) -> None:
    files = {path.relative_to(package).as_posix() for path in package.rglob("*") if path.is_file()}
    assert files == {"pyproject.toml", "README.md", "centroid_distance.py", "tests/test_centroid_distance.py"}
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["admbench.metrics"] == {"centroid-distance": "centroid_distance:CentroidDistance"}
    assert project["name"] == "admbench-centroid-distance"
    assert not [path for path in package.rglob("*") if path.is_file() and "{{" in path.read_text()]


def test_its_own_tests_pass_where_it_is_installed(package: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    info = site / "admbench_centroid_distance-0.1.0.dist-info"
    info.mkdir(parents=True)
    shutil.copy(package / "centroid_distance.py", site)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: admbench-centroid-distance\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text(
        "[admbench.metrics]\ncentroid-distance = centroid_distance:CentroidDistance\n"
    )
    path = os.pathsep.join(filter(None, [str(site), str(ROOT), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(package), str(package)]
    child = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}
    )
    assert child.returncode == 0, child.stdout
    assert "3 passed" in child.stdout


def test_a_name_that_a_metric_has_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new-metric", "kad", "--out", str(tmp_path / "out")]) == 2
    assert '"kad" is already the name of a metric, of admbench' in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
