"""Run folders on a file system that has no `flock`: a lease keeps a second run out, and the results are the same."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from admbench.bench.run import lease
from admbench.bench.run.executors.base import Outcome
from admbench.bench.run.grid import GridSpec
from admbench.bench.run.layout import RunLayout
from admbench.bench.run.lock import hold, is_held
from admbench.bench.run.runner import Events, run_grid
from admbench.errors import DataError, UsageError

from ..fuzz.faulty_storage import URL, FaultyStorage
from .in_process import JUDGES, Here
from .settled import settled


@pytest.fixture(params=[errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP], ids=lambda code: errno.errorcode[code])
def no_locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let `flock` fail below the folder of the test, as it does where the file system has none."""
    without_locks(monkeypatch, tmp_path, request.param)


def without_locks(monkeypatch: pytest.MonkeyPatch, folder: Path, code: int) -> None:
    flock = fcntl.flock

    def fails(file: object, operation: int) -> None:
        number = file if isinstance(file, int) else file.fileno()  # type: ignore[attr-defined]
        if Path(os.readlink(f"/proc/self/fd/{number}")).is_relative_to(folder):
            raise OSError(code, os.strerror(code))
        flock(number, operation)

    monkeypatch.setattr(fcntl, "flock", fails)


@pytest.mark.usefixtures("no_locks")
def test_a_second_run_is_refused_and_the_next_one_begins_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "new" / "run"
    with hold(out) as held:
        assert held.lease is not None
        monkeypatch.setattr(lease.time, "sleep", lambda seconds: held.lease.beat())
        assert is_held(out)
        with pytest.raises(UsageError, match=f"^{out}: another bench run is at work there$"), hold(out):
            pass
        held.lease.require()
    assert not is_held(out)
    monkeypatch.setattr(lease.time, "sleep", lambda seconds: pytest.fail("waited"))
    with hold(out):
        pass
    assert [path.name for path in out.iterdir()] == [".lock"]


@pytest.mark.usefixtures("no_locks")
def test_of_a_run_that_was_killed_the_lease_is_taken_and_one_that_was_only_away_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LEASE_SECONDS", 0.0)
    monkeypatch.setattr(lease.Lease, "keep", lambda self: None)  # it is away
    with hold(tmp_path) as away, hold(tmp_path) as taken:
        assert away.lease is not None
        assert taken.lease is not None
        away.lease.beat()
        with pytest.raises(UsageError, match="another bench run took over there"):
            away.lease.require()
        taken.lease.beat()
        taken.lease.require()


@pytest.mark.usefixtures("no_locks")
def test_a_folder_that_was_made_for_a_run_which_began_nothing_is_removed(tmp_path: Path) -> None:
    with pytest.raises(KeyError), hold(tmp_path / "new" / "run"):
        raise KeyError
    assert not (tmp_path / "new").exists()


def test_a_machine_with_locks_honours_the_lease_of_one_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.MonkeyPatch.context() as there:
        without_locks(there, tmp_path, errno.ENOLCK)
        other = hold(tmp_path)
        held = other.__enter__()
    assert held.lease is not None
    monkeypatch.setattr(lease.time, "sleep", lambda seconds: held.lease.beat())
    assert is_held(tmp_path)
    with pytest.raises(UsageError, match="another bench run is at work there"), hold(tmp_path):
        pass
    other.__exit__(None, None, None)
    with hold(tmp_path) as mine:
        assert mine.lease is None


def test_another_failure_of_a_lock_is_said_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_locks(monkeypatch, tmp_path, errno.EIO)
    with pytest.raises(DataError, match=rf"^{tmp_path}: cannot be written \(Input/output error\)"), hold(tmp_path):
        pass


@pytest.mark.usefixtures("check_specs_here")
@pytest.mark.parametrize("store", [None, URL])
def test_records_are_those_of_a_run_with_locks_and_who_loses_the_lease_stops(
    store: str | None, make_grid: Callable[..., GridSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"methods": ["fp32"], "limit": 2, "metrics__names": ["clap"]}
    plain = make_grid(out=tmp_path / "plain", **options)

    def run(grid: GridSpec, events: Events | None = None) -> list[str | None]:
        results = run_grid(grid, command="bench run", judges=JUDGES, executor=Here(), events=events)
        return [result.reason for result in results]

    assert run(plain) == [None]
    without_locks(monkeypatch, tmp_path, errno.ENOLCK)
    FaultyStorage.empty()
    grid = make_grid(out=tmp_path / "run", store=store, **options)
    path = RunLayout(grid.out).lease
    kept: list[lease.Lease] = []
    monkeypatch.setattr(lease.Lease, "keep", lambda self: kept.append(self))

    def take_over(outcome: Outcome) -> None:
        path.write_text('{"owner": "another", "place": "elsewhere", "beats": 0}')
        kept[0].beat()

    with pytest.raises(UsageError, match=f"^{grid.out}: another bench run took over there"):
        run(grid, Events(ended=take_over))
    path.unlink()  # the other has ended
    assert run(grid) == [None]
    assert settled(grid) == settled(plain)
    assert not path.exists()
    FaultyStorage.empty()
