"""What a run is asked to do: a grid of models x methods, read from a TOML file and overridden by flags."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from admbench.bench.models.batching import whole_batches
from admbench.bench.models.components import check_components
from admbench.bench.run.store_url import check_url
from admbench.bench.scoring.spec import JudgeSpec
from admbench.bench.suites.spec import CaptionFileSpec
from admbench.errors import UsageError, nearest
from admbench.files import slug
from admbench.leaderboard.fields import NAME_LENGTH
from admbench.leaderboard.inference.margins import parse_margin
from admbench.leaderboard.inference.scores import ScoreKind, score_kind
from admbench.metrics import DEFAULT as DEFAULT_METRICS
from admbench.plain_text import visible

EMBEDDED_GRID = "default_grid.toml"


class _Table(BaseModel):
    """A TOML table: unknown keys are errors, and nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class GenerationSpec(_Table):
    """How audio is sampled; what is left out is the model's own default."""

    sampler: Literal["dpm-solver++"] | None = None
    """Solver that denoises, for calibration too: see `admbench.bench.models.samplers`."""
    steps: int | None = Field(default=None, ge=1, le=1000)
    """Denoising steps; left out: the model's own, of another sampler than its own as many as that takes."""
    guidance: float | None = Field(default=None, ge=0, le=100, allow_inf_nan=False)
    """Classifier-free guidance scale; 1 is no guidance."""
    seconds: float | None = Field(default=None, gt=0, le=600, allow_inf_nan=False)
    """Length of a clip."""
    batch_size: int = Field(default=8, ge=1, le=1024)
    """Captions per batch. Noise is drawn per caption, so that this changes the audio by float noise only."""


class ModelGenerationSpec(_Table):
    """How audio of one model of a grid is sampled, where it is not as of the others; what is left out is as of them."""

    sampler: Literal["own", "dpm-solver++"] | None = None
    """As of `GenerationSpec`; `own` is the model's own."""
    steps: int | None = Field(default=None, ge=1, le=1000)
    """Denoising steps."""
    guidance: float | None = Field(default=None, ge=0, le=100, allow_inf_nan=False)
    """Classifier-free guidance scale."""
    seconds: float | None = Field(default=None, gt=0, le=600, allow_inf_nan=False)
    """Length of a clip."""


class GridGenerationSpec(GenerationSpec):
    """How audio of all models of a grid is sampled, and that of some."""

    models: dict[str, ModelGenerationSpec] = {}
    """By model, where it is sampled otherwise than the others."""

    @property
    def common(self) -> GenerationSpec:
        """How audio is sampled where nothing else is said of a model."""
        return GenerationSpec(**self.model_dump(exclude={"models"}))

    def of(self, model: str) -> GenerationSpec:
        """Return how audio of a model is sampled."""
        own = self.models[model].model_dump(exclude_none=True) if model in self.models else {}
        if own.get("sampler") == "own":
            own["sampler"] = None
        return GenerationSpec(**(self.common.model_dump() | own))


class MetricsSpec(JudgeSpec):
    """Which scores are computed, and by which judges."""

    names: tuple[str, ...] = Field(default=DEFAULT_METRICS, min_length=1)
    """Registry names of the metrics."""

    @property
    def judges(self) -> JudgeSpec:
        """The judges alone."""
        return JudgeSpec(**self.model_dump(include=set(JudgeSpec.model_fields)))


class SlurmSpec(_Table):
    """How jobs are asked for from Slurm; what is left out is the cluster's own default."""

    partition: str | None = None
    """Partition, as of `sbatch --partition`."""
    account: str | None = None
    """Account that is charged."""
    qos: str | None = None
    """Quality of service."""
    constraint: str | None = None
    """Features that a node must have."""
    gres: str | None = None
    """Generic resources, such as `gpu:h100:1`, in place of the plain number of GPUs that a cell needs."""
    minutes: int = Field(default=240, ge=1)
    """Time limit of a Slurm job, which holds `cells_per_job` cells one after the other."""
    memory_gb: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Memory of a Slurm job, where a cell's own is not known from earlier runs or is to be overruled."""
    cells_per_job: int = Field(default=1, ge=1, le=1000)
    """Cells in one Slurm job: more where they take less time than waiting in the queue."""
    attempts: int = Field(default=3, ge=1, le=20)
    """How many times a cell is tried whose Slurm job was lost: a node that failed, a time limit."""


class RaySpec(_Table):
    """Which Ray cluster carries out a run, and how often it may lose a cell."""

    address: str = "auto"
    """`HOST:PORT` of the cluster; `auto` is the one that this machine belongs to."""
    attempts: int = Field(default=3, ge=1, le=20)
    """How many times a cell is tried whose worker or node was lost."""


class ExecutionSpec(_Table):
    """Where and how cells run; nothing here changes a result beyond float noise."""

    device: Literal["cpu", "cuda"] = "cpu"
    """Device of the models."""
    executor: Literal["local", "slurm", "ray"] = "local"
    """Who starts the cells: processes here, or the scheduler of a cluster whose nodes share a file system."""
    workers: int = Field(default=1, ge=1, le=256)
    """Cells side by side; of Slurm, jobs in the queue or at work."""
    cpus: int | None = Field(default=None, ge=1, le=1024)
    """Cores of each cell; None is an equal share of this machine's, which says nothing about a cluster's."""
    split: int | None = Field(default=None, ge=1)
    """Captions of a part: clips of a model or cell with more of them are made in parts, each a job of its own."""
    cell_timeout: float = Field(default=3600.0, gt=0, allow_inf_nan=False)
    """Seconds after which a cell is killed and counted as failed."""
    slurm: SlurmSpec = SlurmSpec()
    ray: RaySpec = RaySpec()

    @model_validator(mode="after")
    def _says_cores_of_a_cluster(self) -> ExecutionSpec:
        """Results are bound to the number of threads: it must not come from the machine that only submits."""
        if self.executor != "local" and self.cpus is None:
            raise ValueError(f"executor {self.executor}: expected cpus, the cores of each cell on the cluster's nodes")
        return self


class GateSpec(_Table):
    """What `bench gate` asks of the run's cells if the command line says nothing else."""

    max: tuple[str, ...] = Field(min_length=1)
    """Margins as typed, such as `fd=+5%`; one a score."""
    allow_undecided: bool = False
    """Whether a cell passes of which it cannot be told."""

    @field_validator("max")
    @classmethod
    def _are_margins(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        """Whether the scores are the run's is said with its metrics, in `plan`; of what kind a plug-in's are, by it."""
        keys = [_margin_key(text) for text in texts]
        for index, key in enumerate(keys):
            if key in keys[:index]:
                raise ValueError(f"two margins of {key}")
        return texts


def _margin_key(text: str) -> str:
    """Return the score of a margin; ValueError if it is none. A score that is not known here may have either sign."""
    key = text.partition("=")[0].strip()
    return parse_margin(text, score_kind(key) or ScoreKind(higher_is_better="=-" in text.replace(" ", ""))).key


class GridSpec(_Table):
    """A whole run: every model with every method on one suite."""

    models: tuple[str, ...] = Field(min_length=1)
    """Registry names of the audio diffusion models."""
    methods: tuple[str, ...] = Field(min_length=1)
    """Method specs, such as `naive@w4a8[weights=tensor]`."""
    components: tuple[str, ...] = ("backbone",)
    """Components of each model that the methods quantize: names of `models.components.COMPONENTS`, or `all`."""
    suite: CaptionFileSpec | str = Field(default="foley", union_mode="left_to_right")
    """Registry name of the captions, path of a caption file, or a table that says how a caption file is read."""
    limit: int | None = Field(default=None, ge=1)
    """Size of the stratified subset of the suite; all of it if left out."""
    repeats: int = Field(default=1, ge=1, le=100)
    """Calibration draws: so many times every method that depends on calibration data is quantized, with other data."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Seed of the run: 0 takes every caption's own seed as it is, another one gives other noise."""
    out: Path
    """Folder of the run."""
    store: str | None = None
    """URL of a folder that all machines of the run reach, such as `s3://bucket/run`: what jobs leave is published there
    too, and each machine works in a folder of its own disk. A URL as `out` is this, with a folder `runs/NAME`."""
    submitter: str | None = Field(default=None, min_length=1, max_length=NAME_LENGTH)
    """Who runs it, as they want to be called in the records; nobody is named unless this says so."""
    generation: GridGenerationSpec = GridGenerationSpec()
    metrics: MetricsSpec = MetricsSpec()
    execution: ExecutionSpec = ExecutionSpec()
    gate: GateSpec | None = None

    @model_validator(mode="after")
    def _only_its_models_are_sampled_otherwise(self) -> GridSpec:
        for name in self.generation.models:
            if name not in self.models:
                raise ValueError(f'generation.models: "{name}" is not in models.{nearest(name, self.models)}')
        return self

    @model_validator(mode="after")
    def _parts_are_whole_batches(self) -> GridSpec:
        """The bits of a clip may depend on how many clips its batches have, those of denoising and of decoding."""
        part, whole = self.execution.split, whole_batches(self.generation.batch_size)
        if part is not None and part % whole:
            raise ValueError(
                f"execution.split: expected a multiple of {whole}, so that batches stay whole; found {part}"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _out_may_be_a_url(cls, table: Any) -> Any:
        out = table.get("out") if isinstance(table, dict) else None
        if not isinstance(out, str) or "://" not in out:
            return table
        if table.get("store") is not None:
            raise ValueError("out and store are both URLs; expected a folder as out")
        name = out.rstrip("/").rpartition("/")[2]
        return table | {"out": f"runs/{slug(name)}", "store": out}

    @field_validator("store")
    @classmethod
    def _is_a_url(cls, url: str | None) -> str | None:
        try:
            return None if url is None else check_url(url)
        except UsageError as error:
            raise ValueError(str(error)) from None

    @field_validator("models", "methods")
    @classmethod
    def _no_duplicates(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for index, name in enumerate(names):
            if name in names[:index]:
                raise ValueError(f'"{name}" is listed twice')
        return names

    @field_validator("submitter")
    @classmethod
    def _shows_all(cls, name: str | None) -> str | None:
        if name is not None and (name != visible(name, name=True) or name != name.strip()):
            raise ValueError(
                f"a name on one line without hidden or look-alike characters; found {visible(name, name=True)!r}"
            )
        return name

    @field_validator("components")
    @classmethod
    def _known_components(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return check_components(names)


def load_grid(path: Path | None, overrides: Mapping[str, Any]) -> GridSpec:
    """Read a grid file, or the embedded default grid, and lay flags over it.

    Args:
        path: a TOML file; None is the embedded grid.
        overrides: dotted key (`generation.steps`, `execution.ray.address`) -> value; None values are flags that were
            not given.

    Raises:
        UsageError: the file is missing or not TOML, a key is unknown (with the nearest), or a value is not valid.
    """
    if path is None:
        origin = "the embedded grid"
        table = tomllib.loads(resources.files("admbench.bench.run").joinpath(EMBEDDED_GRID).read_text(encoding="utf-8"))
    else:
        origin = str(path)
        table = _read_toml(path)
        table.setdefault("out", f"runs/{path.stem}")
    given = {key: value for key, value in overrides.items() if value is not None}
    if path is None and "models" in given:
        table.pop("generation", None)  # the embedded grid's sampler is that of its own models; others may not have it
    _let_flags_count(table, given)
    for key, value in given.items():
        *sections, leaf = key.split(".")
        parent: Any = table
        for section in sections:
            if isinstance(parent, dict):  # otherwise the file has a value where a table belongs: reported below
                parent = parent.setdefault(section, {})
        if isinstance(parent, dict):
            parent[leaf] = value
    try:
        return GridSpec.model_validate(table)
    except ValidationError as error:
        raise UsageError(_explain(error, origin, given)) from None


def _let_flags_count(table: dict[str, Any], given: Mapping[str, Any]) -> None:
    """Take out of what a file says of single models what flags say of all, and models that flags leave out."""
    generation = table.get("generation")
    models = generation.get("models") if isinstance(generation, dict) else None
    if not isinstance(models, dict):
        return
    for name in [one for one in models if "models" in given and one not in given["models"]]:
        del models[name]
    for own in [own for own in models.values() if isinstance(own, dict)]:
        for key in [key for key in own if f"generation.{key}" in given]:
            del own[key]


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path}: no such grid file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read ({error})") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: not valid TOML: {error}") from None


def _explain(error: ValidationError, origin: str, given: Mapping[str, Any]) -> str:
    """Turn a validation error into one line that names the file or flag, the key, and what was expected.

    Of several an unknown key comes first: a misspelt one is often why another is missing.
    """
    errors = error.errors(include_url=False)
    first = next((entry for entry in errors if entry["type"] == "extra_forbidden"), errors[0])
    alternative = CaptionFileSpec.__name__  # not a key: the part of a union in which the mistake was found
    location = [str(part) for part in first["loc"] if isinstance(part, str) and part != alternative]
    key = ".".join(location)
    if first["type"] == "extra_forbidden":
        known = _keys_of(location[:-1])
        return f'{origin}: unknown key "{key}".{nearest(location[-1], known)} Known here: {", ".join(known)}'
    if first["type"] == "missing":
        return f'{origin}: key "{key}" is missing'
    source = f"--{location[-1].replace('_', '-')}" if key in given else f"{origin}: {key}"
    expected = first["msg"].removeprefix("Value error, ")
    if not location:  # what several keys are together: the message names them
        return f"{origin}: {expected}"
    found = "" if first["type"] == "value_error" else f"; found {first['input']!r}"
    return f"{source}: {expected[0].lower()}{expected[1:]}{found}"


def _keys_of(section: list[str]) -> list[str]:
    table: type[BaseModel] = GridSpec
    names = iter(section)
    for name in names:
        annotation = table.model_fields[name].annotation
        alternatives = get_args(annotation) or (annotation,)
        if get_origin(annotation) is dict:
            next(names, None)  # a model's name
        table = next(option for option in alternatives if issubclass(option, BaseModel))
    return list(table.model_fields)
