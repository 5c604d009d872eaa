"""A run whose disk fails, fills, or whose process ends at any operation: nothing finished is lost.

The next run, on a sound disk, comes to the records that a run without faults has.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import settings

from admbench.bench.run.cell import STEP_TIMING
from admbench.bench.run.grid import GridSpec
from admbench.bench.run.layout import RunLayout
from admbench.bench.run.runner import CellResult, run_grid
from admbench.errors import BenchError
from admbench.leaderboard.reading import read_record
from admbench.leaderboard.validating import validate

from ..fuzz.faulty_files import KINDS, NO_ROOM, Death, FaultyFiles, Kind
from .in_process import JUDGES, Here
from .settled import settled

FIRST, SECOND = "fp32", "naive@w8a8[prompts=1,timesteps=1,steps=2]"
EVERY = 24
"""Of how many operations the slow tests try one; each kind others. `tox -e fuzz` tries all."""
MakeGrid = Callable[..., GridSpec]

pytestmark = [
    pytest.mark.usefixtures("check_specs_here", "timed_once"),
    pytest.mark.attack("run on a disk that fails, fills, is read-only, or a process that ends"),
]


def run(grid: GridSpec) -> list[CellResult]:
    return run_grid(grid, command="bench run", judges=JUDGES, executor=Here())


@pytest.fixture
def timed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take one time of a step: which times there are is nothing here."""
    monkeypatch.setattr("admbench.bench.run.cell.STEP_TIMING", replace(STEP_TIMING, repeats=1))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the first test of the module that needs it computes for all."""
    return {"folder": tmp_path_factory.mktemp("kept")}


@pytest.fixture
def half(make_grid: MakeGrid, kept: dict[str, Any]) -> GridSpec:
    """A grid of two cells, of which the first is finished."""
    options = {"limit": 2, "metrics__names": ["clap"]}
    grid = make_grid(methods=[FIRST, SECOND], **options)
    stored = kept["folder"] / "half"
    if not stored.exists():
        one = make_grid(methods=[FIRST], **options)
        assert [result.reason for result in run(one)] == [None]
        shutil.copytree(grid.out, stored)
        with FaultyFiles(grid.out).installed() as files:
            assert [result.reason for result in run(grid)] == [None, None]
        kept |= {"operations": files.operations, "settled": settled(grid)}
        shutil.rmtree(grid.out)
    shutil.copytree(stored, grid.out)
    return grid


def check(grid: GridSpec, expected: dict[str, Any], kind: Kind, at: int) -> None:
    """Run with a fault; then see what was finished, and run again."""
    finished = RunLayout(grid.out).cell("fake-adm", FIRST).record
    before = finished.read_bytes()
    files = FaultyFiles(grid.out, kind, at)
    with files.installed(), suppress(BenchError, Death):  # whatever else a disk makes it raise is a mistake
        assert all("\n" not in str(result.reason) for result in run(grid))
    where = f"{kind} at {at}: {files.operations[at - 1 :][:1]}"
    assert finished.read_bytes() == before, where
    assert read_record(finished).status == "done", where
    assert [(result.reason, result.kept) for result in run(grid)] == [(None, False)] * 2, where
    assert settled(grid) == expected, where
    assert all(not checked.problems for checked in validate([grid.out])), where
    assert [path.name for path in grid.out.iterdir() if path.name.startswith(".probe") or "work" in path.name] == []


def places(kept: dict[str, Any], kind: Kind, every: int) -> range:
    """Numbers of the operations at which a fault comes: each kind at others, so that few cover many.

    A full disk and a full quota differ by a number alone: unless all are tried, they take turns.
    """
    if kind in NO_ROOM and every > 1:
        every *= len(NO_ROOM)
    first = 1 + every * KINDS.index(kind) // len(KINDS)
    return range(first, len(kept["operations"]) + 1, every)


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_in_a_run_loses_nothing_and_the_next_run_comes_to_the_same(
    kind: Kind, half: GridSpec, kept: dict[str, Any], tried: Callable[..., None]
) -> None:
    try_all(half, kept, kind, len(kept["operations"]) // 2, tried)


@pytest.mark.slow(130)
@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_at_any_operation_of_a_run_loses_nothing(
    kind: Kind, half: GridSpec, kept: dict[str, Any], tried: Callable[..., None]
) -> None:
    thorough = settings.get_current_profile_name() == "attacks"
    try_all(half, kept, kind, 1 if thorough else EVERY, tried)


def try_all(grid: GridSpec, kept: dict[str, Any], kind: Kind, every: int, tried: Callable[..., None]) -> None:
    for at in places(kept, kind, every):
        shutil.rmtree(grid.out)
        shutil.copytree(kept["folder"] / "half", grid.out)
        tried()
        check(grid, kept["settled"], kind, at)
