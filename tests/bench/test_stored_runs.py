"""Runs whose products go to storage: the same records, on any machine, and nothing finished is lost when it fails."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from admbench.bench.cli.app import main
from admbench.bench.run import store
from admbench.bench.run.grid import GridSpec, load_grid
from admbench.bench.run.layout import RunLayout
from admbench.bench.run.runner import CellResult, run_grid
from admbench.bench.run.store import Store
from admbench.errors import BenchError, UsageError
from admbench.leaderboard.reading import read_record

from ..fuzz.faulty_storage import KINDS, URL, FaultyStorage, Kind
from .in_process import JUDGES, Here
from .settled import settled

NAIVE = "naive@w4a8[prompts=2,timesteps=2,steps=2]"
METHODS = ["fp32", NAIVE]
EVERY = 6
"""Of the operations of a run, one in so many has a fault of some kind."""

pytestmark = pytest.mark.usefixtures("check_specs_here")


@pytest.fixture(autouse=True)
def empty(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    FaultyStorage.empty()
    monkeypatch.setattr(store, "PAUSES", ())  # every fault counts
    yield
    FaultyStorage.empty()


@pytest.fixture
def grid(make_grid: Callable[..., GridSpec], tmp_path: Path) -> GridSpec:
    return make_grid(methods=METHODS, limit=2, metrics__names=["clap"], store=URL)


def elsewhere(grid: GridSpec, name: str = "elsewhere") -> GridSpec:
    """The same grid on a machine that has nothing of it."""
    return grid.model_copy(update={"out": grid.out.parent / name})


def run(grid: GridSpec) -> list[CellResult]:
    return run_grid(grid, command="bench run", judges=JUDGES, executor=Here())


def test_another_machine_has_all_cells_without_carrying_out_one(make_grid: Callable[..., GridSpec]) -> None:
    grid = make_grid(methods=["fp32"], limit=2, metrics__names=["clap"], store=URL)
    assert [result.reason for result in run(grid)] == [None]
    there = elsewhere(grid)
    assert [(result.reason, result.resumed) for result in run(there)] == [(None, True)]
    mine, theirs = (RunLayout(one.out).cell("fake-adm", "fp32").record for one in (grid, there))
    assert mine.read_bytes() == theirs.read_bytes()
    assert settled(there) == settled(grid)


def test_from_any_machine_it_is_seen_how_a_run_stands_and_what_belongs_to_no_job_is_removed(
    make_grid: Callable[..., GridSpec], capsys: pytest.CaptureFixture[str]
) -> None:
    grid = make_grid(methods=["fp32"], limit=2, metrics__names=["clap"], store=URL)
    run(grid)
    capsys.readouterr()  # what its jobs said
    there = Store(URL)
    (key,) = (cell for cell in sorted(there.keys()) if "result.json" in (there.files(cell) or {}))
    assert main(["status", URL]) == 0
    assert capsys.readouterr().out.splitlines() == ["fake-adm fp32\tdone\t-\t-\t-\t-", "1 cells, 1 done"]
    before = there.names("objects")
    there.write("objects/00/" + "0" * 64, b"of a crash")
    assert main(["prune", URL, "--what", "leftovers"]) == 0
    assert capsys.readouterr().out.startswith("1 objects, ")
    assert there.names("objects") == before
    there.remove(f"jobs/{key}.json")
    there.write(f"logs/{key}.txt", b"loading\nout of luck\n")
    assert main(["status", URL]) == 0
    assert "fake-adm fp32\tfailed\t-\t-\t-\tout of luck" in capsys.readouterr().out
    assert main(["prune", URL, "--what", "audio"]) == 2
    assert "--what leftovers" in capsys.readouterr().err


def test_where_no_run_is_stored_there_is_no_standing_and_nothing_to_prune(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["status", URL], ["prune", URL, "--what", "leftovers"]):
        assert main(command) == 2
        assert capsys.readouterr().err.startswith(f"error: {URL}: no run is there")


@pytest.mark.slow(20)
def test_records_are_those_of_a_run_without_storage(grid: GridSpec) -> None:
    plain = grid.model_copy(update={"store": None, "out": grid.out.parent / "plain"})
    assert [result.reason for result in run(plain)] == [None, None]
    assert [result.reason for result in run(grid)] == [None, None]
    assert settled(plain) == settled(grid)


@pytest.mark.slow(20)
def test_a_new_cell_on_another_machine_fetches_what_it_shares_with_the_others(grid: GridSpec) -> None:
    assert [result.reason for result in run(grid.model_copy(update={"methods": ("fp32",)}))] == [None]
    there = elsewhere(grid)
    assert [result.reason for result in run(there)] == [None, None]
    baseline = RunLayout(there.out).baseline("fake-adm")
    assert baseline.sealed.read_bytes() == RunLayout(grid.out).baseline("fake-adm").sealed.read_bytes()


def test_a_url_in_place_of_a_folder_works_in_a_folder_of_its_name() -> None:
    grid = load_grid(None, {"out": "s3://bucket/runs/one/"})
    assert (grid.store, grid.out) == ("s3://bucket/runs/one", Path("runs/one"))
    with pytest.raises(UsageError, match="out and store are both URLs"):
        load_grid(None, {"out": "s3://bucket/run", "store": "s3://bucket/other"})
    with pytest.raises(UsageError, match="without login or parameters") as raised:
        load_grid(None, {"out": "s3://key:hidden-secret@bucket/run"})
    assert "hidden-secret" not in str(raised.value)


def check(grid: GridSpec, kind: Kind, at: int, expected: dict[str, Any], tried: Callable[..., None]) -> int:
    """Run with a fault, then again; return the number of operations of the first."""
    FaultyStorage.empty()
    for out in (grid.out, elsewhere(grid).out):
        shutil.rmtree(out, ignore_errors=True)
    FaultyStorage.fail(kind, at)
    with suppress(BenchError):  # the lease or the list: before anything is done
        assert all("\n" not in str(result.reason) for result in run(grid))
    tried()
    operations = len(FaultyStorage.operations)
    records = {path: path.read_bytes() for path in RunLayout(grid.out).records()}
    done = {path: said for path, said in records.items() if read_record(path).status == "done"}
    FaultyStorage.heal()
    assert [result.reason for result in run(grid)] == [None, None], (kind, at)
    assert all(path.read_bytes() == said for path, said in done.items()), "what was finished was done again"
    assert settled(grid) == expected
    there = elsewhere(grid)
    assert [(result.reason, result.resumed) for result in run(there)] == [(None, True)] * 2, (kind, at)
    assert settled(there) == expected
    return operations


@pytest.mark.slow(200)
@pytest.mark.attack("storage that fails, lies or loses")
@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_at_any_operation_of_the_storage_loses_nothing(
    kind: Kind, grid: GridSpec, tried: Callable[..., None]
) -> None:
    assert [result.reason for result in run(grid)] == [None, None]
    every, expected = len(FaultyStorage.operations), settled(grid)
    for at in range(1 + KINDS.index(kind), every + 1, EVERY * len(KINDS)):  # each kind at others
        check(grid, kind, at, expected, tried)


def test_storage_that_is_away_from_the_first_is_said_in_a_line(grid: GridSpec) -> None:
    FaultyStorage.fail("away", 1)
    with pytest.raises(BenchError, match=rf"^{URL}: cannot write there \(StorageError: operation 1: no answer\)$"):
        run(grid)
    assert Store(URL).url == URL
