"""Which executor carries out a run: that which its grid names, with what it needs to be installed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from admbench.bench.run.executors.base import Executor
from admbench.bench.run.executors.local import LocalExecutor
from admbench.bench.run.executors.remote import RemoteExecutor
from admbench.bench.run.executors.room import Room
from admbench.bench.run.grid import ExecutionSpec
from admbench.errors import UsageError
from admbench.registry import missing_distributions

REQUIRES = {"slurm": "submitit", "ray": "ray"}
"""Executor -> the distribution that it is a bridge to, and that the extra of its name installs."""


def make_executor(execution: ExecutionSpec, run: Path, held: Sequence[int] = ()) -> Executor:
    """Return the executor of a run.

    Args:
        execution: where and how.
        run: the run folder; nodes of a cluster must see it by the same path.
        held: file descriptors that children on this machine keep open: that of the run's lock.

    Raises:
        UsageError: a package is not installed, or there is no such cluster here.
    """
    name = execution.executor
    if name == "local":
        room = Room.of_this_machine(execution.device)
        return LocalExecutor(execution.workers, execution.cell_timeout, held=held, room=room)
    if missing_distributions([REQUIRES[name]]) is not None:
        raise UsageError(f"--executor {name}: {REQUIRES[name]} is not installed; pip install 'admbench[{name}]'")
    workers, timeout = execution.workers, execution.cell_timeout
    if name == "slurm":
        from admbench.bench.run.executors.slurm import Slurm

        slurm = execution.slurm
        return RemoteExecutor(Slurm(slurm, run), workers, timeout, slurm.attempts, slurm.cells_per_job)
    from admbench.bench.run.executors.ray_cluster import RayCluster

    return RemoteExecutor(RayCluster(execution.ray.address), workers, timeout, execution.ray.attempts)
