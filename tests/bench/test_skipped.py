"""A method whose package is not installed: its cells are skipped with the reason, and nothing else is held up."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from admbench.bench.cli.app import main
from admbench.bench.cli.checks import check_method
from admbench.bench.run.grid import GridSpec
from admbench.bench.run.runner import CellResult, run_grid
from admbench.errors import PluginError
from admbench.files import read_json
from admbench.leaderboard.reading import read_record

from .in_process import JUDGES, Here

REASON = "needs no-such-distribution: pip install no-such-distribution"


def run(grid: GridSpec) -> list[CellResult]:
    return run_grid(grid, command="bench run", judges=JUDGES, executor=Here())


def record_file(grid: GridSpec) -> Path:
    (file,) = grid.out.glob("cells/*/absent*/result.json")
    return file


@pytest.mark.usefixtures("check_specs_here")
def test_a_cell_that_cannot_run_here_is_skipped_with_the_reason(make_grid: Callable[..., GridSpec]) -> None:
    grid = make_grid(methods=["absent"])
    (result,) = run(grid)
    assert (result.skipped, result.reason, result.resumed) == (True, REASON, False)
    record = read_record(record_file(grid))
    assert (record.status, record.reason) == ("skipped", REASON)
    assert record.scores
    assert all((score.value, score.reason) == (None, "the cell was skipped") for score in record.scores.values())
    assert not (grid.out / "baselines").exists()  # nothing was computed for it


@pytest.mark.usefixtures("check_specs_here")
def test_it_runs_as_soon_as_the_package_is_there(
    make_grid: Callable[..., GridSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = make_grid(methods=["absent"])
    run(grid)
    monkeypatch.setattr("fake_adm.Absent.requires", ())
    (result,) = run(grid)
    assert (result.skipped, result.reason) == (False, None)
    assert read_json(record_file(grid))["status"] == "done"
    monkeypatch.setattr("fake_adm.Absent.requires", ("no-such-distribution",))
    (result,) = run(make_grid(methods=["absent"], seed=1))
    assert (result.skipped, result.kept) == (True, True)
    assert read_json(record_file(grid))["status"] == "done", "an attempt never replaces a result"
    assert read_json(record_file(grid).with_name("attempt.json"))["status"] == "skipped"


@pytest.mark.usefixtures("check_specs_here", "fake_judges")
def test_the_command_line_says_what_was_skipped_and_does_the_rest(
    make_grid: Callable[..., GridSpec], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("admbench.bench.run.runner.run_grid", partial(run_grid, executor=Here()))
    grid = make_grid()
    command = ["run", "--models", "fake-adm", "--methods", "fp32,absent", "--steps", "2", "--suite", grid.suite]
    assert main([*command, "--metrics", "clap", "--out", str(grid.out)]) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0] == "2 cells, 0 of them already done"
    assert f"skipped fake-adm absent: {REASON}" in lines
    assert any(line.startswith("done fake-adm fp32 (") for line in lines)
    assert captured.err == ""
    assert "1 skipped" in (grid.out / "site" / "index.html").read_text()


def test_quantize_and_latency_name_the_command_before_anything_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("admbench.registry.metadata.distributions", lambda **_: [])
    with pytest.raises(PluginError, match='method "torchao-int8" needs torchao: pip install torchao'):
        check_method("torchao-int8@w8a8")
