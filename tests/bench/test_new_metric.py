"""`bench new-metric` writes a package that works as it is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from admbench.bench.cli.app import main

from .written_packages import assert_complete, run_its_tests


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("new") / "centroid-distance"
    assert main(["new-metric", "centroid-distance", "--out", str(folder), "--quiet"]) == 0
    return folder


def test_the_package_has_its_entry_point_its_metric_and_its_test(package: Path) -> None:
    assert_complete(package, "metric", "centroid-distance")


def test_its_own_tests_pass_where_it_is_installed(package: Path, tmp_path: Path) -> None:
    assert "3 passed" in run_its_tests(package, tmp_path / "site")


def test_a_name_that_a_metric_has_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new-metric", "kad", "--out", str(tmp_path / "out")]) == 2
    assert '"kad" is already the name of a metric, of admbench' in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
