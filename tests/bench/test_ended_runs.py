"""A real `bench run` that is ended in every way there is: nothing lives on, and running it again loses nothing.

What it prints may be lost with whoever reads it, and with its terminal: what it does is not.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from admbench.bench.run.grid import GridSpec
from admbench.bench.run.layout import RunLayout
from admbench.bench.run.lock import is_held
from admbench.errors import DataError
from admbench.files import read_json

GONE_SECONDS = 2.0
ENDED_SECONDS = 200
"""After which a run is taken to hang."""
METHODS = "fp32,hangs"


@pytest.fixture
def command(make_grid: Callable[..., GridSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A run whose second cell waits in its quantization until a file is there."""
    monkeypatch.setenv("FAKE_ADM_GO_ON", str(tmp_path / "go-on"))
    grid = make_grid()
    own = ["--models", "fake-adm", "--methods", METHODS, "--steps", "2", "--suite", str(grid.suite), "--metrics", "fd"]
    judges = ["--tagger", "band-tagger", "--clap", "band-clap", "--workers", "1", "--quiet"]
    return [sys.executable, "-P", "-m", "admbench", "run", *own, *judges, "--out"]


@contextmanager
def started(command: list[str], run: Path, **options: Any) -> Iterator[tuple[psutil.Popen, psutil.Process]]:
    """Start a run; yield it and the process that waits in its quantization."""
    began = time.time()
    usual = {"stderr": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "preexec_fn": _as_in_the_foreground}
    process = psutil.Popen([*command, str(run)], **usual | options)
    try:
        yield process, _waiting(process, run, began)
    finally:
        with suppress(psutil.NoSuchProcess):
            process.kill()
        process.wait()


def _as_in_the_foreground() -> None:
    """Heed what tests that were started in the background, or by nohup, are told to ignore."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def _waiting(process: psutil.Popen, run: Path, began: float) -> psutil.Process:
    """Return the process that waits; what an earlier run left in the folder is older than `began`."""
    deadline = time.monotonic() + ENDED_SECONDS
    while True:
        assert process.poll() is None
        assert time.monotonic() < deadline
        jobs = []
        for path in run.glob("work/*/stage.txt"):
            with suppress(OSError, DataError):  # removed between two looks: its job has ended
                if path.stat().st_mtime > began and path.read_text() == "quantize":
                    jobs.append(read_json(path.with_name("job.json")))
        leaves: list[psutil.Process] = []
        for one in process.children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # those that look at plug-ins come and go
                leaves += [] if one.children() else [one]
        if leaves and any(job["kind"] == "quantize" for job in jobs):
            return max(leaves, key=lambda one: one.create_time())
        time.sleep(0.02)


def _without_times(run: Path) -> list[Any]:
    records = [read_json(path) for path in RunLayout(run).records()]
    for record in records:
        for key in ("environment", "latency", "memory", "provenance"):
            del record[key]
        del record["method"]["seconds"]
    return records


def _none_lives(all_of_it: list[psutil.Process], run: Path) -> None:
    """What a run consisted of has gone, and with it its lock."""
    _, alive = psutil.wait_procs(all_of_it, timeout=GONE_SECONDS)
    assert [one for one in alive if one.status() != psutil.STATUS_ZOMBIE] == []
    assert not is_held(run)


@pytest.mark.slow(360)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_whatever_ends_a_run_leaves_no_process(command: list[str], tmp_path: Path, number: int, code: int) -> None:
    """SIGKILL and SIGHUP, of a terminal that is closed, in the tests below."""
    run = tmp_path / "ended"
    with started(command, run) as (process, _):
        all_of_it = process.children(recursive=True)
        process.send_signal(number)
        assert process.wait(timeout=GONE_SECONDS + 10) == code
        _none_lives(all_of_it, run)


@pytest.mark.slow
def test_a_run_that_was_killed_and_whose_server_was_killed_ends_as_an_undisturbed_one(
    command: list[str], tmp_path: Path
) -> None:
    run, go_on = tmp_path / "ended", tmp_path / "go-on"
    with started(command, run) as (process, _):
        all_of_it = process.children(recursive=True)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        _none_lives(all_of_it, run)
    with started(command, run) as (process, child):
        child.parent().parent().kill()  # the server: what it did is done again, by another
        go_on.touch()
        assert process.wait(timeout=ENDED_SECONDS) == 0
    undisturbed = tmp_path / "undisturbed"
    assert (
        subprocess.run([*command, str(undisturbed)], timeout=ENDED_SECONDS, stdout=subprocess.DEVNULL).returncode == 0
    )
    assert len(_without_times(run)) == 2
    assert _without_times(run) == _without_times(undisturbed)


@pytest.mark.slow
def test_a_child_that_is_killed_costs_its_cell_alone(command: list[str], tmp_path: Path) -> None:
    run = tmp_path / "ended"
    with started(command, run) as (process, child):
        os.kill(child.pid, signal.SIGKILL)
        assert process.wait(timeout=ENDED_SECONDS) == 1
    by_method = {record["method"]["spec"]: record for record in map(read_json, RunLayout(run).records())}
    assert by_method["fp32"]["status"] == "done"
    assert by_method["hangs"]["status"] == "failed"
    assert by_method["hangs"]["reason"].startswith("killed by SIGKILL in stage quantize")


def _statuses(run: Path) -> dict[str, str]:
    return {record["method"]["spec"]: record["status"] for record in map(read_json, RunLayout(run).records())}


@contextmanager
def _terminal() -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Yield a terminal, and the process that shows it: the terminal is closed when that is killed."""
    shown, terminal = os.openpty()
    shows = subprocess.Popen(["cat"], stdin=shown, stdout=subprocess.DEVNULL)
    os.close(shown)
    try:
        yield terminal, shows
    finally:
        os.close(terminal)
        shows.kill()
        shows.wait()


@pytest.mark.slow
@pytest.mark.parametrize("ignored", [False, True], ids=["heeds", "ignores"])
def test_a_run_whose_terminal_is_closed_ends_as_by_sighup_and_goes_on_where_that_is_ignored(
    command: list[str], tmp_path: Path, ignored: bool
) -> None:
    run, command = tmp_path / "ended", [one for one in command if one != "--quiet"]

    def in_the_terminal() -> None:
        _as_in_the_foreground()
        if ignored:  # as nohup and disown leave it
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    with _terminal() as (terminal, shows):
        options = {"stdin": terminal, "stdout": terminal, "stderr": terminal, "preexec_fn": in_the_terminal}
        with started(command, run, **options) as (process, _):
            all_of_it = process.children(recursive=True)
            shows.kill()
            shows.wait()
            if ignored:
                (tmp_path / "go-on").touch()
            assert process.wait(timeout=ENDED_SECONDS) == (0 if ignored else 129)
            _none_lives(all_of_it, run)
    if not ignored:
        assert _statuses(run) == {"fp32": "done"}
        (tmp_path / "go-on").touch()
        again = subprocess.run([*command, str(run)], capture_output=True, text=True, timeout=ENDED_SECONDS)
        assert (again.returncode, again.stdout.splitlines()[0]) == (0, "2 cells, 1 of them already done")
    assert _statuses(run) == {"fp32": "done", "hangs": "done"}


@pytest.mark.slow
@pytest.mark.parametrize("closed", [False, True], ids=["nobody-reads", "closed"])
def test_a_run_whose_output_nobody_reads_does_all_of_its_work(command: list[str], tmp_path: Path, closed: bool) -> None:
    run, command = tmp_path / "run", [one for one in command if one != "--quiet"]
    (tmp_path / "go-on").touch()
    read, write = os.pipe()
    os.close(read)
    try:
        close = (lambda: os.close(1)) if closed else None
        ended = subprocess.run(
            [*command, str(run)], stdout=write, stderr=subprocess.PIPE, timeout=ENDED_SECONDS, preexec_fn=close
        )
    finally:
        os.close(write)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert _statuses(run) == {"fp32": "done", "hangs": "done"}
    assert (RunLayout(run).site / "index.html").is_file()
