"""What every executor keeps to, wherever it carries out the jobs: each test runs on all of them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from admbench.bench.run.executors.base import PROGRAM, Executor, Outcome, Resources, Task
from admbench.bench.run.executors.batches import Batch, make_batch
from admbench.bench.run.executors.local import LocalExecutor
from admbench.bench.run.executors.remote import RemoteExecutor
from admbench.bench.run.grid import GenerationSpec, GridSpec, SlurmSpec
from admbench.bench.run.jobs import CellJob, Job, PartJob
from admbench.bench.run.layout import RunLayout
from admbench.bench.run.made_by import MadeBy
from admbench.bench.run.plan import make_plan
from admbench.bench.run.runner import run_grid
from admbench.bench.scoring.spec import JudgeSpec

from .clusters import SlurmCluster, ray_cluster, slurm_cluster, wait_for
from .in_process import JUDGES
from .settled import settled

MakeExecutor = Callable[..., Executor]
ATTEMPTS = 2
GO_ON = "go-on"
"""File of the run that jobs wait for which are called so."""


@pytest.fixture(scope="module", autouse=True)
def programs_are_found(plugin_folder: Path) -> Iterator[None]:
    """Let children, here and on nodes that are started after this, find the programs and plug-ins of the tests."""
    own = [str(Path(__file__).parent / "plugins"), str(plugin_folder)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [*own, os.environ.get("PYTHONPATH")])))
        yield


@pytest.fixture(scope="module")
def ray_nodes(programs_are_found: None) -> Iterator[Any]:
    with ray_cluster() as cluster, pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ADDRESS", cluster.address)
        yield cluster


@pytest.fixture(scope="module")
def slurm_nodes(programs_are_found: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    with slurm_cluster(tmp_path_factory.mktemp("slurm")) as cluster, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(cluster.configuration))
        yield cluster


def local(run: Path, workers: int, timeout: float, program: str, **options: Any) -> Executor:
    return LocalExecutor(workers, timeout, program)


def slurm(run: Path, workers: int, timeout: float, program: str, *, cluster: str, **options: Any) -> Executor:
    """Of the cluster `local`, processes of this machine stand in for Slurm: submitit's own way to be tested."""
    backend = slurm_module().Slurm(SlurmSpec(), run, cluster)
    return RemoteExecutor(backend, workers, timeout, ATTEMPTS, program=program, **options)


def slurm_module() -> Any:
    pytest.importorskip("submitit", reason="submitit is not installed: pip install 'admbench[slurm]'")
    from admbench.bench.run.executors import slurm

    return slurm


def ray(run: Path, workers: int, timeout: float, program: str, **options: Any) -> Executor:
    from admbench.bench.run.executors.ray_cluster import RayCluster

    return RemoteExecutor(RayCluster(os.environ["RAY_ADDRESS"]), workers, timeout, ATTEMPTS, program=program, **options)


def started(kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Executor]:
    """Start what an executor needs, and return what makes one."""
    if kind == "local":
        return local
    if kind == "ray":
        request.getfixturevalue("ray_nodes")
        return ray
    monkeypatch.setattr(slurm_module(), "SETTLING_SECONDS", 0.5)  # this file system caches nothing
    if kind == "slurm":
        request.getfixturevalue("slurm_nodes")
        monkeypatch.setattr(slurm_module(), "ASK_SECONDS", 0.5)
    return partial(slurm, cluster="slurm" if kind == "slurm" else "local")


def on(*kinds: str) -> pytest.MarkDecorator:
    """Run a test on executors of these kinds; those that start a cluster, or several processes a job, are slow."""
    params = [kind if kind == "local" else pytest.param(kind, marks=pytest.mark.slow) for kind in kinds]
    return pytest.mark.parametrize("make", params, indirect=True)


def on_each() -> pytest.MarkDecorator:
    """Slurm's stand-in only where there is no Slurm: it is half as much work for less of an answer."""
    return on("local", "ray", "slurm" if shutil.which("slurmctld") else "stand-in")


def test_what_is_asked_for_from_slurm_is_what_the_grid_says_and_its_own_default_else(tmp_path: Path) -> None:
    asked = {"partition": "p", "account": "a", "qos": "q", "constraint": "c", "gres": "gpu:h100:1"}
    needs = {"cpus": 3, "gpus": 1, "memory_bytes": 2 * 2**30}
    batch = Batch(id="one", folder=str(tmp_path), tasks=(), timeout=1.0, program=PROGRAM, **needs)
    plain = slurm_module().Slurm(SlurmSpec(), tmp_path, "local")._parameters(batch)
    assert not [name for name in plain if name.startswith("slurm_")], "what is left out is the cluster's own default"
    assert (plain["timeout_min"], plain["cpus_per_task"], plain["gpus_per_node"], plain["mem_gb"]) == (240, 3, 1, 3)
    unknown = batch.model_copy(update={"memory_bytes": None})
    assert "mem_gb" not in slurm_module().Slurm(SlurmSpec(), tmp_path, "local")._parameters(unknown)
    said = slurm_module().Slurm(SlurmSpec(**asked, memory_gb=16, minutes=9), tmp_path, "local")._parameters(batch)
    assert {name: said[f"slurm_{name}"] for name in asked} == asked
    assert (said["timeout_min"], said["mem_gb"]) == (9, 16)
    assert "gpus_per_node" not in said, "gres in its place"


@pytest.fixture
def make(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeExecutor:
    """Make an executor of the kind that a test is for: `make(workers, timeout, program)`."""
    kind = started(request.param, request, monkeypatch)

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


@on_each()
def test_each_job_ends_with_its_own_reason_and_what_waits_for_it_with_that(
    make: MakeExecutor, task: Callable[..., Task]
) -> None:
    stages: list[tuple[str, str]] = []
    ended = carry_out(
        make(timeout=2.5, cells_per_batch=3),
        *map(task, ("spawns", "raises", "killed", "crashes", "works")),
        task("later", ("key-of-works",)),
        task("never", ("key-of-crashes",)),
        on_stage=lambda job, stage: stages.append((job.name, stage)),
    )
    reasons = {name: outcome.reason for name, outcome in ended.items()}
    killed = str(reasons.pop("killed"))
    assert killed.startswith("killed by SIGKILL in stage generate (probably out of memory; peak resident memory 0.")
    assert reasons == {
        "spawns": "timed out after 2.5 s in stage generate",
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
    assert not psutil.pid_exists(_number(ended["spawns"].job.work.path / "child.txt"))


@on_each()
def test_closing_ends_what_runs(make: MakeExecutor, task: Callable[..., Task]) -> None:
    with closing(make().run([task("hangs"), task("works")], ignore)) as outcomes:
        assert next(outcomes).job.key == "key-of-works"
        child = psutil.Process(_number(task("hangs").job.work.path / "child.txt"))
    child.wait(10) if child.is_running() else None
    assert not child.is_running()


@pytest.mark.attack("node of a cluster that is lost")
@on("ray", "slurm")
def test_a_lost_job_is_tried_again_but_not_for_ever(make: MakeExecutor, task: Callable[..., Task]) -> None:
    ended = carry_out(make(), *map(task, ("once-fells-its-node", "fells-its-node", "works")))
    assert ended["once-fells-its-node"].reason is None
    assert ended["works"].reason is None
    lost = ended["fells-its-node"]
    assert str(lost.reason).startswith("lost 2 times, at last as "), lost.reason
    assert (lost.job.work.path / "felled.txt").read_text() == "x" * ATTEMPTS


@pytest.mark.attack("node of a cluster that is lost")
@on("stand-in")
def test_a_preempted_slurm_job_is_put_back_and_goes_on_with_what_it_had_not_done(
    make: MakeExecutor, task: Callable[..., Task], tmp_path: Path
) -> None:
    executor = make(workers=1, cells_per_batch=2)
    begun: list[str] = []

    def preempt_the_second(job: Job, stage: str) -> None:
        if (job.method, stage) != ("then-waits", "generate"):
            return
        begun.append(job.key)
        if len(begun) == 1:
            for one in executor.backend._submitted.values():
                one.job._interrupt()  # submitit's own: the signal that Slurm sends before it preempts
        else:
            (tmp_path / GO_ON).touch()

    ended = carry_out(executor, task("draws"), task("then-waits"), on_stage=preempt_the_second)
    assert {name: outcome.reason for name, outcome in ended.items()} == {"draws": None, "then-waits": None}
    assert len((ended["draws"].job.work.log).read_text().splitlines()) == 2, "once: its numbers, and that it is done"
    assert len(_tried(ended["then-waits"].job)) == 2


def _tried(job: Job) -> list[int]:
    """Return the processes that tried a job which waits, in their order."""
    return [int(line) for line in (job.work.path / "tried.txt").read_text().splitlines()]


def _number(path: Path) -> int:
    """Read a number as soon as it is there."""
    wait_for(lambda: path.exists() and bool(path.read_text()))
    return int(path.read_text())


@pytest.mark.slow
def test_what_fits_on_no_ray_node_waits_and_says_so(
    ray_nodes: Any, task: Callable[..., Task], capsys: pytest.CaptureFixture[str]
) -> None:
    from admbench.bench.run.executors.ray_cluster import RayCluster

    with closing(RayCluster(os.environ["RAY_ADDRESS"])) as backend:
        needs = [replace(task(name), resources=Resources(cpus=64, memory_bytes=1)) for name in ("works", "draws")]
        backend.submit([make_batch([one], number, 60.0, "fake_program") for number, one in enumerate(needs)])
    said = "no node of the Ray cluster has 64 CPU, 1 memory, which cells need: they wait for one"
    assert capsys.readouterr().err.count(said) == 1


@pytest.fixture(scope="module")
def of_local() -> dict[str, Any]:
    """What the run on this machine came to, computed by the first test that needs it."""
    return {}


@pytest.mark.usefixtures("check_specs_here")
@on("ray", "slurm" if shutil.which("slurmctld") else "stand-in")
def test_a_run_on_a_cluster_comes_to_the_records_of_one_on_this_machine(
    make: MakeExecutor, make_grid: Callable[..., GridSpec], tmp_path: Path, of_local: dict[str, Any]
) -> None:
    """There the clips of a cell are made in two parts, each a job; here they are not divided."""
    methods = ["naive@w4a8[prompts=2,timesteps=2,steps=2]", "raises"]
    captions = tmp_path / "ten.txt"
    captions.write_text("".join(f"a dog barks , {number} times\n" for number in range(10)))
    options = {"methods": methods, "suite": str(captions), "metrics__names": ["clap"], "execution__cpus": 1}
    if not of_local:
        here = make_grid(out=tmp_path / "here", **options)
        of_local["reasons"] = [result.reason for result in run_grid(here, command="bench run", judges=JUDGES)]
        of_local["settled"] = settled(here)
    there = make_grid(out=tmp_path, execution__split=8, **options)
    executor = make(timeout=120.0, program=PROGRAM, cells_per_batch=3)
    assert sum(isinstance(job, PartJob) for job in make_plan(there, command="bench run", judges=JUDGES).jobs) == 6
    results = run_grid(there, command="bench run", judges=JUDGES, executor=executor)
    assert [result.reason is None for result in results] == [True, False]
    assert [result.reason for result in results] == of_local["reasons"]
    assert settled(there) == of_local["settled"]
    assert not RunLayout(there.out).batches.exists()


@pytest.mark.attack("node of a cluster that is lost")
@on("ray", "slurm")
def test_what_ran_on_a_node_that_is_killed_is_done_on_another(
    make: MakeExecutor, task: Callable[..., Task], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    tasks = [task("first-waits"), task("second-waits")]
    at_work: set[str] = set()

    def kill_a_node_when_both_are_at_work(job: Job, stage: str) -> None:
        if stage == "generate":
            at_work.add(job.key)
        if len(at_work) == 2 and not (tmp_path / GO_ON).exists():
            _kill_a_node(request)
            wait_for(lambda: not all(psutil.pid_exists(_tried(one.job)[0]) for one in tasks))
            (tmp_path / GO_ON).touch()

    ended = carry_out(make(), *tasks, on_stage=kill_a_node_when_both_are_at_work)
    assert [outcome.reason for outcome in ended.values()] == [None, None]
    assert sorted(len(_tried(one.job)) for one in tasks) == [1, 2]


def _kill_a_node(request: pytest.FixtureRequest) -> None:
    """End one of the two nodes of the cluster that a test has, as a loss of power does; no test can come after."""
    if "ray_nodes" in request.fixturenames:
        cluster = request.getfixturevalue("ray_nodes")
        (other,) = cluster.worker_nodes
        cluster.remove_node(other, allow_graceful=False)
    else:
        request.getfixturevalue("slurm_nodes").kill("n2")
