"""Ray as the scheduler of a run: a batch is a Ray task whose reports are streamed back as it goes.

Ray starts a task where its CPUs, GPUs and memory are free, sets `CUDA_VISIBLE_DEVICES` to the devices that it gave, and
says when a worker or a node was lost. It never tries a batch again by itself (`max_retries=0`): whether a job was lost
or failed is known to `RemoteExecutor` alone, which counts attempts. Dependencies are not Ray's either, as what
one job hands to the next is a folder and not an object.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from admbench.bench.run.executors.at_node import carry_out
from admbench.bench.run.executors.base import Outcome, Stage
from admbench.bench.run.executors.batches import Batch, Lost, understand
from admbench.errors import UsageError
from admbench.plain_text import visible

POLL_SECONDS = 1.0
"""That `reports` waits at most; what is said wakes it at once."""
_MOST_CHARACTERS = 300
"""Of what Ray says of an error, which goes on for a page."""


class RayCluster:
    """A Ray cluster, which is connected to at once.

    Args:
        address: `HOST:PORT`, or `auto` for the cluster of this machine.

    Raises:
        UsageError: there is no such cluster.
    """

    def __init__(self, address: str) -> None:
        self._connected = False
        self._batches: dict[Any, Batch] = {}
        """Stream of a batch's reports -> the batch."""
        self._warned: set[str] = set()
        """Needs that no node had."""
        if ray.is_initialized():  # by whoever calls this, who also ends it
            return
        stopping = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(address=address, log_to_driver=True)
        except (ConnectionError, ValueError, RuntimeError) as error:
            said = visible(str(error).strip().splitlines()[0], _MOST_CHARACTERS)
            raise UsageError(f"execution.ray.address {address}: no Ray cluster answers there ({said})") from None
        finally:
            signal.signal(signal.SIGTERM, stopping)  # Ray puts its own in place, which knows no clean end of a run
        self._connected = True

    def submit(self, batches: Sequence[Batch]) -> None:
        """Start batches as tasks; Ray queues those for which no node has room."""
        remote: Any = ray.remote(carry_out)
        for batch in batches:
            self._warn_if_it_fits_nowhere(batch)
            wanted = {"num_cpus": batch.cpus, "num_gpus": batch.gpus, "memory": batch.memory_bytes or 0}
            started = remote.options(**wanted, num_returns="streaming", max_retries=0, name=batch.id)
            self._batches[started.remote(batch.model_dump_json(), keep=True)] = batch

    def _warn_if_it_fits_nowhere(self, batch: Batch) -> None:
        """Say that a batch waits for a node which is not there yet; Ray waits in silence, and rightly if it grows."""
        wanted = {"CPU": batch.cpus, "GPU": batch.gpus, "memory": batch.memory_bytes or 0}
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if any(all(node.get(name, 0) >= amount for name, amount in wanted.items()) for node in nodes):
            return
        needs = ", ".join(f"{amount} {name}" for name, amount in wanted.items() if amount)
        if needs not in self._warned:
            self._warned.add(needs)
            print(f"no node of the Ray cluster has {needs}, which cells need: they wait for one", file=sys.stderr)

    def reports(self) -> Iterator[Stage | Outcome | Lost]:
        """Yield what was said; see `Backend`."""
        ready: list[Any]
        ready, _ = ray.wait(list(self._batches), num_returns=1, timeout=POLL_SECONDS, fetch_local=False)
        for stream in ready:
            batch = self._batches[stream]
            try:
                said: Any = ray.get(next(stream))
                report = understand(said, batch)
            except StopIteration:
                lost = Lost(batch.id, "its Ray task ended without a word of it")
            except RayError as error:
                lost = Lost(batch.id, _why(error))
            else:
                if report is not None:
                    yield report
                continue
            del self._batches[stream]
            yield lost

    def close(self) -> None:
        """End all tasks: with its worker the fork server of a batch goes, and with that all that it started."""
        for stream in self._batches:
            with suppress(RayError):
                ray.cancel(stream, force=True)
        self._batches.clear()
        if self._connected:
            ray.shutdown()


def _why(error: RayError) -> str:
    """Return in one line what Ray says of a lost task, or what was raised in it, without the traceback."""
    raised = error.cause if isinstance(error, RayTaskError) else error
    lines = str(raised).strip().splitlines()
    return visible(f"{type(raised).__name__}: {lines[0]}" if lines else type(raised).__name__, _MOST_CHARACTERS)
