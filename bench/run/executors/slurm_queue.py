"""What a Slurm cluster says of our jobs: asked of its controller, which every cluster has, seldom and for all at once.

submitit asks `sacct`, every ten minutes. Without an accounting database that says nothing, and a job whose node was
lost would be waited for for ever.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping
from typing import Any, Protocol

ANSWER_SECONDS = 30.0
"""That an answer is waited for."""
_OVER = frozenset(
    (
        *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED"),
        *("NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "TIMEOUT"),
    )
)
"""States of a job of which no process runs, and none will."""
GONE = "not in the queue any more"


class Queue(Protocol):
    """Who knows whether a job is over."""

    def ask(self, *, at_most_ago: float) -> None:
        """Ask how the jobs stand, if what is known is older than so many seconds."""
        ...

    def over(self, job: Any, since: float) -> str | None:
        """Return as what a job is over, in one word or so; None if it waits or runs, or nobody can tell.

        Args:
            job: submitit's.
            since: when it was submitted, of `time.monotonic`; an older answer says nothing of it.
        """
        ...


class StandIns:
    """Processes of this machine in place of Slurm's jobs: they are asked themselves."""

    def ask(self, *, at_most_ago: float) -> None:
        """Do nothing; see `Queue`."""

    def over(self, job: Any, since: float) -> str | None:
        """Return as what a process is over; see `Queue`."""
        return str(job.state).lower() if job.done() else None


class SlurmQueue:
    """The jobs of this user, as the controller last said they stand."""

    def __init__(self) -> None:
        self._states: Mapping[str, str] | None = None
        self._began = self._asked = float("-inf")
        """When the last question was asked, and when it was answered."""

    def ask(self, *, at_most_ago: float) -> None:
        """Ask the controller; see `Queue`."""
        if time.monotonic() - self._asked < at_most_ago:
            return
        self._began = time.monotonic()
        self._states = _states()
        self._asked = time.monotonic()

    def over(self, job: Any, since: float) -> str | None:
        """Return Slurm's word for the end of a job; see `Queue`."""
        if self._states is None or self._began <= since:
            return None
        state = self._states.get(job.job_id, GONE)
        return state.lower() if state in _OVER or state == GONE else None


def _states() -> dict[str, str] | None:
    """Return Slurm's word for each of this user's jobs, by id; None if the controller does not answer.

    Jobs that ended stay on its list for a while (`MinJobAge`, by default five minutes).
    """
    command = ["squeue", "--noheader", "--array", "--states=all", f"--user={os.getuid()}", "--format=%i %T"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_SECONDS, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return {job: state for job, _, state in (line.strip().partition(" ") for line in answer.splitlines()) if state}
