"""The units of work of a run: serializable, complete, and ignorant of who carries them out.

A run is a small graph of five kinds of jobs. A `ReferenceJob` embeds the suite's real audio, once per run. A
`BaselineJob` makes a model's full-precision audio, features and checkpoint size, once per model. A `CalibrationJob`
draws what methods ask for as calibration data, once for all that ask alike, without any of them. A `QuantizeJob` takes
one method through one model and leaves a packed checkpoint. A `CellJob` makes audio with that checkpoint, scores it and
leaves a record; it reads what the others left, and runs no method. A job names its inputs by content and its outputs by
path, travels as one JSON file, and is done by `python -m admbench.bench.run.program JOB.json` in a process of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from admbench.bench.run.grid import GenerationSpec
from admbench.bench.run.layout import JobFolder, RunLayout
from admbench.bench.run.made_by import MadeBy
from admbench.bench.scoring.spec import JudgeSpec
from admbench.bench.suites.spec import CaptionFileSpec
from admbench.methods.core.calibration.request import CalibrationRequest
from admbench.methods.spec import FULL_PRECISION

TEXTS = "texts"
"""Stage of a baseline that encodes the captions: `captions`, how many were kept, and the `seconds` that it took."""
TRAJECTORY = "trajectory"
"""Stage of a cell that keeps how far each caption's latents are from full precision's, in dB: `decibels`."""


class _Job(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str
    """Content address of the result: hash over all that determines it."""
    run: Path
    """Folder of the run."""
    seed: int
    """Seed of the run."""
    device: str
    """Device of the models."""
    threads: int
    """Threads for the numerical libraries."""
    made_by: MadeBy
    """What the result is made by, as it was when the job was planned; another is refused where the job is done."""
    fresh: bool = False
    """Whether nothing is taken from an earlier result of this job."""
    store: str | None = None
    """URL of the storage that the result is published at too, and whatever the job reads is fetched from; None if all
    that have to do with the run see its folder."""
    reads: dict[str, str] = {}
    """With a store: folder in the run folder that the job reads -> key of the job that published it."""

    @property
    def work(self) -> JobFolder:
        """Where the job builds its products before they are published; a restarted job goes on from them."""
        return RunLayout(self.run).work(self.key)


class _ClipsJob(_Job):
    """A job that leaves clips and their features."""

    suite: CaptionFileSpec | str = Field(union_mode="left_to_right")
    """Registry name, path of a caption file, or a caption file and how it is read."""
    suite_name: str
    """Name of the suite in records and paths: the registry name, or the name of the file."""
    limit: int | None
    """Size of the stratified subset; None is the whole suite."""
    generation: GenerationSpec
    """Sampler settings; None values are the model's defaults."""
    judges: JudgeSpec
    """Judge of each role."""
    extractors: tuple[str, ...]
    """Names of the extractors whose arrays are computed of the job's clips."""

    @property
    def reference(self) -> JobFolder:
        """Where the suite's real audio and features are."""
        return RunLayout(self.run).reference(self.suite_name)


class ReferenceJob(_ClipsJob):
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


class _WholeJob(_ClipsJob):
    """A job that generates clips, or puts together those that the jobs of its parts made."""

    split: int | None = None
    """Captions of a part, where they are more."""


class BaselineJob(_WholeJob):
    """Write a model's full-precision audio, features and checkpoint to `RUN/baselines/MODEL`."""

    kind: Literal["baseline"] = "baseline"
    model: str
    """Registry name of the model."""
    model_sha256: str
    """Fingerprint of the model's weights and code."""
    checkpoint: str
    """Content address of the packed checkpoint in full precision."""

    @property
    def target(self) -> JobFolder:
        """Folder that the job publishes."""
        return RunLayout(self.run).baseline(self.model)

    @property
    def parts(self) -> Path:
        """Folder of the parts that its clips are made in, if they are."""
        return RunLayout(self.run).parts(self.model, None)

    def part(self, first: int) -> JobFolder:
        """Folder of the part that begins with a caption."""
        return RunLayout(self.run).part(self.model, None, 0, first)

    @property
    def name(self) -> str:
        """What progress and errors call the job."""
        return f"{self.model} baseline"


class CalibrationJob(_Job):
    """Draw the calibration sets of a model's components that methods ask for, to `RUN/calibration/KEY`.

    No method runs in it: what its sets hold follows from the request and the model alone, so that methods may share it.
    """

    kind: Literal["calibration"] = "calibration"
    model: str
    """Registry name of the model."""
    model_sha256: str
    """Fingerprint of the model's weights and code."""
    request: CalibrationRequest
    """What is asked for."""
    sampler: str | None = None
    """Solver of the trajectories that are recorded; None is the model's own."""
    draw: int = 0
    """Number of the calibration draw."""
    components: tuple[str, ...] = ("backbone",)
    """Components of the model that are calibrated; `all` is every one that can be."""

    @property
    def target(self) -> JobFolder:
        """Folder that the job publishes."""
        return RunLayout(self.run).calibration_set(self.key)

    @property
    def name(self) -> str:
        """What progress and errors call the job."""
        asked = self.request
        what = f"{asked.sampler}, {asked.prompts} prompts" if asked.prompts > 1 else f"{asked.sampler}, 1 prompt"
        return f"{self.model} calibration set ({what})" + (f", repeat {self.draw}" if self.draw else "")


class QuantizeJob(_Job):
    """Quantize a model with a method and leave the packed checkpoint, for the cell that generates from it.

    The only job that runs a method, in a process that ends with it: nothing else crosses to where audio is made.
    """

    kind: Literal["quantize"] = "quantize"
    model: str
    """Registry name of the model."""
    model_sha256: str
    """Fingerprint of the model's weights and code."""
    method: str
    """Method spec as it was typed."""
    sampler: str | None = None
    """Solver of the trajectories that it is calibrated on; None is the model's own."""
    repeat: int = 0
    """Number of the calibration draw."""
    components: tuple[str, ...] = ("backbone",)
    """Components of the model that the method quantizes."""
    calibration: str | None = None
    """Key of the `CalibrationJob` that drew what the method asks for; None if the method calibrates for itself."""

    @property
    def target(self) -> JobFolder:
        """Folder that the job publishes; it goes when the cell has what it needs of it."""
        return RunLayout(self.run).quantized(self.model, self.method, self.repeat)

    @property
    def cell(self) -> JobFolder:
        """Folder of the cell that the checkpoint is for."""
        return RunLayout(self.run).cell(self.model, self.method, self.repeat)

    @property
    def name(self) -> str:
        """What progress and errors call the job."""
        return f"{_cell_name(self.model, self.method, self.repeat)}: quantization"


class CellJob(_WholeJob):
    """Generate from a packed checkpoint, score, and write the record to `RUN/cells/MODEL/METHOD`.

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
    checkpoint: str
    """Content address of the packed checkpoint: key of its `QuantizeJob`, or that of the baseline in full precision."""
    command: str
    """Command line of the run, for the record."""
    submitter: str | None = None
    """Who runs it, as they call themselves, for the record."""

    @property
    def target(self) -> JobFolder:
        """Folder that the job publishes."""
        return RunLayout(self.run).cell(self.model, self.method, self.repeat)

    @property
    def parts(self) -> Path:
        """Folder of the parts that its clips are made in, if they are."""
        return RunLayout(self.run).parts(self.model, self.method, self.repeat)

    def part(self, first: int) -> JobFolder:
        """Folder of the part that begins with a caption."""
        return RunLayout(self.run).part(self.model, self.method, self.repeat, first)

    @property
    def baseline(self) -> JobFolder:
        """Where the model's full-precision audio and features are."""
        return RunLayout(self.run).baseline(self.model)

    @property
    def quantized(self) -> JobFolder:
        """Where the checkpoint is until the cell has it."""
        return RunLayout(self.run).quantized(self.model, self.method, self.repeat)

    @property
    def name(self) -> str:
        """What progress and errors call the job."""
        return _cell_name(self.model, self.method, self.repeat)


class PartJob(_ClipsJob):
    """Generate the clips of some captions of a large cell, or baseline, which puts them together.

    It reads the checkpoint that the cell reads, and leaves clips and no features.
    """

    kind: Literal["part"] = "part"
    model: str
    """Registry name of the model."""
    model_sha256: str
    """Fingerprint of the model's weights and code."""
    method: str | None
    """Method spec of the cell; None of a baseline."""
    repeat: int = 0
    """Number of the cell's calibration draw."""
    components: tuple[str, ...] = ("backbone",)
    """Components of the model that the method quantizes."""
    checkpoint: str
    """Content address of the packed checkpoint."""
    whole: str
    """Key of the cell or baseline."""
    first: int
    """Number of the first caption, in the order of the run."""
    count: int
    """Number of captions."""

    @property
    def target(self) -> JobFolder:
        """Folder that the job publishes; it goes when the cell has the clips."""
        return RunLayout(self.run).part(self.model, self.method, self.repeat, self.first)

    @property
    def quantized(self) -> JobFolder:
        """Where the checkpoint is; of a baseline, which has none yet, nowhere."""
        return RunLayout(self.run).quantized(self.model, self.method or FULL_PRECISION, self.repeat)

    @property
    def of(self) -> JobFolder:
        """Folder of the cell or baseline."""
        layout = RunLayout(self.run)
        return layout.baseline(self.model) if self.method is None else layout.cell(self.model, self.method, self.repeat)

    @property
    def name(self) -> str:
        """What progress and errors call the job."""
        whole = f"{self.model} baseline" if self.method is None else _cell_name(self.model, self.method, self.repeat)
        return f"{whole}: captions {self.first + 1} to {self.first + self.count}"


def _cell_name(model: str, method: str, repeat: int) -> str:
    return f"{model} {method}" + (f", repeat {repeat}" if repeat else "")


Job = ReferenceJob | BaselineJob | CalibrationJob | QuantizeJob | PartJob | CellJob
ClipsJob = ReferenceJob | BaselineJob | PartJob | CellJob
"""Jobs that leave clips and their features."""

_ADAPTER: TypeAdapter[Job] = TypeAdapter(Annotated[Job, Field(discriminator="kind")])


def job_from_json(text: str) -> Job:
    """Return the job that `job.model_dump_json()` wrote."""
    return _ADAPTER.validate_json(text)
