"""`bench merge`: what is the same is linked once, what is not is named, and nothing is overwritten."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from admbench.bench.cli.app import main
from admbench.bench.run.lock import hold
from admbench.bench.run.merging import merge_runs

from .test_run import MakeGrid, run

pytestmark = pytest.mark.usefixtures("check_specs_here")
NAIVE = "naive@w4a8[prompts=2,timesteps=2,steps=2]"


def write_cell(run: Path, place: str, key: str, status: str = "done") -> Path:
    folder = run / place
    folder.mkdir(parents=True)
    (folder / "job.json").write_text(json.dumps({"key": key}))
    (folder / "result.json").write_text(json.dumps({"status": status}))
    (folder / "log.txt").write_text(f"{key} in {run.name}")
    return folder


def test_two_halves_of_a_grid_become_a_run_that_is_finished(make_grid: MakeGrid, tmp_path: Path) -> None:
    halves = [make_grid(methods=[spec], out=tmp_path / name) for spec, name in (("fp32", "a"), (NAIVE, "b"))]
    for half in halves:
        run(half)
    whole = make_grid(methods=["fp32", NAIVE], out=tmp_path / "whole")
    assert main(["merge", str(halves[0].out), str(halves[1].out), "--out", str(whole.out), "--quiet"]) == 0
    assert [(result.resumed, result.reason) for result in run(whole)] == [(True, None), (True, None)]


def test_files_are_linked_and_not_copied(tmp_path: Path) -> None:
    cell = write_cell(tmp_path / "a", "cells/m/x", "1")
    merge_runs([tmp_path / "a"], tmp_path / "out")
    assert os.path.samefile(cell / "result.json", tmp_path / "out/cells/m/x/result.json")


def test_the_same_cell_of_two_machines_is_there_once_and_the_first_stays(tmp_path: Path) -> None:
    for name in "ab":
        write_cell(tmp_path / name, "cells/m/x", "1")
    done = merge_runs([tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    assert (done.added, done.known, done.conflicts) == (("cells/m/x",), ("cells/m/x",), ())
    assert (tmp_path / "out/cells/m/x/log.txt").read_text() == "1 in a"


@pytest.mark.parametrize("status", ["failed", "skipped"])
def test_a_cell_that_is_done_somewhere_is_taken_from_there(status: str, tmp_path: Path) -> None:
    write_cell(tmp_path / "a", "cells/m/x", "1", status)
    write_cell(tmp_path / "a", "cells/m/y", "2")
    write_cell(tmp_path / "b", "cells/m/x", "1")
    assert merge_runs([tmp_path / "a", tmp_path / "b"], tmp_path / "out").added == ("cells/m/y", "cells/m/x")
    assert merge_runs([tmp_path / "b"], tmp_path / "a").added == ("cells/m/x",), "in place of the failure"
    assert (tmp_path / "a/cells/m/x/log.txt").read_text() == "1 in b"


def test_nothing_is_merged_into_a_run_at_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_cell(tmp_path / "a", "cells/m/x", "1")
    with hold(tmp_path / "out"):
        assert main(["merge", str(tmp_path / "a"), "--out", str(tmp_path / "out")]) == 2
    assert "another bench run is at work there" in capsys.readouterr().err
    assert not (tmp_path / "out/cells").exists()


def test_what_differs_is_named_and_the_rest_is_merged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_cell(tmp_path / "a", "cells/m/x", "1")
    write_cell(tmp_path / "b", "cells/m/x", "2")
    write_cell(tmp_path / "b", "cells/m/y", "3")
    assert main(["merge", str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr()
    assert said.err.startswith(f"conflict: {tmp_path}/b/cells/m/x: not the same as {tmp_path}/out/cells/m/x")
    assert said.out == f"{tmp_path}/out: 2 added, 0 there already, 1 in conflict\n"
    assert (tmp_path / "out/cells/m/x/log.txt").read_text() == "1 in a"
    assert (tmp_path / "out/cells/m/y/log.txt").read_text() == "3 in b"


def test_a_run_takes_in_another_in_place(tmp_path: Path) -> None:
    write_cell(tmp_path / "a", "cells/m/x", "1")
    write_cell(tmp_path / "b", "cells/m/y", "2")
    done = merge_runs([tmp_path / "a", tmp_path / "b"], tmp_path / "a")
    assert done.added == ("cells/m/y",)


def test_work_in_progress_and_links_stay_where_they_are(tmp_path: Path) -> None:
    write_cell(tmp_path / "a", "cells/m/x", "1")
    write_cell(tmp_path / "a", "cells/m/.x.replaced", "0")
    (tmp_path / "a/cells/m/y").symlink_to(tmp_path)
    (tmp_path / "a/cells/m/x/secret").symlink_to("/etc/passwd")
    assert merge_runs([tmp_path / "a"], tmp_path / "out").added == ("cells/m/x",)
    assert not (tmp_path / "out/cells/m/x/secret").exists()


def test_a_folder_without_finished_cells_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["merge", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "no finished cells; expected a run folder" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
