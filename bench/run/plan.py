"""From a grid to jobs: names are checked, keys computed, finished cells found. Fast, and without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from admbench.bench.measurement.environment import cores
from admbench.bench.run.asking import Findings, ask
from admbench.bench.run.attempts import has_result
from admbench.bench.run.executors.base import Task
from admbench.bench.run.expecting import Expected, History
from admbench.bench.run.grid import GridSpec
from admbench.bench.run.jobs import BaselineJob, CalibrationJob, CellJob, Job, QuantizeJob, ReferenceJob
from admbench.bench.run.task_graph import lay_out
from admbench.bench.scoring.judges import check_judges, identify
from admbench.bench.scoring.spec import JudgeSpec
from admbench.errors import DataError, PluginError, UsageError, nearest
from admbench.hashing import sha256_json
from admbench.leaderboard.untrusted import read_json
from admbench.methods.core.calibration.request import CalibrationRequest
from admbench.methods.spec import FULL_PRECISION
from admbench.versions import package_version, plugin_identity, source_sha256

if TYPE_CHECKING:
    from admbench.bench.suites.base import Suite, SuiteItem
    from admbench.metrics.extractors.base import Extractor
    from admbench.metrics.needs import Whose

FORMAT = 5
"""Raised when the meaning or the layout of a job's products changes."""
BACKBONE = "backbone"
"""Component that full precision is of."""


@dataclass(frozen=True)
class Plan:
    """All jobs of a run, and which of them are still to be done."""

    run: Path
    """Folder of the run."""
    cells: tuple[CellJob, ...]
    """Every cell of the grid, finished or not, models first."""
    tasks: tuple[Task, ...]
    """What has to be carried out, prerequisites before what needs them."""
    warnings: tuple[str, ...] = ()
    """What is missing but stops nothing; a line each."""
    skipped: Mapping[str, str] = field(default_factory=dict)
    """Key of each cell whose method needs what is not installed here, with the reason; there is no task for it."""
    once: tuple[str, ...] = ()
    """Of a run with several calibration draws: methods that draw nothing, and so are run once."""
    expected: Mapping[str, Expected] = field(default_factory=dict)
    """Key of a job -> what it is expected to take, where such a job was carried out before."""
    captions: int = 0
    """That every cell makes clips for."""
    efforts: Mapping[str, int] = field(default_factory=dict)
    """Method spec -> samples that its reconstruction takes through every block, all iterations together."""

    @property
    def jobs(self) -> tuple[Job, ...]:
        """The jobs to be carried out."""
        return tuple(task.job for task in self.tasks)


def make_plan(grid: GridSpec, *, command: str, judges: JudgeSpec, fresh: bool = False) -> Plan:
    """Check every name of a grid and lay out its jobs.

    Args:
        grid: what to run.
        command: command line, for the records.
        judges: judge of each role.
        fresh: whether finished cells are to be done again.

    Raises:
        BenchError: an unknown model, method, metric, suite or judge, a bad method spec, a broken caption file, or the
            weights of a judge are missing.
    """
    from admbench.bench.suites import load_suite

    _check_names(grid, judges)
    check_judges(judges)
    suite = load_suite(grid.suite)
    items = suite.take(grid.limit)
    if not items:
        raise DataError(f"{suite.name}: the suite has no captions")
    shared = _shared_fields(grid, fresh)
    fields = shared | _clip_fields(grid, suite.name, judges)
    needed = _needed(grid)
    real = [suite.sha256, [item.id for item in items], fields["code"], identify(judges, needed["reference"])]
    reference = ReferenceJob(key=sha256_json(["reference", real]), extractors=_names(needed["reference"]), **fields)
    fields["extractors"] = _names(needed["generated"])
    clips = [real, identify(judges, needed["generated"])]
    baselines: list[BaselineJob] = []
    cells: list[CellJob] = []
    for model in grid.models:
        weights = _fingerprint(model)
        identity = [model, weights, plugin_identity("admbench.models", model)]
        made = [clips, identity, grid.generation.model_dump(), grid.seed, grid.execution.device]
        of_model = {**fields, "model": model, "model_sha256": weights}
        full = _checkpoint_key(grid, shared["code"], identity, FULL_PRECISION, 0)
        baselines.append(BaselineJob(key=sha256_json(["baseline", made]), checkpoint=full, **of_model))
        for repeat, method in product(range(grid.repeats), grid.methods):
            content = ["cell", made, _method_identity(method), grid.components, _metric_identities(grid)]
            key = sha256_json([*content, ["repeat", repeat]] if repeat else content)
            of_cell: dict[str, Any] = {"metrics": grid.metrics.names, "components": grid.components, "repeat": repeat}
            of_cell["checkpoint"] = _checkpoint_key(grid, shared["code"], identity, method, repeat)
            told: dict[str, Any] = {"command": command, "submitter": grid.submitter}
            cells.append(CellJob(key=key, method=method, **told, **of_cell, **of_model))
    found = _findings(grid, [cell for cell in cells if fresh or not is_done(cell)])
    cells = [cell for cell in cells if not cell.repeat or cell.method not in found.fixed]
    pending = [cell for cell in cells if fresh or not is_done(cell)]
    skipped = {cell.key: found.unavailable[cell.method] for cell in pending if cell.method in found.unavailable}
    pending = [cell for cell in pending if cell.key not in skipped]
    once = tuple(method for method in grid.methods if method in found.fixed) if grid.repeats > 1 else ()
    made_of = [(cell, _quantization(cell, shared, found)) for cell in pending]
    tasks = lay_out(reference, baselines, made_of, lambda job: fresh or not is_done(job))
    expected = History(grid.out).expect((task.job for task in tasks), len(items)) if tasks else {}
    warnings = _missing_audio(suite, items)
    return Plan(grid.out, tuple(cells), tasks, warnings, skipped, once, expected, len(items), found.efforts)


def _findings(grid: GridSpec, pending: Sequence[CellJob]) -> Findings:
    """Return what is to be known of the methods of cells that are not done; of several draws, of all methods.

    So a finished run of one draw starts no process.
    """
    methods = grid.methods if grid.repeats > 1 else {cell.method for cell in pending}
    return ask(sorted(methods), grid.execution.device) if methods else Findings()


def _needed(grid: GridSpec) -> dict[Whose, list[Extractor]]:
    """Return what is computed of real and of generated clips; a metric that cannot be loaded fails in its cells."""
    from admbench.metrics.needs import needed_extractors

    names = []
    for name in grid.metrics.names:
        try:
            needed_extractors([name])
        except PluginError:
            continue
        names.append(name)
    return needed_extractors(names)


def _names(extractors: Sequence[Extractor]) -> tuple[str, ...]:
    return tuple(one.name for one in extractors)


def _missing_audio(suite: Suite, items: Sequence[SuiteItem]) -> tuple[str, ...]:
    """Return a warning if captions lack the real audio they should have."""
    references = suite.describe(items)["references"]
    if not references["missing"]:
        return ()
    listed = ", ".join(references["first_missing"])
    more = ", ..." if references["missing"] > len(references["first_missing"]) else ""
    return (f"{suite.name}: no reference clip for {references['missing']} of {len(items)} captions: {listed}{more}",)


def _shared_fields(grid: GridSpec, fresh: bool) -> dict[str, Any]:
    """Return the fields that all jobs of a run have in common."""
    return {
        "run": grid.out,
        "seed": grid.seed,
        "device": grid.execution.device,
        "threads": max(1, cores() // grid.execution.workers),
        "code": {
            "methods": source_sha256("admbench.methods"),
            "models": source_sha256("admbench.bench.models"),
            "metrics": source_sha256("admbench.metrics"),
            "harness": sha256_json([FORMAT, package_version()]),
        },
        "fresh": fresh,
    }


def _clip_fields(grid: GridSpec, suite_name: str, judges: JudgeSpec) -> dict[str, Any]:
    """Return the fields that jobs which make clips have in common beyond those."""
    return {
        "suite": grid.suite,
        "suite_name": suite_name,
        "limit": grid.limit,
        "generation": grid.generation,
        "judges": judges,
    }


def _checkpoint_key(grid: GridSpec, code: Mapping[str, str], model: Sequence[str], method: str, repeat: int) -> str:
    """Return the content address of a packed checkpoint.

    Args:
        grid: what is run.
        code: hashes of the source.
        model: its identity.
        method: spec; full precision is of the backbone alone, and no draw changes it.
        repeat: number of the calibration draw.
    """
    whole = method == FULL_PRECISION
    components = (BACKBONE,) if whole else grid.components
    parts = [code[name] for name in ("harness", "models", "methods")]
    what = [model, _method_identity(method), components, grid.seed, grid.execution.device, parts]
    return sha256_json(["checkpoint", what, ["repeat", 0 if whole else repeat]])


def _calibration(cell: CellJob, shared: Mapping[str, Any], request: CalibrationRequest) -> CalibrationJob:
    """Return the job that draws what a cell's method asks for; the same one for all methods that ask alike."""
    of_model: dict[str, Any] = {"model": cell.model, "model_sha256": cell.model_sha256, "components": cell.components}
    identity = plugin_identity("admbench.models", cell.model)
    code = [cell.code[name] for name in ("harness", "models", "methods")]
    content = [of_model, identity, request.model_dump(), cell.repeat, cell.seed, cell.device, code]
    return CalibrationJob(
        key=sha256_json(["calibration", content]), request=request, draw=cell.repeat, **of_model, **shared
    )


def _quantization(cell: CellJob, shared: Mapping[str, Any], found: Findings) -> tuple[Job, ...]:
    """Return the jobs that make a cell's packed checkpoint, in their order; full precision has that of the baseline."""
    if cell.method == FULL_PRECISION:
        return ()
    request = found.requests.get(cell.method)
    calibration = None if request is None else _calibration(cell, shared, request)
    quantize = QuantizeJob(
        key=cell.checkpoint,
        model=cell.model,
        model_sha256=cell.model_sha256,
        method=cell.method,
        repeat=cell.repeat,
        components=cell.components,
        calibration=None if calibration is None else calibration.key,
        **shared,
    )
    return (quantize,) if calibration is None else (calibration, quantize)


def _method_identity(spec: str) -> list[str]:
    return [spec, plugin_identity("admbench.methods", _method_name(spec))]


def _metric_identities(grid: GridSpec) -> list[list[str]]:
    return [[name, plugin_identity("admbench.metrics", name)] for name in grid.metrics.names]


def is_done(job: Job) -> bool:
    """Return whether the published folder of a job is for its key and, for a cell, holds all results of one done."""
    try:
        if read_json(job.target.path, job.target.job)["key"] != job.key:
            return False
    except (DataError, KeyError, TypeError):
        return False  # missing or damaged: to be done again
    return not isinstance(job, CellJob) or has_result(job.target)


def _check_names(grid: GridSpec, judges: JudgeSpec) -> None:
    """Refuse unknown names and malformed method specs before anything runs."""
    from admbench.bench.models.checks import check_components_of, check_model
    from admbench.methods import registry as methods
    from admbench.metrics.keys import check_key

    for model in grid.models:
        check_model(model)
        check_components_of(model, grid.components)
    for spec in grid.methods:
        methods.check(_method_name(spec))
    for metric in grid.metrics.names:
        check_key(metric)
    if grid.gate is not None:
        _check_margins(grid.gate.max, grid.metrics.names, judges)


def _check_margins(margins: Sequence[str], metrics: Sequence[str], judges: JudgeSpec) -> None:
    """Refuse a margin of a score that the run does not have; of a metric that cannot be loaded nobody knows."""
    from admbench.metrics.keys import score_keys

    try:
        keys = score_keys(list(metrics), judges.further())
    except PluginError:
        return
    for margin in margins:
        key = margin.partition("=")[0].strip()
        if key not in keys:
            known = f"{nearest(key, keys)} Scores: {', '.join(keys)}"
            raise UsageError(f'gate.max: no metric of the run gives "{key}".{known}')


def _fingerprint(model: str) -> str:
    """Return the hash of a model's weights; where there is none to be had, the reason, which its cells will report."""
    from admbench.bench.models import fingerprint

    try:
        return fingerprint(model)
    except Exception as error:  # a plug-in may fail in any way
        return f"not loadable: {error}"


def _method_name(spec: str) -> str:
    from admbench.methods.spec import MethodSpec

    return MethodSpec.parse(spec).name
