"""What jobs are expected to take, from what such jobs took before on the same class of machine.

Looked at are the notes (`times.json`) of the run itself and of the runs beside it. A job is expected to take what the
same job took there, the same kind, model and method: generating scaled by captions and steps, embedding and scoring by
captions, and all else as it was. Where several notes fit, the run's own counts, then the newest. A job of which none
tells is expected to take what `bench run --plan` foresaw, if it was asked for in this folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from admbench.bench.run.answers import read_tail
from admbench.bench.run.jobs import (
    BaselineJob,
    CalibrationJob,
    CellJob,
    Job,
    PartJob,
    QuantizeJob,
    ReferenceJob,
    job_from_json,
)
from admbench.bench.run.layout import JobFolder, RunLayout
from admbench.bench.run.times import JobTimes, Machine, read_times
from admbench.files import directory_bytes
from admbench.leaderboard.run_folder import CELLS

MOST_RUNS = 50
"""Runs beside this one that are looked at, the newest first."""
PER_STEP = frozenset({"generate"})
"""Stages that take as long as there are captions and steps."""
PER_CAPTION = frozenset({"generate", "features", "audio", "score"})
"""Stages that take as long as there are captions."""
_MOST_JOB_BYTES = 1 << 16
_MOST_FORECAST_BYTES = 1 << 26


@dataclass(frozen=True)
class Expected:
    """What a job is expected to take."""

    seconds: float
    peak_bytes: int
    """Of its process."""
    disk_bytes: int
    """Of its folder, when it is done."""


@dataclass(frozen=True)
class _Past:
    times: JobTimes
    steps: int | None
    """Denoising steps that were asked for; None is the model's own default."""
    disk_bytes: int


_FORESEEN: TypeAdapter[dict[str, Expected]] = TypeAdapter(dict[str, Expected])


class History:
    """What jobs took in a run folder and in those beside it.

    Args:
        run: the run folder; it need not exist.
    """

    def __init__(self, run: Path) -> None:
        self._runs = [run, *_beside(run)]
        self._foreseen = _foreseen(RunLayout(run).forecast)

    def expect(self, jobs: Iterable[Job], captions: int) -> dict[str, Expected]:
        """Return what jobs are expected to take, by key; one of which nothing is known is left out.

        Args:
            jobs: to be carried out.
            captions: that each job which makes clips makes them for.
        """
        expected = {job.key: self._expect(job, captions) for job in jobs}
        return {key: value for key, value in expected.items() if value is not None}

    def _expect(self, job: Job, captions: int) -> Expected | None:
        machine = Machine.of(job)
        for folder, times_file in self._places(job):
            times = read_times(times_file)
            past = None if times is None or times.machine != machine else _past(job, folder, times)
            if past is not None:
                return _scaled(past, job, captions)
        return self._foreseen.get(job.key)

    def _places(self, job: Job) -> Iterator[tuple[JobFolder, Path]]:
        """Yield where jobs like this one left their times, this run's first."""
        for layout in map(RunLayout, self._runs):
            match job:
                case ReferenceJob():
                    folders = [layout.reference(job.suite_name)]
                case BaselineJob():
                    folders = [layout.baseline(job.model)]
                case CalibrationJob():
                    folders = [JobFolder(path) for path in sorted(layout.calibration.glob("*"))]
                case PartJob():
                    folders = []  # other runs may have been cut otherwise
                case QuantizeJob() | CellJob():
                    folders = [layout.cell(job.model, job.method, job.repeat)]
            for folder in folders:
                yield folder, folder.quantization_times if isinstance(job, QuantizeJob) else folder.times


def _beside(run: Path) -> Sequence[Path]:
    """Return the runs beside a run folder, the newest first."""
    try:
        folders = [path for path in run.absolute().parent.iterdir() if (path / CELLS).is_dir()]
        newest = sorted(folders, key=lambda path: path.stat().st_mtime, reverse=True)
    except OSError:  # there is nothing to be learned from what cannot be read
        return ()
    return [path for path in newest if path != run.absolute()][:MOST_RUNS]


def _foreseen(path: Path) -> Mapping[str, Expected]:
    """Return what was foreseen in a run folder, by key; nothing where that cannot be read."""
    try:
        return _FORESEEN.validate_json(read_tail(path, _MOST_FORECAST_BYTES) or b"{}")
    except ValidationError:
        return {}


def _past(job: Job, folder: JobFolder, times: JobTimes) -> _Past | None:
    """Return what is known of a job in a folder; None if it was another one than this."""
    try:
        earlier = job_from_json((read_tail(folder.job, _MOST_JOB_BYTES) or b"").decode("utf-8", "replace"))
    except ValidationError:
        return None
    if isinstance(job, CalibrationJob):
        like = isinstance(earlier, CalibrationJob) and _asks_for(job) == _asks_for(earlier)
        return _Past(times, None, directory_bytes(folder.path)) if like else None
    if isinstance(job, QuantizeJob):
        like = isinstance(earlier, CellJob) and job.components == earlier.components
        checkpoint = folder.checkpoint
        return _Past(times, None, directory_bytes(checkpoint) if checkpoint.is_dir() else 0) if like else None
    if isinstance(earlier, CalibrationJob | QuantizeJob) or isinstance(job, CalibrationJob | QuantizeJob):
        return None
    if isinstance(job, CellJob | BaselineJob) and getattr(earlier, "split", None) != job.split:
        return None
    own, theirs = job.generation, earlier.generation
    makes_clips = not isinstance(job, ReferenceJob)
    if makes_clips and own.sampler != theirs.sampler and None in (own.steps, theirs.steps):
        return None  # each has a number of steps of its own, which nobody said
    return _Past(times, theirs.steps, directory_bytes(folder.path))


def _asks_for(job: CalibrationJob) -> tuple[Any, ...]:
    return job.model, job.request, job.components, job.sampler


def _scaled(past: _Past, job: Job, captions: int) -> Expected:
    """Scale what a job took to the captions and steps of another; steps only where both say how many."""
    more = captions / past.times.captions if past.times.captions else 1.0
    steps = None if isinstance(job, CalibrationJob | QuantizeJob) else job.generation.steps
    longer = steps / past.steps if steps and past.steps else 1.0
    seconds = sum(
        taken * (more if stage in PER_CAPTION else 1.0) * (longer if stage in PER_STEP else 1.0)
        for stage, taken in past.times.seconds.items()
    )
    return Expected(seconds, past.times.peak_bytes, round(past.disk_bytes * more))


def seconds_of(expected: Mapping[str, Expected]) -> dict[str, float]:
    """Return the seconds alone."""
    return {key: one.seconds for key, one in expected.items()}
