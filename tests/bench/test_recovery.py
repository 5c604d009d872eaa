"""A result that replaces another: whatever ends the process, one of the two is there, and the next run tidies up."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from admbench import exchange
from admbench.bench.run import recovery
from admbench.bench.run.executors.base import Outcome
from admbench.bench.run.grid import GridSpec
from admbench.bench.run.jobs import CellJob, QuantizeJob, job_from_json
from admbench.bench.run.layout import RunLayout
from admbench.bench.run.runner import CellResult, Events, run_grid
from admbench.bench.run.stages import publish
from admbench.errors import DataError
from admbench.files import atomic_directory
from admbench.leaderboard.reading import read_record

from ..fuzz.faulty_files import KINDS, Death, FaultyFiles, Kind
from .in_process import JUDGES, Here

pytestmark = pytest.mark.attack("result that takes the place of another, on a disk that fails or at the process's end")


def folder(path: Path, text: str) -> Path:
    path.mkdir(parents=True)
    for name in ("result.json", "audio.wav"):
        (path / name).write_text(text)
    return path


def published(run: Path) -> str | None:
    """What is in the place of the result: the old one, the new one, whole; or nothing."""
    found = {file.read_text() for file in (run / "cells/m/x").glob("*")}
    assert len(found) <= 1, "a mixture"
    return found.pop() if found else None


@pytest.mark.parametrize("exchanges", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_at_every_operation_the_old_result_is_there_or_the_new_one(
    kind: Kind, exchanges: bool, tmp_path: Path, tried: Callable[..., None]
) -> None:
    for at in range(1, 30):
        run = tmp_path / str(at)
        target, work = folder(run / "cells/m/x", "old"), folder(run / "work/key", "new")
        files = FaultyFiles(run, kind, at, exchanges=exchanges)
        ended = None
        with files.installed():
            try:
                publish(work, target)
            except (OSError, Death) as error:
                ended = error
        tried()
        if exchanges:
            assert published(run) in ("old", "new"), files.operations
        recovery.put_back(run)
        assert published(run) in ("old", "new"), files.operations
        assert published(run) == "new" or work.is_dir(), "lost"
        assert [path.name for path in (run / "cells/m").iterdir()] == ["x"]
        if len(files.operations) < at:
            assert ended is None
            assert published(run) == "new"
            break
    else:
        pytest.fail("it never came to its end")


@pytest.mark.parametrize("exchanges", [True, False])
def test_a_folder_that_is_written_anew_is_the_old_one_or_the_new_one(exchanges: bool, tmp_path: Path) -> None:
    for at in range(1, 40):
        place = folder(tmp_path / str(at) / "cells/m/x", "old")
        files = FaultyFiles(tmp_path, "death", at, exchanges=exchanges)
        with files.installed(), suppress(Death), atomic_directory(place) as made:
            (made / "result.json").write_text("new")
        recovery.put_back(tmp_path / str(at))
        assert published(tmp_path / str(at)) in ("old", "new"), files.operations
        if len(files.operations) < at:
            break
    assert published(tmp_path / str(at)) == "new"


def test_this_system_exchanges_two_folders_at_once(tmp_path: Path) -> None:
    first, second = folder(tmp_path / "a", "first"), folder(tmp_path / "b", "second")
    if not exchange.exchange(first, second):
        pytest.skip("this file system does not")
    assert [(path / "result.json").read_text() for path in (first, second)] == ["second", "first"]
    with pytest.raises(FileNotFoundError):
        exchange.exchange(first, tmp_path / "absent")


@pytest.mark.usefixtures("check_specs_here")
@pytest.mark.parametrize("exchanges", [True, False])
def test_a_run_that_ends_while_a_cell_is_replaced_keeps_the_cell_and_the_next_one_tidies_up(
    exchanges: bool, make_grid: Callable[..., GridSpec], tried: Callable[..., None]
) -> None:
    grid = make_grid(methods=["fp32"], limit=2, metrics__names=["clap"])
    cell = RunLayout(grid.out).cell("fake-adm", "fp32")
    assert run(grid) == [None]
    counting = FaultyFiles(grid.out, exchanges=exchanges)
    with counting.installed():
        assert run(grid, fresh=True) == [None]
    aside = f"replace {cell.path.with_name(f'.{cell.path.name}.replaced')}"
    begins = counting.operations.index(f"exchange {cell.path}" if exchanges else aside)
    before = cell.record.read_bytes()
    files = FaultyFiles(grid.out, "death", begins + 2, exchanges=exchanges)  # numbered from 1: the one after it
    with files.installed(), pytest.raises(Death):
        run(grid, fresh=True)
    tried()
    assert cell.record.is_file() is exchanges
    assert run(grid) == [None]
    assert read_record(cell.record).status == "done"
    assert exchanges is (cell.record.read_bytes() != before)
    assert not RunLayout(grid.out).all_work.exists()
    assert [path.name for path in cell.path.parent.iterdir()] == [cell.path.name]


@pytest.mark.usefixtures("check_specs_here")
def test_a_checkpoint_at_work_goes_once_its_cell_is_done_and_stays_while_it_is_not(
    make_grid: Callable[..., GridSpec],
) -> None:
    grid = make_grid(methods=["naive@w8a8[prompts=2,timesteps=2,steps=2]"], limit=2, metrics__names=["clap"])
    assert run(grid) == [None]
    (record,) = RunLayout(grid.out).records()
    cell = job_from_json((record.parent / "job.json").read_text())
    assert isinstance(cell, CellJob)
    shared = cell.model_dump(include={*QuantizeJob.model_fields} - {"kind", "key", "calibration"})
    quantize = QuantizeJob.model_validate(shared | {"key": cell.checkpoint, "run": grid.out})
    other = quantize.model_copy(update={"key": "0" * 64})
    for job in (quantize, other):
        job.work.path.mkdir(parents=True)
        job.work.job.write_text(job.model_dump_json())
    recovery.remove_replaced(grid.out)
    assert not quantize.work.path.exists()
    assert other.work.path.is_dir(), "which goes on when it is asked for"


@pytest.mark.usefixtures("check_specs_here")
def test_what_a_node_that_was_taken_for_lost_went_on_to_write_is_gone_after_the_run(
    make_grid: Callable[..., GridSpec],
) -> None:
    grid = make_grid(methods=["fp32"], limit=2, metrics__names=["clap"])

    def write(outcome: Outcome) -> None:
        folder(outcome.job.work.path, "half of a job that another has done")

    results = run_grid(grid, command="bench run", judges=JUDGES, executor=Here(), events=Events(ended=write))
    assert [result.reason for result in results] == [None]
    assert not RunLayout(grid.out).all_work.exists()


@pytest.mark.usefixtures("check_specs_here")
def test_nothing_is_removed_or_replaced_where_a_link_leads_out_of_the_run(
    make_grid: Callable[..., GridSpec], tmp_path: Path
) -> None:
    grid = make_grid(methods=["fp32"], limit=2)
    outside = folder(tmp_path / "outside/.fp32.replaced", "kept").parent
    folder(outside / "fp32", "kept")
    (grid.out / "cells").mkdir(parents=True)
    (grid.out / "cells/fake-adm").symlink_to(outside)
    with pytest.raises(DataError, match=r"cells/fake-adm/fp32: a link out of the run folder"):
        run(grid, fresh=True)
    assert {file.read_text() for file in outside.rglob("*.*") if file.is_file()} == {"kept"}
    assert sorted(path.name for path in outside.iterdir()) == [".fp32.replaced", "fp32"]


def run(grid: GridSpec, *, fresh: bool = False) -> list[str | None]:
    results: list[CellResult] = run_grid(grid, command="bench run", judges=JUDGES, executor=Here(), fresh=fresh)
    return [result.reason for result in results]
