"""`bench new-method` writes a package that works as it is written."""

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
    folder = tmp_path_factory.mktemp("new") / "power-of-three"
    assert main(["new-method", "power-of-three", "--out", str(folder), "--quiet"]) == 0
    return folder


def test_the_package_has_its_entry_point_its_method_and_its_test(package: Path) -> None:
    files = {path.relative_to(package).as_posix() for path in package.rglob("*") if path.is_file()}
    assert files == {"pyproject.toml", "README.md", "power_of_three.py", "tests/test_power_of_three.py"}
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["admbench.methods"] == {"power-of-three": "power_of_three:PowerOfThree"}
    assert project["name"] == "admbench-power-of-three"
    assert not [path for path in package.rglob("*") if path.is_file() and "{{" in path.read_text()]


def test_its_own_tests_pass_where_it_is_installed(package: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    info = site / "admbench_power_of_three-0.1.0.dist-info"
    info.mkdir(parents=True)
    shutil.copy(package / "power_of_three.py", site)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: admbench-power-of-three\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text("[admbench.methods]\npower-of-three = power_of_three:PowerOfThree\n")
    path = os.pathsep.join(filter(None, [str(site), str(ROOT), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(package), str(package)]
    child = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}
    )
    assert child.returncode == 0, child.stdout
    assert "4 passed" in child.stdout


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("naive", '"naive" is already the name of a method, of admbench'),
        ("Power", "expected lower-case words with hyphens"),
        ("../up", "expected lower-case words with hyphens"),
        ("class", "a word of Python's own"),
    ],
)
def test_a_name_that_a_method_cannot_have_is_refused(
    name: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new-method", name, "--out", str(tmp_path / "out")]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert main(["new-method", "power-of-three", "--out", str(tmp_path)]) == 2
    assert "holds other files" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
