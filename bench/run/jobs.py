"""The units of work of a run: serializable, complete, and ignorant of who carries them out.

A run is a small graph of three kinds of jobs. A `ReferenceJob` embeds the suite's real audio, once per run. A
`BaselineJob` makes a model's full-precision audio, features and checkpoint size, once per model. A `CellJob` takes one
method through one model and leaves a record; it reads what the first two left. A job names its inputs by content and
its outputs by path, travels as one JSON file, and is done by `python -m admbench.bench.run.program JOB.json`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from admbench.bench.run.grid import GenerationSpec
from admbench.bench.run.layout import JobFolder, RunLayout
from admbench.bench.scoring.spec import JudgeSpec
from admbench.bench.suites.spec import CaptionFileSpec

NO_SPACE = 74
"""Exit code of a job that found its disk full, and so could not leave a reason there."""
TRAJECTORY = "trajectory"
"""Stage of a cell that keeps how far each caption's latents are from full precision's, in dB: `decibels`."""


class _Job(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str
    """Content address of the result: hash over all that determines it."""
    run: Path
    """Folder of the run."""
    suite: CaptionFileSpec | str = Field(union_mode="left_to_right")
    """Registry name, path of a caption file, or a caption file and how it is read."""
    suite_name: str
    """Name of the suite in records and paths: the registry name, or the name of the file."""
    limit: int | None
    """Size of the stratified subset; None is the whole suite."""
    seed: int
    """Seed of the run."""
    generation: GenerationSpec
    """Sampler settings; None values are the model's defaults."""
    judges: JudgeSpec
    """Judge of each role."""
    extractors: tuple[str, ...]
    """Names of the extractors whose arrays are computed of the job's clips."""
    device: str
    """Device of the models."""
    threads: int
    """Threads for the numerical libraries."""
    code: dict[str, str]
    """Stage -> hash of the source that carries it out, so that edited code does not meet stale products."""

    @property
    def work(self) -> JobFolder:
        """Where the job builds its products before they are published; a restarted job goes on from them."""
        return RunLayout(self.run).work(self.key)

    @property
    def reference(self) -> JobFolder:
        """Where the suite's real audio and features are."""
        return RunLayout(self.run).reference(self.suite_name)


class ReferenceJob(_Job):
    """Write the suite's real audio and its features to `RUN/reference/SUITE`."""

    kind: Literal["reference"] = "reference"

    @property
    def target(self) -> JobFolder:
        """Folder that the job publishes."""
        return self.reference

    @property
    def name(self) -> str:
        """What progress and errors call the job."""
        return f"reference audio of {self.suite_name}"


class BaselineJob(_Job):
    """Write a model's full-precision audio, features and checkpoint to `RUN/baselines/MODEL`."""

    kind: Literal["baseline"] = "baseline"
    model: str
    """Registry name of the model."""
    model_sha256: str
    """Fingerprint of the model's weights and code."""

    @property
    def target(self) -> JobFolder:
        """Folder that the job publishes."""
        return RunLayout(self.run).baseline(self.model)

    @property
    def name(self) -> str:
        """What progress and errors call the job."""
        return f"{self.model} baseline"


class CellJob(_Job):
    """Quantize a model with a method, generate, score, and write the record to `RUN/cells/MODEL/METHOD`.

    Of a method that is run with several calibration draws, each is a cell of its own.
    """

    kind: Literal["cell"] = "cell"
    model: str
    """Registry name of the model."""
    model_sha256: str
    """Fingerprint of the model's weights and code."""
    method: str
    """Method spec as it was typed."""
    repeat: int = 0
    """Number of the calibration draw; 0 is that of a run with one."""
    metrics: tuple[str, ...]
    """Registry names of the metrics."""
    components: tuple[str, ...] = ("backbone",)
    """Components of the model that the method quantizes."""
    command: str
    """Command line of the run, for the record."""
    submitter: str | None = None
    """Who runs it, as they call themselves, for the record."""

    @property
    def target(self) -> JobFolder:
        """Folder that the job publishes."""
        return RunLayout(self.run).cell(self.model, self.method, self.repeat)

    @property
    def baseline(self) -> JobFolder:
        """Where the model's full-precision audio and features are."""
        return RunLayout(self.run).baseline(self.model)

    @property
    def name(self) -> str:
        """What progress and errors call the job."""
        return f"{self.model} {self.method}" + (f", repeat {self.repeat}" if self.repeat else "")


Job = ReferenceJob | BaselineJob | CellJob

_ADAPTER: TypeAdapter[Job] = TypeAdapter(Annotated[Job, Field(discriminator="kind")])


def job_from_json(text: str) -> Job:
    """Return the job that `job.model_dump_json()` wrote."""
    return _ADAPTER.validate_json(text)
