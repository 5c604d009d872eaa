"""Clusters of two nodes on this machine, for tests: Ray's own processes, and Slurm's without systemd."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

STARTING_SECONDS = 30.0
SLURM = ("slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol", "srun")
_CONFIGURATION = """
ClusterName=admbench
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobRequeue=0
ReturnToService=2
SlurmdTimeout=5
KillWait=2
UnkillableStepTimeout=10
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def wait_for(happens: Callable[[], bool], seconds: float = STARTING_SECONDS) -> None:
    """Look again and again until something happens; an assertion fails if it does not."""
    deadline = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < deadline, "waited for in vain"
        time.sleep(0.05)


# Ray takes 127.0.0.1 for a mistake, and puts the machine's outer address in its place
_RAY_NODE = {"num_cpus": 1, "object_store_memory": 80_000_000, "node_ip_address": "127.0.0.2"}
RAY_BUSY = re.compile(r"ray::\d+-")
"""Title of a Ray worker that carries out a batch."""


@contextmanager
def ray_cluster(variables: Callable[[int], dict[str, str]] = lambda number: {}) -> Iterator[Any]:
    """Start two nodes on loopback, each with one core to give; gone at the end, whatever happens.

    Args:
        variables: number of a node -> environment variables of its own.
    """
    cluster_utils = pytest.importorskip("ray.cluster_utils", reason="ray is not installed: pip install 'admbench[ray]'")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_agent_register_timeout_ms", "120000")  # a raylet ends when its agents are slow to start
        head = {**_RAY_NODE, "include_dashboard": False, "env_vars": variables(0)}
        cluster = cluster_utils.Cluster(initialize_head=True, head_node_args=head)
        try:
            add_ray_node(cluster, variables(1))
            yield cluster
        finally:
            cluster.shutdown()


def add_ray_node(cluster: Any, variables: dict[str, str]) -> None:
    """Add a node to a cluster, with environment variables of its own."""
    cluster.add_node(**_RAY_NODE, env_vars=variables)


def ray_workers_at_work(node: Any) -> list[psutil.Process]:
    """Return the processes of a node that carry out a task: Ray titles them with its name."""
    (raylet,) = node.all_processes["raylet"]
    found = []
    with suppress(psutil.NoSuchProcess):
        for process in psutil.Process(raylet.process.pid).children():
            with suppress(psutil.Error):
                if RAY_BUSY.match(" ".join(process.cmdline())):
                    found.append(process)
    return found


@dataclass(frozen=True)
class SlurmCluster:
    """A controller and the daemons of its nodes."""

    configuration: Path
    nodes: dict[str, subprocess.Popen[bytes]]

    def kill(self, node: str) -> None:
        """End a node at once, with all that runs on it, as a loss of power does; its controller is not told."""
        self.nodes[node].kill()
        self.nodes[node].wait()
        _end_jobs(self.configuration, node)


def _end_jobs(configuration: Path, node: str | None = None) -> None:
    """End what jobs of a Slurm started, on one node or on all; first who would tell: `slurmstepd` leaves its daemon."""
    marks = {"SLURM_CONF": str(configuration)} | ({} if node is None else {"SLURMD_NODENAME": node})
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if marks.items() <= process.environ().items():
                found[process.pid] = process
                above = process.parent()
                if above is not None and above.name().startswith("slurmstepd"):
                    found[above.pid] = above
    for process in sorted(found.values(), key=lambda one: not _name(one).startswith("slurmstepd")):
        with suppress(psutil.Error):
            process.kill()


def _name(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return str(process.name())
    return ""


@contextmanager
def slurm_cluster(folder: Path) -> Iterator[SlurmCluster]:
    """Start slurmctld and two slurmd on loopback, each with one core to give; gone at the end, with their jobs.

    Args:
        folder: an empty one, for their state and logs.
    """
    missing = [name for name in SLURM if shutil.which(name) is None]
    if missing:
        pytest.skip(f"no {missing[0]} here: apt-get install slurmctld slurmd slurm-client")
    (folder / "state").mkdir()
    configuration = folder / "slurm.conf"
    user, host = psutil.Process().username(), socket.gethostname()
    text = _CONFIGURATION.format(folder=folder, host=host, user=user, port=_free_port())
    memory = psutil.virtual_memory().total // 2**20 // 2  # MB a node; what is not said is 1 MB, which no job fits into
    for node in ("n1", "n2"):
        at = f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={_free_port()}"
        text += f"{at} CPUs=1 RealMemory={memory} State=UNKNOWN\n"
    configuration.write_text(text)
    environment = os.environ | {"SLURM_CONF": str(configuration)}
    with ExitStack() as daemons:
        daemons.callback(_end_jobs, configuration)
        _daemon(daemons, ["slurmctld", "-D", "-f", str(configuration)], folder / "slurmctld.log", environment)
        nodes = {}
        for node in ("n1", "n2"):
            command = ["slurmd", "-D", "-f", str(configuration), "-N", node]
            nodes[node] = _daemon(daemons, command, folder / f"{node}.log", environment)

        def is_up() -> bool:
            states = subprocess.run(["sinfo", "-h", "-N", "-o", "%T"], env=environment, capture_output=True, text=True)
            return states.stdout.split() == ["idle", "idle"]

        wait_for(is_up)
        yield SlurmCluster(configuration, nodes)


def _daemon(daemons: ExitStack, command: list[str], log: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    with open(log, "wb") as output:
        daemon = subprocess.Popen(command, stdout=output, stderr=output, env=environment, start_new_session=True)

    def end() -> None:
        if daemon.poll() is None:
            daemon.kill()
            daemon.wait()

    daemons.callback(end)
    return daemon


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
