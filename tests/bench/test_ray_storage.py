"""Two Ray nodes that share no folder, with an S3 server as storage: the records of a run on this machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from admbench.bench.run.executors.base import Outcome
from admbench.bench.run.executors.remote import RemoteExecutor
from admbench.bench.run.grid import GridSpec
from admbench.bench.run.jobs import Job
from admbench.bench.run.layout import RunLayout
from admbench.bench.run.runner import Events, run_grid
from admbench.bench.run.store import Store

from .clusters import ray_cluster
from .in_process import JUDGES
from .settled import settled

METHODS = ["fp32", "naive@w4a8[prompts=2,timesteps=2,steps=2]", "naive@w8a8[prompts=2,timesteps=2,steps=2]", "raises"]
ATTEMPTS = 3

pytestmark = [pytest.mark.slow(240), pytest.mark.usefixtures("check_specs_here")]


@pytest.fixture(scope="module")
def found_by_children(plugin_folder: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(plugin_folder), os.environ.get("PYTHONPATH")])))
        yield


@pytest.fixture(scope="module")
def bucket(found_by_children: None) -> Iterator[str]:
    """A bucket of an S3 server on loopback, which all processes that are started from now on find."""
    server_module = pytest.importorskip("moto.server", reason="moto is not installed: pip install 'moto[s3,server]'")
    s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed: pip install 'admbench[s3]'")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "nobody")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "not-a-secret-at-all")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        try:
            s3fs.S3FileSystem(skip_instance_cache=True).mkdir("bucket")
            yield "s3://bucket"
        finally:
            server.stop()


@pytest.fixture(scope="module")
def cluster(bucket: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Two nodes, each with a cache, and so a folder for its work, of its own."""
    with ray_cluster(lambda number: {"ADMBENCH_CACHE": str(tmp_path_factory.mktemp(f"node-{number}"))}) as nodes:
        yield nodes


@pytest.fixture
def of_local(make_grid: Callable[..., GridSpec], tmp_path: Path) -> tuple[list[str | None], dict[str, Any]]:
    here = make_grid(out=tmp_path / "here", **options())
    return [result.reason for result in run_grid(here, command="bench run", judges=JUDGES)], settled(here)


def options() -> dict[str, Any]:
    return {"methods": METHODS, "limit": 2, "metrics__names": ["clap"], "execution__cpus": 1}


def test_a_run_over_s3_comes_to_the_records_of_one_on_this_machine_though_a_node_is_killed(
    cluster: Any,
    bucket: str,
    make_grid: Callable[..., GridSpec],
    tmp_path: Path,
    of_local: tuple[list[str | None], dict[str, Any]],
) -> None:
    from admbench.bench.run.executors.ray_cluster import RayCluster

    grid = make_grid(out=tmp_path / "there", store=f"{bucket}/run", **options())
    executor = RemoteExecutor(RayCluster(cluster.address), 2, 120.0, ATTEMPTS)
    at_work: set[str] = set()
    killed: list[str] = []

    def kill_a_node_when_both_are_at_work(job: Job, stage: str) -> None:
        at_work.add(job.key)
        if len(at_work) == 2 and not killed:
            (other,) = cluster.worker_nodes
            cluster.remove_node(other, allow_graceful=False)
            killed.append(job.name)

    def ended(outcome: Outcome) -> None:
        at_work.discard(outcome.job.key)

    events = Events(stage=kill_a_node_when_both_are_at_work, ended=ended)
    results = run_grid(grid, command="bench run", judges=JUDGES, executor=executor, events=events)
    assert killed
    assert [result.reason for result in results] == of_local[0]
    assert settled(grid) == of_local[1]
    log = RunLayout(grid.out).cell("fake-adm", "raises").log.read_text()
    assert "Traceback" in log, "what a failed cell said on its node is shown where the run began"
    assert not (tmp_path / "there/baselines").exists(), "only nodes need it"
    store = Store(f"{bucket}/run")
    assert all(store.holds(result.job.key) for result in results if result.reason is None)
    assert store.read("leases/run.json") is None
    shutil.rmtree(grid.out)
    good = grid.model_copy(update={"methods": tuple(METHODS[:-1])})
    again = run_grid(good, command="bench run", judges=JUDGES)
    assert [(result.reason, result.resumed) for result in again] == [(None, True)] * 3
