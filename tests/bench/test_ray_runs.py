"""Embedded models on two Ray nodes, of which one is killed, in a folder and over S3: the records of a local run."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from admbench.bench.run.executors.remote import RemoteExecutor
from admbench.bench.run.grid import GridSpec
from admbench.bench.run.layout import RunLayout
from admbench.bench.run.runner import CellResult, Events, run_grid
from admbench.bench.run.store import Store

from .clusters import ray_cluster, ray_workers_at_work
from .settled import settled

MODELS = ["tiny-tango", "tiny-dit"]
METHODS = ["fp32", "naive@w4a8[prompts=2,timesteps=2,steps=2]", "raises"]
OPTIONS = {"models": MODELS, "methods": METHODS, "limit": 4, "execution__cpus": 1}
ATTEMPTS = 3
"""Of a job, which may be lost with the worker and again with the node."""

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


@pytest.fixture
def cluster(found_by_children: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Two nodes, each with a cache, and so a folder for its work, of its own; for one test, which kills one of them."""
    with ray_cluster(lambda number: {"ADMBENCH_CACHE": str(tmp_path_factory.mktemp(f"node-{number}"))}) as nodes:
        yield nodes


@pytest.fixture(scope="module")
def kept() -> dict[str, Any]:
    """What the run on this machine came to, computed by the first test that needs it."""
    return {}


@pytest.fixture
def of_local(make_grid: Callable[..., GridSpec], tmp_path: Path, kept: dict[str, Any]) -> dict[str, Any]:
    if not kept:
        here = make_grid(out=tmp_path / "here", **OPTIONS)
        kept["reasons"] = [result.reason for result in run_grid(here, command="bench run")]
        kept["settled"] = settled(here)
    return kept


def run_and_lose(cluster: Any, grid: GridSpec) -> list[CellResult]:
    """Carry out a grid; when both nodes are at work a Ray worker is killed, and later, after a job ended, a node."""
    from admbench.bench.run.executors.ray_cluster import RayCluster

    killed: list[str] = []
    whole, one_ended = threading.Event(), threading.Event()
    (other,) = cluster.worker_nodes

    def a_worker_is_killed() -> bool:
        workers = ray_workers_at_work(cluster.head_node)
        if not (workers and ray_workers_at_work(other)):
            return False
        workers[0].kill()
        killed.append("worker")
        one_ended.clear()
        return True

    def a_node_is_killed() -> bool:
        if not (one_ended.is_set() and ray_workers_at_work(other)):
            return False
        cluster.remove_node(other, allow_graceful=False)
        killed.append("node")
        return True

    def kill() -> None:
        _becomes(a_worker_is_killed, whole) and _becomes(a_node_is_killed, whole)

    # in a thread: which stages are reported, and when, depends on how often the driver comes round to ask
    killer = threading.Thread(target=kill)
    killer.start()
    try:
        executor = RemoteExecutor(RayCluster(cluster.address), 2, 120.0, ATTEMPTS)
        events = Events(ended=lambda outcome: one_ended.set())
        results = run_grid(grid, command="bench run", executor=executor, events=events)
    finally:
        whole.set()
        killer.join()
    assert killed == ["worker", "node"]
    return results


def _becomes(happens: Callable[[], bool], whole: threading.Event) -> bool:
    """Look again and again until something is the case, and say whether it was before the run was whole."""
    while not happens():
        if whole.wait(0.05):
            return False
    return True


@pytest.mark.attack("node of a cluster that is lost")
def test_a_run_in_a_folder_that_nodes_share_comes_to_the_records_of_one_on_this_machine_though_a_node_is_killed(
    cluster: Any, make_grid: Callable[..., GridSpec], tmp_path: Path, of_local: dict[str, Any]
) -> None:
    grid = make_grid(out=tmp_path / "there", **OPTIONS)
    results = run_and_lose(cluster, grid)
    assert [result.reason is None for result in results] == [True, True, False] * len(MODELS)
    assert [result.reason for result in results] == of_local["reasons"]
    assert settled(grid) == of_local["settled"]


@pytest.mark.attack("node of a cluster that is lost")
def test_a_run_over_s3_comes_to_the_records_of_one_on_this_machine_though_a_node_is_killed(
    bucket: str, cluster: Any, make_grid: Callable[..., GridSpec], tmp_path: Path, of_local: dict[str, Any]
) -> None:
    grid = make_grid(out=tmp_path / "there", store=f"{bucket}/run", **OPTIONS)
    results = run_and_lose(cluster, grid)
    assert [result.reason for result in results] == of_local["reasons"]
    assert settled(grid) == of_local["settled"]
    log = RunLayout(grid.out).cell("tiny-tango", "raises").log.read_text()
    assert "Traceback" in log, "what a failed cell said on its node is shown where the run began"
    assert not (grid.out / "baselines").exists(), "only nodes need it"
    store = Store(f"{bucket}/run")
    assert all(store.holds(result.job.key) for result in results if result.reason is None)
    assert store.read("leases/run.json") is None
    shutil.rmtree(grid.out)
    good = grid.model_copy(update={"methods": tuple(METHODS[:-1])})
    again = run_grid(good, command="bench run")
    assert [(result.reason, result.resumed) for result in again] == [(None, True)] * 4
