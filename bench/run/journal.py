"""What happens in a run, line by line in `RUN/journal.jsonl`, so that other processes can see how it stands.

The first line is the plan of the run that wrote it: its cells, the jobs that are to be done, and what each is expected
to take. Each later line is one event: a stage began, or a job ended. A run replaces the journal of the one before it.
Lines are only ever appended, so that a run of ten thousand cells writes no more for each than a run of ten.

Who reads it may do so at any moment: a last line that is not whole yet is left for the next look.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from admbench.bench.run.executors.base import Outcome
from admbench.bench.run.jobs import BaselineJob, CalibrationJob, CellJob, Job, PartJob, QuantizeJob, ReferenceJob
from admbench.bench.run.layout import RunLayout
from admbench.errors import DataError
from admbench.files import write_text_atomic

Kind = Literal["reference", "baseline", "calibration", "quantize", "part", "cell"]


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class JobEntry(_Line):
    """A job that a run has to do."""

    key: str
    kind: Kind
    name: str
    """What progress and errors call it."""
    cell: str | None = None
    """Key of the cell that the job is a part of; None of those that cells share."""
    expected: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Seconds that it is expected to take; None where nothing is known."""


class CellEntry(_Line):
    """A cell of the grid."""

    key: str
    name: str
    place: str
    """Its folder in the run folder."""
    state: Literal["to do", "done", "skipped"]
    """At the beginning of the run."""
    reason: str | None = None
    """Why it is skipped."""


class Planned(_Line):
    """The first line: what the run has to do."""

    event: Literal["planned"] = "planned"
    at: float
    """Seconds since the epoch."""
    workers: int = Field(ge=1)
    cells: tuple[CellEntry, ...]
    jobs: tuple[JobEntry, ...]


class StageBegan(_Line):
    """A job went on to another stage; its first one is `start`."""

    event: Literal["stage"] = "stage"
    at: float
    job: str
    stage: str


class JobEnded(_Line):
    """A job ended."""

    event: Literal["ended"] = "ended"
    at: float
    job: str
    seconds: float
    reason: str | None = None
    """Why it failed; None if it is done."""


class RunEnded(_Line):
    """The last line of a run that came to its end."""

    event: Literal["run ended"] = "run ended"
    at: float


Event = StageBegan | JobEnded | RunEnded
_EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])


class Journal:
    """The journal of a run at work; a file that cannot be written any more costs the journal, not the run."""

    def __init__(self, run: Path, planned: Planned) -> None:
        path = RunLayout(run).journal
        write_text_atomic(path, planned.model_dump_json() + "\n")
        self._file: IO[bytes] | None = open(path, "ab", buffering=0)  # noqa: SIM115 (see close)

    def stage(self, job: Job, stage: str) -> None:
        """Note that a job began a stage."""
        self._write(StageBegan(at=time.time(), job=job.key, stage=stage))

    def ended(self, outcome: Outcome) -> None:
        """Note how a job ended."""
        seconds = round(outcome.own_seconds, 3)
        said = JobEnded(at=time.time(), job=outcome.job.key, seconds=seconds, reason=outcome.reason)
        self._write(said)

    def run_ended(self) -> None:
        """Note that the run came to its end."""
        self._write(RunEnded(at=time.time()))

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _write(self, event: Event) -> None:
        if self._file is None:
            return
        line = event.model_dump_json().encode() + b"\n"
        try:
            whole = self._file.write(line) == len(line)
        except OSError:
            whole = False
        if not whole:  # a full disk: half a line may stand there now, behind which nothing could be read
            self._file.close()
            self._file = None


def planned(
    workers: int,
    cells: Sequence[CellJob],
    jobs: Sequence[Job],
    skipped: Mapping[str, str],
    expected: Mapping[str, float],
) -> Planned:
    """Return the first line of a journal.

    Args:
        workers: jobs side by side.
        cells: of the grid.
        jobs: to be carried out.
        skipped: key of a cell that cannot run here -> the reason.
        expected: key of a job -> the seconds it is expected to take, where something is known.
    """
    pending = {job.key for job in jobs}
    entries = [
        CellEntry(
            key=cell.key,
            name=cell.name,
            place=cell.target.path.relative_to(cell.run).as_posix(),
            state="skipped" if cell.key in skipped else "to do" if cell.key in pending else "done",
            reason=skipped.get(cell.key),
        )
        for cell in cells
    ]
    of_checkpoint = {cell.checkpoint: cell.key for cell in cells}
    todo = [
        JobEntry(
            key=job.key, kind=job.kind, name=job.name, cell=_cell_of(job, of_checkpoint), expected=expected.get(job.key)
        )
        for job in jobs
    ]
    return Planned(at=time.time(), workers=workers, cells=tuple(entries), jobs=tuple(todo))


def _cell_of(job: Job, of_checkpoint: Mapping[str, str]) -> str | None:
    match job:
        case CellJob():
            return job.key
        case QuantizeJob():
            return of_checkpoint.get(job.key)
        case PartJob():
            return None if job.method is None else job.whole
        case ReferenceJob() | BaselineJob() | CalibrationJob():
            return None


@dataclass
class JobStanding:
    """How a job stands, by the journal."""

    entry: JobEntry
    stage: str | None = None
    """The stage that runs; None before the first."""
    began: float | None = None
    """When it began, in seconds since the epoch."""
    ended: JobEnded | None = None


@dataclass
class Read:
    """A journal as far as it has been written."""

    planned: Planned
    jobs: dict[str, JobStanding] = field(default_factory=dict)
    """By key, in the order of the plan."""
    last: float = 0.0
    """When the last line was written, in seconds since the epoch."""
    whole: bool = False
    """Whether the run came to its end."""


def read_journal(run: Path) -> Read | None:
    """Return what the journal in a run folder says; None where there is none.

    Raises:
        DataError: it cannot be read, or a line that is whole is none of a journal.
    """
    path = RunLayout(run).journal
    try:
        text = path.read_bytes().decode("utf-8", "replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    lines = text.split("\n")[:-1]  # what follows the last end of a line is not whole
    try:
        first = Planned.model_validate_json(lines[0] if lines else "")
        events = [_EVENT.validate_json(line) for line in lines[1:]]
    except ValidationError as error:
        raise DataError(f"{path}: not a journal of a run: {error.errors(include_url=False)[0]['msg']}") from None
    read = Read(first, {job.key: JobStanding(job) for job in first.jobs}, first.at)
    for event in events:
        read.last = event.at
        if isinstance(event, RunEnded):
            read.whole = True
        elif (job := read.jobs.get(event.job)) is None:
            raise DataError(f"{path}: a job that the run did not plan: {json.dumps(event.job[:80])}")
        elif isinstance(event, JobEnded):
            job.ended = event
        else:
            job.stage = event.stage
            job.began = event.at if job.began is None else job.began
    return read
