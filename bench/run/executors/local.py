"""Runs jobs on this machine, each in a child process of its own, so that none can take another down with it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path

import psutil

from admbench import children
from admbench.bench.run.executors.base import Outcome, Task
from admbench.bench.run.jobs import NO_SPACE, Job
from admbench.bench.run.stages import current_stage
from admbench.errors import DataError
from admbench.files import read_json, write_text_atomic

POLL_SECONDS = 0.05
_LOG_TAIL = 65536


class LocalExecutor:
    """Child processes, `workers` at a time.

    Args:
        workers: jobs side by side.
        timeout: seconds after which a job's process group is killed.
        program: module that does the job in a JSON file; `admbench.bench.run.program.main` says what is expected.
    """

    def __init__(self, workers: int, timeout: float, program: str = "admbench.bench.run.program") -> None:
        self.workers = workers
        self.timeout = timeout
        self.program = program

    def run(self, tasks: Sequence[Task], on_stage: Callable[[Job, str], None]) -> Generator[Outcome, None, None]:
        """Yield outcomes as jobs end; see `admbench.bench.run.executors.base.Executor`."""
        waiting = list(tasks)
        running: list[_Child] = []
        ended: dict[str, Outcome] = {}
        try:
            while waiting or running:
                for task in list(waiting):
                    admitted = self._admit(task, len(running), ended)
                    if admitted is None:
                        continue
                    waiting.remove(task)
                    if isinstance(admitted, _Child):
                        running.append(admitted)
                    else:
                        ended[task.job.key] = admitted
                        yield admitted
                for child in list(running):
                    child.watch(on_stage)
                    if child.outcome is not None:
                        running.remove(child)
                        ended[child.job.key] = child.outcome
                        yield child.outcome
                if running:
                    time.sleep(POLL_SECONDS)
        finally:
            for child in running:
                child.kill()

    def _admit(self, task: Task, running: int, ended: Mapping[str, Outcome]) -> _Child | Outcome | None:
        """Start a task whose turn it is; None while it has to wait, an outcome if it will never run."""
        blocker = next((ended[key] for key in task.after if key in ended and ended[key].failed), None)
        if blocker is not None:
            return Outcome(task.job, f"{blocker.job.name} failed: {blocker.reason}", 0.0)
        if running >= self.workers or any(key not in ended for key in task.after):
            return None
        try:
            return _Child(task.job, self.timeout, self.program)
        except OSError as error:
            return Outcome(task.job, f"cannot be started: {error}", 0.0)


class _Child:
    """One job in its process group, watched from outside."""

    def __init__(self, job: Job, timeout: float, program: str) -> None:
        self.job = job
        self.outcome: Outcome | None = None
        self._timeout = timeout
        self._timed_out = False
        self._stage = ""
        self._peak_bytes = 0
        job.work.path.mkdir(parents=True, exist_ok=True)
        job.work.failure.unlink(missing_ok=True)
        path = job.work.job
        write_text_atomic(path, job.model_dump_json(indent=2) + "\n")
        self._started = time.monotonic()
        with open(job.work.log, "ab") as log:
            self._process = subprocess.Popen(
                children.command(program, str(path), "--parent", str(os.getpid())),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches the run, which then stops its children
                env=children.environment(job.threads),
            )

    def watch(self, on_stage: Callable[[Job, str], None]) -> None:
        """Look at the process once: note its memory and stage, stop it at its timeout, and see whether it ended."""
        if self._process.poll() is not None:
            seconds = time.monotonic() - self._started
            self.outcome = Outcome(self.job, self._reason(self._process.returncode), seconds)
            return
        self._peak_bytes = max(self._peak_bytes, _resident_bytes(self._process.pid))
        stage = current_stage(self.job.work)
        if stage != self._stage:
            self._stage = stage
            on_stage(self.job, stage)
        if time.monotonic() - self._started > self._timeout:
            self._timed_out = True
            self.kill()

    def kill(self) -> None:
        """Kill the whole process group. Nothing is lost: every product is written atomically."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return  # it ended by itself in the meantime
        finally:
            self._process.wait()

    def _reason(self, code: int) -> str | None:
        """Say in one line why the process ended as it did; None for success."""
        if code == 0:
            return None
        if self._timed_out:
            return f"timed out after {self._timeout:g} s in stage {current_stage(self.job.work)}"
        if code < 0:
            name = signal.Signals(-code).name
            likely = "probably out of memory; " if -code == signal.SIGKILL else ""
            stage = current_stage(self.job.work)
            return f"killed by {name} in stage {stage} ({likely}peak resident memory {self._peak_bytes / 1e9:.2f} GB)"
        if code == NO_SPACE:
            return f"no space left on the disk of {self.job.run} in stage {current_stage(self.job.work)}"
        try:
            return str(read_json(self.job.work.failure)["reason"])
        except DataError:
            return f"exit code {code} in stage {current_stage(self.job.work)}: {_last_line(self.job.work.log)}"


def _resident_bytes(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0  # it ended between two looks


def _last_line(log: Path) -> str:
    with open(log, "rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _LOG_TAIL))
        lines = file.read().decode("utf-8", "replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "no message")
