"""Jobs in child processes: none takes another one down, and each says in one line how it ended."""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from admbench.bench.run.executors import local
from admbench.bench.run.executors.base import Outcome, Resources, Task
from admbench.bench.run.executors.local import LocalExecutor, Servers
from admbench.bench.run.executors.room import Room
from admbench.bench.run.grid import GenerationSpec
from admbench.bench.run.jobs import CellJob, Job
from admbench.bench.run.lock import hold
from admbench.bench.run.made_by import MadeBy
from admbench.bench.scoring.spec import JudgeSpec
from admbench.errors import UsageError

MakeTask = Callable[..., Task]


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeTask:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "plugins"))

    def make(method: str, after: tuple[str, ...] = ()) -> Task:
        shared = {"limit": None, "seed": 0, "generation": GenerationSpec(), "judges": JudgeSpec(), "device": "cpu"}
        shared["checkpoint"] = f"checkpoint-of-{method}"
        shared["extractors"] = ()
        job = CellJob(
            key=f"key-of-{method}",
            run=tmp_path,
            suite="s",
            suite_name="s",
            threads=3,
            made_by=MadeBy(),
            model="m",
            model_sha256="f" * 64,
            method=method,
            metrics=("fd",),
            command="bench run",
            **shared,
        )
        return Task(job, after)

    return make


def carry_out(
    *tasks: Task,
    workers: int = 2,
    timeout: float = 60.0,
    on_stage: Callable[[Job, str], None] = lambda job, stage: None,
) -> dict[str, Outcome]:
    executor = LocalExecutor(workers, timeout, program="fake_program")
    return {outcome.job.key.removeprefix("key-of-"): outcome for outcome in executor.run(tasks, on_stage)}


@pytest.mark.attack("job that fails, hangs, kills or is killed")
def test_every_way_to_fail_has_its_reason_and_the_others_go_on(task: MakeTask) -> None:
    names = ("raises", "killed", "crashes", "fills", "works")
    ended = carry_out(*map(task, names))
    assert set(ended) == set(names)
    assert ended["works"].reason is None
    assert ended["raises"].reason == "RuntimeError: the scale is not finite"
    assert ended["crashes"].reason == "exit code 3 in stage generate: last words"
    assert ended["fills"].reason == "exit code 74 in stage generate: no message"
    killed = str(ended["killed"].reason)
    assert killed.startswith("killed by SIGKILL in stage generate (probably out of memory; peak resident memory 0.0")
    assert ended["works"].job.work.log.read_text().splitlines() == ["done 3"], "its share of the cores"


@pytest.mark.attack("job that prints or wants more than there is room for")
def test_a_job_that_prints_megabytes_goes_on_or_fails_alone_with_a_short_reason(task: MakeTask) -> None:
    ended = carry_out(*map(task, ("chatters", "chatters-and-crashes", "works")))
    assert (ended["chatters"].reason, ended["works"].reason) == (None, None)
    assert ended["chatters"].job.work.log.read_text().endswith("x\ndone 3\n"), "what it says later is there"
    reason = str(ended["chatters-and-crashes"].reason)
    assert reason.startswith("exit code 3 in stage generate: xxx")
    assert len(reason) < 2100


@pytest.mark.attack("job that prints or wants more than there is room for")
def test_under_a_limit_of_address_space_a_job_that_cannot_allocate_fails_alone(
    task: MakeTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = 1 << 36
    monkeypatch.setenv("FAKE_ALLOCATED", str(2 * limit))
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))  # which its children have too
    try:
        ended = carry_out(*map(task, ("allocates", "works")), workers=1)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    assert ended["allocates"].reason == "exit code 1 in stage generate: MemoryError"
    assert ended["works"].reason is None


@pytest.mark.attack("job that fails, hangs, kills or is killed")
def test_a_job_past_its_timeout_is_killed_with_its_own_children(task: MakeTask) -> None:
    ended = carry_out(task("spawns"), timeout=2.0)
    assert ended["spawns"].reason == "timed out after 2 s in stage generate"
    group = int((ended["spawns"].job.work.path / "child.txt").read_text())
    assert _left_alive(group) == []


def test_a_task_waits_for_what_it_needs_and_fails_with_it(task: MakeTask) -> None:
    first = task("works")
    order = list(LocalExecutor(2, 60.0, "fake_program").run([first, task("later", after=("key-of-works",))], _ignore))
    assert [outcome.job.key for outcome in order] == ["key-of-works", "key-of-later"]
    ended = carry_out(task("crashes"), task("later", after=("key-of-crashes",)))
    assert ended["later"].reason == "m crashes failed: exit code 3 in stage generate: last words"
    assert ended["later"].seconds == 0


def test_stages_are_reported_while_a_job_runs(task: MakeTask) -> None:
    seen: list[tuple[str, str]] = []
    carry_out(task("killed"), on_stage=lambda job, stage: seen.append((job.name, stage)))
    assert ("m killed", "generate") in seen


def test_closing_the_iterator_stops_what_runs(task: MakeTask) -> None:
    outcomes = LocalExecutor(2, 60.0, "fake_program").run([task("spawns"), task("works")], _ignore)
    assert next(iter(outcomes)).job.key == "key-of-works"
    group = _read_number(task("spawns").job.work.path / "child.txt")
    outcomes.close()
    assert _left_alive(group) == []


def test_a_job_folder_that_cannot_be_made_fails_that_job(task: MakeTask, tmp_path: Path) -> None:
    (tmp_path / "work").write_text("in the way")
    ended = carry_out(task("works"))
    assert "cannot be started" in str(ended["works"].reason)


@pytest.mark.attack("job that fails, hangs, kills or is killed")
def test_a_job_whose_server_died_is_done_by_another(task: MakeTask) -> None:
    ended = carry_out(task("fells-its-server-once"), task("works"), workers=1)
    assert {name: outcome.reason for name, outcome in ended.items()} == {"fells-its-server-once": None, "works": None}


@pytest.mark.attack("job that fails, hangs, kills or is killed")
def test_a_job_that_fells_every_server_fails_alone(task: MakeTask) -> None:
    ended = carry_out(task("fells-its-server"), task("works"), workers=1)
    assert ended["fells-its-server"].reason == "its process could not be started or was lost: exit code -9"
    assert (ended["fells-its-server"].job.work.path / "felled.txt").read_text() == "xx", "tried twice"
    assert ended["works"].reason is None


@pytest.mark.attack("job that fails, hangs, kills or is killed")
def test_a_job_that_fells_its_guard_goes_with_it(task: MakeTask) -> None:
    ended = carry_out(task("fells-its-guard"), task("works"), workers=1)
    assert str(ended["fells-its-guard"].reason).startswith("killed by SIGKILL in stage generate")
    assert ended["works"].reason is None


@pytest.mark.attack("job that fails, hangs, kills or is killed")
def test_what_a_job_started_ends_with_it_wherever_it_went(task: MakeTask) -> None:
    (outcome,) = LocalExecutor(1, 60.0, "fake_program").run([task("leaves-a-daemon")], _ignore)
    assert outcome.reason is None
    assert not psutil.pid_exists(int((outcome.job.work.path / "child.txt").read_text()))


def test_a_job_sees_its_own_device_alone_and_others_wait_for_it(task: MakeTask) -> None:
    tasks = [replace(task(name), resources=Resources(1, 1)) for name in ("killed", "says-its-device")]
    stages: list[str] = []
    executor = LocalExecutor(2, 60.0, "fake_program", room=Room(["5"]))
    for outcome in executor.run(tasks, lambda job, stage: stages.append(job.key)):
        if outcome.job.key == "key-of-killed":
            assert set(stages) == {"key-of-killed"}, "the other has not begun"
    assert outcome.job.work.log.read_text().splitlines()[0] == "5"


def test_a_program_that_cannot_be_imported_is_named(task: MakeTask) -> None:
    (outcome,) = LocalExecutor(1, 60.0, "no_such_program").run([task("works")], _ignore)
    assert outcome.reason == (
        "its process could not be started or was lost: ModuleNotFoundError: No module named 'no_such_program'"
    )


@pytest.mark.attack("job that fails, hangs, kills or is killed")
def test_children_end_when_the_run_is_killed_and_hold_its_lock_until_then(
    task: MakeTask, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    program = (
        "import sys, pathlib\n"
        "from admbench.bench.run.executors.base import Task\n"
        "from admbench.bench.run.executors.local import LocalExecutor\n"
        "from admbench.bench.run.jobs import job_from_json\n"
        "from admbench.bench.run.lock import hold\n"
        "job = job_from_json(sys.argv[1])\n"
        "with hold(job.run) as lock:\n"
        "    executor = LocalExecutor(1, 600.0, 'fake_program', held=[lock.file.fileno()])\n"
        "    list(executor.run([Task(job)], lambda job, stage: None))\n"
    )
    job = task("spawns").job
    run = subprocess.Popen([sys.executable, "-c", program, job.model_dump_json()])
    request.addfinalizer(run.kill)
    group = _read_number(job.work.path / "child.txt")
    child = psutil.Process(group)
    server = psutil.Process(child.ppid()).ppid()
    os.kill(server, signal.SIGSTOP)  # so that it cannot end them before somebody looks
    run.kill()
    run.wait()
    with pytest.raises(UsageError, match="another bench run is at work there"), hold(tmp_path):
        pass
    os.kill(server, signal.SIGCONT)
    assert _left_alive(group) == []
    _wait_for(lambda: not psutil.pid_exists(server))
    with hold(tmp_path):
        pass


@pytest.mark.attack("job that fails, hangs, kills or is killed")
def test_a_thread_that_a_job_leaves_behind_does_not_keep_its_process(task: MakeTask) -> None:
    assert carry_out(task("leaves-a-thread"), timeout=20.0)["leaves-a-thread"].reason is None


@pytest.mark.attack("job that fails, hangs, kills or is killed")
def test_a_killed_job_is_reaped_where_no_other_process_would(task: MakeTask, tmp_path: Path) -> None:
    """In a container whose first process reaps nothing, the group of a zombie would be there for ever."""
    _adopt_orphans(True)
    try:
        for _ in range(5):
            outcomes = LocalExecutor(2, 60.0, "fake_program").run([task("hangs"), task("works")], _ignore)
            assert next(iter(outcomes)).job.key == "key-of-works"
            group = _read_number(task("hangs").job.work.path / "child.txt")
            outcomes.close()
            with pytest.raises(ProcessLookupError):
                os.killpg(group, 0)
            shutil.rmtree(tmp_path / "work")
    finally:
        _adopt_orphans(False)


def test_children_share_imports_and_not_random_numbers(task: MakeTask) -> None:
    """Of a forked process the generators would go on where the server's stood, the same in each."""
    ended = carry_out(task("draws"), task("draws-too"))
    (first, shared, server), (second, _, other) = (one.job.work.log.read_text().split()[:3] for one in ended.values())
    assert first != second
    assert (shared, server) == ("True", other), "one process imported for both"


def test_one_guard_after_another_job_guards_the_next_and_one_that_was_killed_is_replaced(task: MakeTask) -> None:
    names = ("draws", "draws-again", "fells-its-guard", "draws-then", "draws-at-last")
    ended = carry_out(*map(task, names), workers=1)
    assert str(ended.pop("fells-its-guard").reason).startswith("killed by SIGKILL")
    first, again, then, last = (int(one.job.work.log.read_text().split()[3]) for one in ended.values())
    assert first == again != then == last


def test_where_many_jobs_are_to_come_a_server_prepares_and_its_guards_are_new(
    task: MakeTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers = Servers("fake_program")
    try:
        ended = list(LocalExecutor(1, 60.0, "fake_program", servers=servers).run([task("draws")], _ignore))
        monkeypatch.setattr(local, "MANY_JOBS", 2)
        many = [task("draws-again"), task("draws-then")]
        ended += LocalExecutor(1, 60.0, "fake_program", servers=servers).run(many, _ignore)
    finally:
        servers.close()
    assert [outcome.reason for outcome in ended] == [None] * 3
    said = [outcome.job.work.log.read_text().split() for outcome in ended]
    server, guard = {words[2] for words in said}, [words[3] for words in said]
    assert (len(server), guard[0] != guard[1], guard[1] == guard[2]) == (1, True, True)


def _ignore(job: Job, stage: str) -> None:
    pass


def _adopt_orphans(adopt: bool) -> None:
    """Let orphans of this process's descendants become its children, which it never waits for (`man 2 prctl`)."""
    set_child_subreaper = 36
    assert ctypes.CDLL(None, use_errno=True).prctl(set_child_subreaper, int(adopt), 0, 0, 0) == 0


def _wait_for(happens: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _read_number(path: Path) -> int:
    """Read a number as soon as it is there."""
    _wait_for(lambda: path.exists() and bool(path.read_text()))
    return int(path.read_text())


def _left_alive(group: int) -> list[int]:
    """Processes of a group that are there ten seconds on: a killed one takes a moment to go on a busy machine."""
    deadline = time.monotonic() + 10
    while (found := _alive(group)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def _alive(group: int) -> list[int]:
    """Processes of a process group that are neither gone nor waiting to be."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found
