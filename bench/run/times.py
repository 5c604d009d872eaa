"""How long each stage of a job took, and how much memory it had, left beside its products in `times.json`.

Later runs on the same kind of machine know from it what such a job will take (`admbench.bench.run.expecting`). It is a
note of one execution: no key depends on it, and no record is made of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from admbench.bench.measurement.environment import cores, cpu_name
from admbench.bench.measurement.memory import peak_resident_bytes
from admbench.bench.run.answers import read_tail
from admbench.bench.run.jobs import Job
from admbench.files import write_text_atomic

START = "start"
"""What comes before the first stage."""


class Machine(BaseModel):
    """A class of machines: times of one are expected of another."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cpu: str
    cores: int
    """That a run may use."""
    threads: int
    """Of the job."""
    device: str

    @classmethod
    def of(cls, job: Job) -> Machine:
        """Return the class of this machine, for a job."""
        return cls(cpu=cpu_name(), cores=cores(), threads=job.threads, device=job.device)


class JobTimes(BaseModel):
    """What a job took."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    machine: Machine
    seconds: dict[str, float]
    """By stage. Of a stage whose products were taken from an earlier result, what it took then."""
    peak_bytes: int = Field(ge=0)
    """Peak resident memory."""
    captions: int = Field(ge=0)
    """That clips were made or embedded of; 0 where none were."""


class StageTimes:
    """Passes on which stage begins, and notes when.

    Args:
        report: who is told too.
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._stage = START
        self._began = time.perf_counter()
        self._seconds: dict[str, float] = {}

    def __call__(self, stage: str) -> None:
        """Note that a stage begins, and so that the one before has ended."""
        now = time.perf_counter()
        self._seconds[self._stage] = self._seconds.get(self._stage, 0.0) + now - self._began
        self._stage, self._began = stage, now
        self._report(stage)

    @contextmanager
    def within(self, stage: str) -> Iterator[None]:
        """Note that a stage is interrupted by another, and goes on after it."""
        outer = self._stage
        self(stage)
        try:
            yield
        finally:
            self(outer)

    def write(self, job: Job, captions: int) -> None:
        """Leave the times in the job's work folder: the last stage ends."""
        now = time.perf_counter()
        self._seconds[self._stage] = self._seconds.get(self._stage, 0.0) + now - self._began
        before = read_times(job.target.times)
        machine = Machine.of(job)
        earlier = before.seconds if before is not None and before.machine == machine else {}
        seconds = earlier | {stage: round(taken, 3) for stage, taken in self._seconds.items()}
        noted = JobTimes(machine=machine, seconds=seconds, peak_bytes=peak_resident_bytes(), captions=captions)
        write_text_atomic(job.work.times, noted.model_dump_json(indent=2) + "\n")


def read_times(path: Path) -> JobTimes | None:
    """Return the times that a job left; None if it left none that can be read."""
    try:
        return JobTimes.model_validate_json(read_tail(path) or b"")
    except ValidationError:
        return None
