"""What every executor keeps to, wherever it carries out the jobs: each test runs on all of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from admbench.bench.run.executors.base import Executor, Outcome, Task
from admbench.bench.run.executors.local import LocalExecutor
from admbench.bench.run.executors.remote import RemoteExecutor
from admbench.bench.run.grid import GenerationSpec, SlurmSpec
from admbench.bench.run.jobs import CellJob, Job
from admbench.bench.run.made_by import MadeBy
from admbench.bench.scoring.spec import JudgeSpec

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

    return RemoteExecutor(Slurm(SlurmSpec(), run, "local"), run, workers, timeout, ATTEMPTS, program=program, **options)


def ray(run: Path, workers: int, timeout: float, program: str, **options: Any) -> Executor:
    pytest.importorskip("ray")
    from admbench.bench.run.executors.ray_cluster import RayCluster

    return RemoteExecutor(RayCluster(os.environ["RAY_ADDRESS"]), run, workers, timeout, ATTEMPTS, program=program)


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
    (outcome,) = carry_out(make(timeout=2.0), task("leaves-a-daemon-and-hangs")).values()
    assert outcome.reason == "timed out after 2 s in stage generate"
    assert not psutil.pid_exists(int((outcome.job.work.path / "child.txt").read_text()))


def test_closing_ends_what_runs(make: MakeExecutor, task: Callable[..., Task]) -> None:
    with closing(make().run([task("hangs"), task("works")], ignore)) as outcomes:
        assert next(outcomes).job.key == "key-of-works"
        child = psutil.Process(_number(task("hangs").job.work.path / "child.txt"))
    child.wait(10) if child.is_running() else None
    assert not child.is_running()


def _number(path: Path) -> int:
    while not (path.exists() and path.read_text()):
        pass
    return int(path.read_text())
