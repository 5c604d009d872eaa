"""What every executor keeps to, wherever it carries out the jobs: each test runs on all of them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from admbench.bench.run.executors.base import Executor, Outcome, Task
from admbench.bench.run.executors.local import LocalExecutor
from admbench.bench.run.executors.remote import PROGRAM, RemoteExecutor
from admbench.bench.run.grid import GenerationSpec, GridSpec, SlurmSpec
from admbench.bench.run.jobs import CellJob, Job
from admbench.bench.run.layout import RunLayout
from admbench.bench.run.made_by import MadeBy
from admbench.bench.run.runner import run_grid
from admbench.bench.scoring.spec import JudgeSpec

from .in_process import JUDGES
from .settled import settled

MakeExecutor = Callable[..., Executor]
ATTEMPTS = 2


@pytest.fixture
def plugin_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let children, here and on nodes that are started after this, find the programs of the tests."""
    own = str(Path(__file__).parent / "plugins")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [own, os.environ.get("PYTHONPATH")])))


def local(run: Path, workers: int, timeout: float, program: str, **options: Any) -> Executor:
    return LocalExecutor(workers, timeout, program)


def slurm(run: Path, workers: int, timeout: float, program: str, **options: Any) -> Executor:
    """Processes of this machine stand in for Slurm: submitit's own way to be tested."""
    pytest.importorskip("submitit")
    from admbench.bench.run.executors.slurm import Slurm

    return RemoteExecutor(Slurm(SlurmSpec(), run, "local"), workers, timeout, ATTEMPTS, program=program, **options)


def ray(run: Path, workers: int, timeout: float, program: str, **options: Any) -> Executor:
    pytest.importorskip("ray")
    from admbench.bench.run.executors.ray_cluster import RayCluster

    return RemoteExecutor(RayCluster(os.environ["RAY_ADDRESS"]), workers, timeout, ATTEMPTS, program=program, **options)


@pytest.fixture
def two_nodes(plugin_path: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A Ray cluster of two nodes on loopback, each with one core to give; gone at the end, whatever happens."""
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    head = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 80_000_000}
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args=head)
    try:
        cluster.add_node(num_cpus=1, object_store_memory=80_000_000)
        monkeypatch.setenv("RAY_ADDRESS", cluster.address)
        yield cluster
    finally:
        cluster.shutdown()


@pytest.fixture(
    params=["local", pytest.param("slurm", marks=pytest.mark.slow), pytest.param("ray", marks=pytest.mark.slow)]
)
def make(request: pytest.FixtureRequest, plugin_path: None, tmp_path: Path) -> MakeExecutor:
    """Make an executor of each kind: `make(workers, timeout, program)`."""
    if request.param == "ray":
        request.getfixturevalue("two_nodes")
    kind = {"local": local, "slurm": slurm, "ray": ray}[request.param]

    def made(workers: int = 2, timeout: float = 60.0, program: str = "fake_program", **options: Any) -> Executor:
        return kind(tmp_path, workers, timeout, program, **options)

    return made


@pytest.fixture
def task(tmp_path: Path) -> Callable[..., Task]:
    def make_task(method: str, after: tuple[str, ...] = ()) -> Task:
        job = CellJob(
            key=f"key-of-{method}",
            run=tmp_path,
            seed=0,
            device="cpu",
            threads=1,
            made_by=MadeBy(),
            suite="s",
            suite_name="s",
            limit=None,
            generation=GenerationSpec(),
            judges=JudgeSpec(),
            extractors=(),
            model="m",
            model_sha256="f" * 64,
            method=method,
            metrics=("fd",),
            checkpoint=f"checkpoint-of-{method}",
            command="bench run",
        )
        return Task(job, after)

    return make_task


def ignore(job: Job, stage: str) -> None:
    pass


def carry_out(executor: Executor, *tasks: Task, on_stage: Callable[[Job, str], None] = ignore) -> dict[str, Outcome]:
    return {outcome.job.key.removeprefix("key-of-"): outcome for outcome in executor.run(tasks, on_stage)}


def test_each_job_ends_with_its_own_reason_and_what_waits_for_it_with_that(
    make: MakeExecutor, task: Callable[..., Task]
) -> None:
    stages: list[tuple[str, str]] = []
    ended = carry_out(
        make(),
        *map(task, ("raises", "killed", "crashes", "works")),
        task("later", ("key-of-works",)),
        task("never", ("key-of-crashes",)),
        on_stage=lambda job, stage: stages.append((job.name, stage)),
    )
    reasons = {name: outcome.reason for name, outcome in ended.items()}
    killed = str(reasons.pop("killed"))
    assert killed.startswith("killed by SIGKILL in stage generate (probably out of memory; peak resident memory 0.")
    assert reasons == {
        "raises": "RuntimeError: the scale is not finite",
        "crashes": "exit code 3 in stage generate: last words",
        "works": None,
        "later": None,
        "never": "m crashes failed: exit code 3 in stage generate: last words",
    }
    assert list(ended).index("later") > list(ended).index("works")
    assert ended["never"].seconds == 0
    assert ended["works"].seconds > 0
    assert ("m killed", "generate") in stages


def test_a_job_past_its_timeout_ends_with_what_it_started(make: MakeExecutor, task: Callable[..., Task]) -> None:
    (outcome,) = carry_out(make(timeout=2.0), task("spawns")).values()
    assert outcome.reason == "timed out after 2 s in stage generate"
    assert not psutil.pid_exists(int((outcome.job.work.path / "child.txt").read_text()))


def test_closing_ends_what_runs(make: MakeExecutor, task: Callable[..., Task]) -> None:
    with closing(make().run([task("hangs"), task("works")], ignore)) as outcomes:
        assert next(outcomes).job.key == "key-of-works"
        child = psutil.Process(_number(task("hangs").job.work.path / "child.txt"))
    child.wait(10) if child.is_running() else None
    assert not child.is_running()


@pytest.fixture(params=["slurm", "ray"])
def make_remote(
    request: pytest.FixtureRequest, plugin_path: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> MakeExecutor:
    """Make an executor that can lose a node: `make_remote(workers, timeout, program)`."""
    if request.param == "ray":
        request.getfixturevalue("two_nodes")
    else:
        slurm_module = pytest.importorskip("admbench.bench.run.executors.slurm")
        monkeypatch.setattr(slurm_module, "SETTLING_SECONDS", 0.5)  # this file system caches nothing
    kind = {"slurm": slurm, "ray": ray}[request.param]
    return lambda **options: kind(tmp_path, **{"workers": 2, "timeout": 60.0, "program": "fake_program"} | options)


@pytest.mark.slow
@pytest.mark.attack("node of a cluster that is lost")
def test_a_lost_job_is_tried_again_but_not_for_ever(make_remote: MakeExecutor, task: Callable[..., Task]) -> None:
    ended = carry_out(make_remote(), *map(task, ("once-fells-its-node", "fells-its-node", "works")))
    assert ended["once-fells-its-node"].reason is None
    assert ended["works"].reason is None
    lost = ended["fells-its-node"]
    assert str(lost.reason).startswith("lost 2 times, at last as "), lost.reason
    assert (lost.job.work.path / "felled.txt").read_text() == "x" * ATTEMPTS


@pytest.mark.slow
@pytest.mark.attack("node of a cluster that is lost")
def test_a_preempted_slurm_job_is_put_back_and_goes_on_with_what_it_had_not_done(
    task: Callable[..., Task], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plugin_path: None
) -> None:
    word = tmp_path / "go-on"
    monkeypatch.setenv("FAKE_ADM_GO_ON", str(word))
    backend = pytest.importorskip("admbench.bench.run.executors.slurm").Slurm(SlurmSpec(), tmp_path, "local")
    executor = RemoteExecutor(backend, 1, 60.0, ATTEMPTS, 2, "fake_program")
    stages: list[str] = []

    def preempt_the_second(job: Job, stage: str) -> None:
        stages.append(job.key)
        if stages.count("key-of-then-waits") == 1:
            for one in backend._submitted.values():
                one.job._interrupt()  # submitit's own: the signal that Slurm sends before it preempts
        elif stages.count("key-of-then-waits") == 2:
            word.touch()

    ended = carry_out(executor, task("draws"), task("then-waits"), on_stage=preempt_the_second)
    assert {name: outcome.reason for name, outcome in ended.items()} == {"draws": None, "then-waits": None}
    assert len((ended["draws"].job.work.log).read_text().splitlines()) == 2, "once: its numbers, and that it is done"
    assert len((ended["then-waits"].job.work.path / "tried.txt").read_text().splitlines()) == 2


@pytest.mark.slow
@pytest.mark.attack("node of a cluster that is lost")
def test_what_ran_on_a_ray_node_that_is_killed_is_done_on_another(
    task: Callable[..., Task], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    word = tmp_path / "go-on"
    monkeypatch.setenv("FAKE_ADM_GO_ON", str(word))
    cluster = request.getfixturevalue("two_nodes")
    tasks = [task("first-waits"), task("second-waits")]
    at_work: set[str] = set()

    def tried(one: Task) -> list[int]:
        return [int(line) for line in (one.job.work.path / "tried.txt").read_text().splitlines()]

    def kill_a_node_when_both_are_at_work(job: Job, stage: str) -> None:
        at_work.add(job.key)
        if len(at_work) == 2 and not word.exists():
            (other,) = cluster.worker_nodes
            cluster.remove_node(other, allow_graceful=False)
            _wait_for(lambda: not all(psutil.pid_exists(tried(one)[0]) for one in tasks))
            word.touch()

    ended = carry_out(ray(tmp_path, 2, 60.0, "fake_program"), *tasks, on_stage=kill_a_node_when_both_are_at_work)
    assert [outcome.reason for outcome in ended.values()] == [None, None]
    assert sorted(len(tried(one)) for one in tasks) == [1, 2]


def _number(path: Path) -> int:
    """Read a number as soon as it is there."""
    _wait_for(lambda: path.exists() and bool(path.read_text()))
    return int(path.read_text())


def _wait_for(happens: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.usefixtures("check_specs_here")
@pytest.mark.parametrize("kind", ["slurm", "ray"])
def test_a_run_on_a_cluster_comes_to_the_records_of_one_on_this_machine(
    kind: str, make_grid: Callable[..., GridSpec], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    methods = ["fp32", "naive@w4a8[prompts=2,timesteps=2,steps=2]", "raises"]
    options = {"methods": methods, "limit": 2, "metrics__names": ["clap"], "execution__cpus": 1}
    here = make_grid(out=tmp_path / "here", **options)
    there = make_grid(out=tmp_path / "there", **options)
    expected = [result.reason for result in run_grid(here, command="bench run", judges=JUDGES)]
    if kind == "ray":
        request.getfixturevalue("two_nodes")
    make_kind = {"slurm": slurm, "ray": ray}[kind]
    executor = make_kind(there.out, 2, 120.0, PROGRAM, cells_per_batch=3)
    results = run_grid(there, command="bench run", judges=JUDGES, executor=executor)
    assert [result.reason is None for result in results] == [True, True, False]
    assert [result.reason for result in results] == expected
    assert settled(there) == settled(here)
    assert not RunLayout(there.out).batches.exists()
