"""Runs jobs on this machine, each in a child process of its own, so that none can take another down with it."""

from __future__ import annotations

import select
import signal
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import psutil

from admbench.bench.run.answers import last_line, said_reason, said_stage
from admbench.bench.run.asking import Findings, ask
from admbench.bench.run.disk import is_full
from admbench.bench.run.executors.base import PROGRAM, Outcome, Stage, Task
from admbench.bench.run.executors.forked import Forked, ForkServer, ServerDied
from admbench.bench.run.executors.room import Place, Room
from admbench.bench.run.executors.schedule import Schedule
from admbench.bench.run.jobs import Job
from admbench.files import remove, write_text_atomic

POLL_SECONDS = 0.05
"""Between two looks at what runs: its stage, its memory, its timeout."""
ATTEMPTS = 2
"""Of a job whose fork server died under it."""
MANY_JOBS = 100
"""From so many on it pays that the fork servers put their memory into huge pages: a second once, 20 ms of each job."""


class LocalExecutor:
    """Child processes, `workers` at a time, forked from a server that has imported what they need.

    Args:
        workers: jobs side by side.
        timeout: seconds after which a job's process group is killed.
        program: module that does the job in a JSON file; `admbench.bench.run.program.main` says what is expected.
        held: file descriptors that all child processes keep open until the last of them has gone: that of a lock.
        servers: that this executor takes and leaves, where one like it is made again and again in a process; None is
            its own, which end with each run.
        room: what jobs share; one that does not fit beside those that run waits. None is no limit but `workers`.
    """

    def __init__(
        self,
        workers: int,
        timeout: float,
        program: str = PROGRAM,
        held: Sequence[int] = (),
        servers: Servers | None = None,
        room: Room | None = None,
    ) -> None:
        self._room = room or Room()
        self.held = tuple(held)
        self._kept = servers
        self._servers = servers or Servers(program, held)
        self.workers = workers
        self.timeout = timeout
        self.program = program

    def run(self, tasks: Sequence[Task], on_stage: Callable[[Job, str], None]) -> Generator[Outcome, None, None]:
        """Yield outcomes as jobs end; see `admbench.bench.run.executors.base.Executor`."""
        with closing(self.watch(tasks)) as reports:
            for report in reports:
                if isinstance(report, Stage):
                    on_stage(report.job, report.name)
                else:
                    yield report

    def watch(self, tasks: Sequence[Task]) -> Generator[Stage | Outcome, None, None]:
        """Yield stages as jobs begin them, and outcomes as jobs end: all in one stream, for who passes it on."""
        schedule = Schedule(tasks)
        running: list[_Child] = []
        held_back: Task | None = None  # the next, which does not fit beside those that run
        servers = self._servers
        servers.look(running)  # one that died while it was kept is not asked for a child
        servers.compact = servers.compact or len(tasks) >= MANY_JOBS
        try:
            while True:
                while len(running) < self.workers and (task := held_back or schedule.next()) is not None:
                    place = self._room.take(task.resources)
                    if place is None:
                        held_back = task
                        break
                    held_back = None
                    try:
                        running.append(_Child(task.job, self.timeout, servers, place))
                    except (OSError, ServerDied) as error:
                        self._room.give_back(place)
                        yield from schedule.ended(Outcome(task.job, f"cannot be started: {error}", 0.0))
                if not running:
                    return
                servers.look(running)
                for child in list(running):
                    try:
                        stage = child.watch()
                    except OSError as error:  # what one job does to its folder ends no other
                        stage = None
                        child.give_up(f"cannot be watched: {error}")
                    if stage is not None:
                        yield Stage(child.job, stage)
                    if child.outcome is not None:
                        running.remove(child)
                        self._room.give_back(child.place)
                        yield from schedule.ended(child.outcome)
                if len(running) == self.workers or held_back is not None or not schedule.has_ready:
                    servers.wait(POLL_SECONDS)
        finally:
            for child in running:
                self._room.give_back(child.place)
            if running or self._kept is None:
                servers.close()

    def ask(self, methods: list[str], device: str, threads: int) -> Findings:
        """Let a child of the server that the jobs will have say what is to be known of method specs.

        Raises:
            UsageError: a mistake of the user's.
        """
        return ask(methods, device, partial(self._servers.carry_out, threads))

    def close(self) -> None:
        """End what `ask` started, if no run has done so."""
        if self._kept is None:
            self._servers.close()


class Servers:
    """The fork server of each number of threads, as libraries read theirs when they are imported.

    Args:
        program: see `LocalExecutor`.
        held: see `LocalExecutor`.
    """

    def __init__(self, program: str, held: Sequence[int] = ()) -> None:
        self._program = program
        self._held = held
        self._servers: dict[int, ForkServer] = {}
        self.compact = False
        """Whether many children are to come."""

    def start(self, job: Job, place: Place) -> Forked:
        """Start the child of a job in its place; its server too, if there is none."""
        server = self._server(job.threads)
        if self.compact:
            server.compact()
        return server.start([str(job.work.job)], job.work.log, place.environment)

    def carry_out(self, threads: int, module: str, arguments: Sequence[str], log: Path, timeout: float) -> None:
        """Let a child run another module's `main`, and wait for its end, or end it at its timeout.

        Where the server dies, what the child should have done is not done.
        """
        deadline = time.monotonic() + timeout
        try:
            server = self._server(threads)
            child = server.start(arguments, log, {}, module)
            while child.code is None and time.monotonic() < deadline:
                self.wait(POLL_SECONDS)
                server.look()
            if child.code is None:
                server.kill(child)
        except ServerDied:
            self._servers.pop(threads).close()

    def _server(self, threads: int) -> ForkServer:
        if threads not in self._servers:
            self._servers[threads] = ForkServer(self._program, threads, self._held)
        return self._servers[threads]

    def kill(self, job: Job, child: Forked) -> None:
        """End the child of a job; where its server died, it goes by itself."""
        if job.threads in self._servers:
            with suppress(ServerDied):
                self._servers[job.threads].kill(child)

    def look(self, running: Sequence[_Child]) -> None:
        """Learn what became of the children; those of a server that died are started again, on a new one."""
        for threads, server in list(self._servers.items()):
            try:
                server.look()
            except ServerDied as error:
                del self._servers[threads]
                server.close()
                for child in running:
                    if child.job.threads == threads and child.unended:
                        child.lost(str(error))

    def wait(self, seconds: float) -> None:
        """Wait until a server has something to say, so long at most."""
        if self._servers:
            select.select(list(self._servers.values()), [], [], seconds)

    def close(self) -> None:
        """End the servers, and with them all children; the next child gets a new one."""
        while self._servers:
            self._servers.popitem()[1].close()


class _Child:
    """One job in its process group, watched from outside."""

    def __init__(self, job: Job, timeout: float, servers: Servers, place: Place) -> None:
        self.job = job
        self.place = place
        self.outcome: Outcome | None = None
        self._timeout = timeout
        self._servers = servers
        self._attempts = 0
        job.work.path.mkdir(parents=True, exist_ok=True)
        write_text_atomic(job.work.job, job.model_dump_json(indent=2) + "\n", durable=False)  # the job does it again
        self._start()

    def _start(self) -> None:
        remove(self.job.work.failure)
        self._attempts += 1
        self._timed_out = False
        self._stage = ""
        self._peak_bytes = 0
        self._started: float | None = None
        self._process = self._servers.start(self.job, self.place)

    @property
    def unended(self) -> bool:
        """Whether nothing is known yet of how it ended."""
        return self.outcome is None and self._process.code is None

    def lost(self, reason: str) -> None:
        """Start again, as the server died; not for ever, as this job may be the cause."""
        if self._attempts == ATTEMPTS:
            self.outcome = Outcome(self.job, f"its process could not be started or was lost: {reason}", self._seconds)
            return
        try:
            self._start()
        except (OSError, ServerDied) as error:
            self.outcome = Outcome(self.job, f"cannot be started: {error}", self._seconds)

    def give_up(self, reason: str) -> None:
        """End the process, and with it the job."""
        self._servers.kill(self.job, self._process)
        self.outcome = Outcome(self.job, reason, self._seconds)

    @property
    def _seconds(self) -> float:
        return 0.0 if self._started is None else time.monotonic() - self._started

    def watch(self) -> str | None:
        """See whether the process ended; else note its memory, stop it at its timeout, and return a stage it began."""
        if self.outcome is not None or (self._process.pid is None and self._process.code is None):
            return None  # one whose guard was killed at once ended without having been said to have started
        if self._started is None:
            self._started = time.monotonic()
        if self._process.code is not None:
            self.outcome = Outcome(self.job, self._reason(self._process.code), self._seconds)
            return None
        if self._process.pid is not None:
            self._peak_bytes = max(self._peak_bytes, _resident_bytes(self._process.pid))
        if self._seconds > self._timeout:
            if not self._timed_out:
                self._servers.kill(self.job, self._process)
            self._timed_out = True
        stage = self._said_stage
        if stage == self._stage:
            return None
        self._stage = stage
        return stage

    @property
    def _said_stage(self) -> str:
        return said_stage(self.job.work.current_stage)

    def _reason(self, code: int) -> str | None:
        """Say in one line why the process ended as it did; None for success."""
        stage = self._said_stage
        if code == 0:
            return None
        if self._timed_out:
            return f"timed out after {self._timeout:g} s in stage {stage}"
        if code < 0:
            likely = "probably out of memory; " if -code == signal.SIGKILL else ""
            peak = f"peak resident memory {self._peak_bytes / 1e9:.2f} GB"
            return f"killed by {_signal_name(-code)} in stage {stage} ({likely}{peak})"
        reason = said_reason(self.job.work.failure)
        if reason is None and is_full(self.job.work.path):
            return f"no space left on the disk of {self.job.run} in stage {stage}"
        return reason or f"exit code {code} in stage {stage}: {last_line(self.job.work.log)}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def _resident_bytes(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0  # it ended between two looks
