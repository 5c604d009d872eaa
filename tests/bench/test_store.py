"""Finished jobs on storage: whole or not there, whatever the storage does; one run at a time, without locks."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from admbench.bench.run import lease, store
from admbench.bench.run.layout import JobFolder
from admbench.bench.run.lease import hold_lease
from admbench.bench.run.products import is_sealed, seal_folder
from admbench.bench.run.store import Store
from admbench.errors import DataError, UsageError

from ..fuzz.faulty_storage import KINDS, URL, FaultyStorage, Kind

KEY = "f" * 64


@pytest.fixture(autouse=True)
def empty(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    FaultyStorage.empty()
    monkeypatch.setattr(store, "PAUSES", ())  # every fault counts
    yield
    FaultyStorage.empty()


@pytest.fixture
def job(tmp_path: Path) -> JobFolder:
    return made(tmp_path / "job", "one")


def made(path: Path, text: str) -> JobFolder:
    (path / "audio").mkdir(parents=True)
    (path / "result.json").write_text(text)
    (path / "audio/a clip.wav").write_bytes(b"\x00" * 100)
    (path / "audio/another.wav").write_bytes(b"\x00" * 100)
    (path / "log.txt").write_text(f"log of {text}")
    seal_folder(JobFolder(path), KEY)
    return JobFolder(path)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("url", ["folder", URL])
def test_what_was_pushed_is_pulled_byte_for_byte_and_counts_as_done(url: str, job: JobFolder, tmp_path: Path) -> None:
    there = Store(f"file://{tmp_path}/store" if url == "folder" else url)
    target = JobFolder(tmp_path / "elsewhere/cell")
    assert not there.holds(KEY)
    assert not there.pull(KEY, target.path)
    assert there.keys() == set()
    there.push(job.path, KEY)
    assert there.keys() == {KEY}
    assert there.pull(KEY, target.path)
    assert contents(target.path) == contents(job.path)
    assert is_sealed(target, KEY, whole=True)
    assert os.stat(target.record).st_mtime_ns == os.stat(job.record).st_mtime_ns


def test_equal_files_are_kept_once_and_what_is_here_is_not_fetched_again(job: JobFolder) -> None:
    there = Store(URL)
    there.push(job.path, KEY)
    assert FaultyStorage.operations.count("put") == len(contents(job.path)) - 1  # two clips are the same
    FaultyStorage.heal()
    assert there.pull(KEY, job.path)
    assert FaultyStorage.operations == ["cat"]


def test_a_number_that_changed_here_under_the_same_date_is_fetched_again(job: JobFolder) -> None:
    there = Store(URL)
    there.push(job.path, KEY)
    before, status = contents(job.path), job.record.stat()
    job.record.write_text("two")
    os.utime(job.record, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert not is_sealed(job, KEY, whole=False)
    assert there.pull(KEY, job.path)
    assert contents(job.path) == before


@pytest.mark.attack("storage that fails, lies or loses")
@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_at_any_operation_leaves_the_old_result_or_the_new_one_and_the_next_attempt_the_new_one(
    kind: Kind, job: JobFolder, tmp_path: Path, tried: Callable[..., None]
) -> None:
    new = made(tmp_path / "new", "another, longer")
    both = [contents(job.path), contents(new.path)]
    for at in range(1, 60):
        FaultyStorage.empty()
        there = Store(URL)
        there.push(job.path, KEY)
        FaultyStorage.fail(kind, at)
        said = f"{URL}: cannot "
        target = tmp_path / f"pulled-{at}"
        try:
            there.push(new.path, KEY)
            there.pull(KEY, target)
        except DataError as error:
            said = str(error)
        assert said.startswith(f"{URL}: cannot ")
        tried()
        operations = len(FaultyStorage.operations)
        assert not target.exists() or contents(target) == both[1]
        FaultyStorage.heal()
        if there.pull(KEY, target):  # not where half a marker stands
            assert contents(target) in both
        there.push(new.path, KEY)
        assert there.pull(KEY, target)
        assert contents(target) == both[1]
        if operations < at:
            assert said == f"{URL}: cannot "  # and so nothing was raised
            return
    pytest.fail("it never came to its end")


def test_a_fault_that_passes_is_not_noticed(job: JobFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "PAUSES", (0.0,))
    for at, kind in enumerate(KINDS[:3], start=1):
        FaultyStorage.fail(kind, 2 * at)
        Store(URL).push(job.path, KEY)
        assert Store(URL).pull(KEY, tmp_path / kind)


@pytest.mark.attack("storage that fails, lies or loses")
def test_an_object_that_was_changed_makes_the_job_none_and_is_replaced(job: JobFolder, tmp_path: Path) -> None:
    there = Store(URL)
    there.push(job.path, KEY)
    for change in ("changed", "lost"):
        name = next(name for name, file in FaultyStorage.store.items() if file.getvalue() == b"\x00" * 100)
        if change == "lost":
            del FaultyStorage.store[name]
        else:
            there.write(name.removeprefix("/store/run/"), b"\x01" * 100)
        assert not there.pull(KEY, tmp_path / "target")
        assert not (tmp_path / "target").exists()
        assert not there.holds(KEY)
        there.push(job.path, KEY)
        assert there.pull(KEY, tmp_path / f"target-{change}")


@pytest.mark.attack("storage that fails, lies or loses")
@pytest.mark.parametrize("name", ["../outside", "/outside", "a/../../outside", "a\\b", ""])
def test_a_marker_that_leads_out_of_the_folder_is_none(name: str, job: JobFolder, tmp_path: Path) -> None:
    there = Store(URL)
    there.push(job.path, KEY)
    marker = json.loads(there.read(f"jobs/{KEY}.json") or b"")
    del marker["sha256"]
    marker["files"][name] = marker["files"].pop("log.txt")
    there.write(f"jobs/{KEY}.json", json.dumps(marker | {"sha256": store.sha256_json(marker)}).encode())
    assert not there.pull(KEY, tmp_path / "target")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["job"]


@pytest.mark.parametrize(
    "url", ["bucket/run", "s3://ann:secret-password@bucket/run", "https://host/run?token=secret-token", "s3://"]
)
def test_a_url_without_a_folder_or_with_a_secret_is_refused_without_saying_it(url: str) -> None:
    with pytest.raises(UsageError, match="expected the URL of a folder") as raised:
        Store(url)
    assert "secret-" not in str(raised.value)


def test_one_run_holds_the_lease_and_the_next_gets_it_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = Store(URL)
    with hold_lease(there, tmp_path / "a") as held:
        monkeypatch.setattr(lease.time, "sleep", lambda seconds: held.beat())
        with pytest.raises(UsageError, match="another bench run is at work there"), hold_lease(there, tmp_path / "b"):
            pass
        held.require()
    with hold_lease(there, tmp_path / "b"):
        assert there.read("leases/run.json") is not None
    assert there.read("leases/run.json") is None


def test_a_lease_of_a_run_that_was_killed_is_taken_and_who_was_only_away_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LEASE_SECONDS", 0.0)
    monkeypatch.setattr(lease.Lease, "keep", lambda self: None)  # it is away
    there = Store(URL)
    with hold_lease(there, tmp_path / "a") as away, hold_lease(there, tmp_path / "b") as taken:
        away.beat()
        with pytest.raises(UsageError, match="took over there"):
            away.require()
        taken.beat()
        taken.require()


def test_a_lease_of_a_run_that_was_killed_in_this_folder_is_taken_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease.time, "sleep", lambda seconds: pytest.fail("waited"))
    there = Store(URL)
    with hold_lease(there, tmp_path / "a"), hold_lease(there, tmp_path / "a") as held:
        held.require()
