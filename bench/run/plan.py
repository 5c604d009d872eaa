"""From a grid to jobs: names are checked, keys computed, finished cells found. Fast, and without torch."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any

from admbench import children
from admbench.bench.measurement.environment import cores
from admbench.bench.run import preflight
from admbench.bench.run.executors.base import Task
from admbench.bench.run.grid import GridSpec
from admbench.bench.run.jobs import BaselineJob, CellJob, Job, ReferenceJob
from admbench.bench.run.preflight import Findings
from admbench.bench.scoring.judges import check_judges, identify
from admbench.bench.scoring.spec import JudgeSpec
from admbench.errors import DataError, PluginError, UsageError, nearest
from admbench.files import read_json
from admbench.hashing import sha256_json
from admbench.versions import package_version, source_sha256

if TYPE_CHECKING:
    from admbench.bench.suites.base import Suite, SuiteItem
    from admbench.metrics.extractors.base import Extractor
    from admbench.metrics.needs import Whose

FORMAT = 4
"""Raised when the meaning or the layout of a job's products changes."""
PREFLIGHT_TIMEOUT = 900.0


@dataclass(frozen=True)
class Plan:
    """All jobs of a run, and which of them are still to be done."""

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
    from admbench.bench.models import identity as model_identity
    from admbench.bench.suites import load_suite

    _check_names(grid, judges)
    check_judges(judges)
    suite = load_suite(grid.suite)
    items = suite.take(grid.limit)
    if not items:
        raise DataError(f"{suite.name}: the suite has no captions")
    fields = _shared_fields(grid, suite.name, judges)
    needed = _needed(grid)
    real = [suite.sha256, [item.id for item in items], fields["code"], identify(judges, needed["reference"])]
    reference = ReferenceJob(key=sha256_json(["reference", real]), extractors=_names(needed["reference"]), **fields)
    fields["extractors"] = _names(needed["generated"])
    clips = [real, identify(judges, needed["generated"])]
    baselines, cells = [], []
    for model in grid.models:
        weights = _fingerprint(model)
        identity = [model, weights, model_identity(model).sha256]
        made = [clips, identity, grid.generation.model_dump(), grid.seed, grid.execution.device]
        of_model = {**fields, "model": model, "model_sha256": weights}
        baselines.append(BaselineJob(key=sha256_json(["baseline", made]), **of_model))
        for repeat, method in product(range(grid.repeats), grid.methods):
            content = ["cell", made, _method_identity(method), grid.components, _metric_identities(grid)]
            key = sha256_json([*content, ["repeat", repeat]] if repeat else content)
            of_cell: dict[str, Any] = {"metrics": grid.metrics.names, "components": grid.components, "repeat": repeat}
            cells.append(CellJob(key=key, method=method, command=command, **of_cell, **of_model))
    found = _findings(grid, [cell for cell in cells if fresh or not is_done(cell)])
    cells = [cell for cell in cells if not cell.repeat or cell.method not in found.fixed]
    pending = [cell for cell in cells if fresh or not is_done(cell)]
    skipped = {cell.key: found.unavailable[cell.method] for cell in pending if cell.method in found.unavailable}
    pending = [cell for cell in pending if cell.key not in skipped]
    once = tuple(method for method in grid.methods if method in found.fixed) if grid.repeats > 1 else ()
    tasks = _tasks(reference, baselines, pending, fresh)
    return Plan(tuple(cells), tasks, _missing_audio(suite, items), skipped, once)


def _findings(grid: GridSpec, pending: Sequence[CellJob]) -> Findings:
    """Return what is to be known of the methods of cells that are not done; of several draws, of all methods.

    So a finished run of one draw starts no process.
    """
    methods = grid.methods if grid.repeats > 1 else {cell.method for cell in pending}
    return _preflight(sorted(methods), grid.execution.device) if methods else Findings()


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


def _shared_fields(grid: GridSpec, suite_name: str, judges: JudgeSpec) -> dict[str, Any]:
    """Return the fields that all jobs of a run have in common."""
    return {
        "run": grid.out,
        "suite": grid.suite,
        "suite_name": suite_name,
        "limit": grid.limit,
        "seed": grid.seed,
        "generation": grid.generation,
        "judges": judges,
        "device": grid.execution.device,
        "threads": max(1, cores() // grid.execution.workers),
        "code": {
            "methods": source_sha256("admbench.methods"),
            "models": source_sha256("admbench.bench.models"),
            "metrics": source_sha256("admbench.metrics"),
            "harness": sha256_json([FORMAT, package_version()]),
        },
    }


def _method_identity(spec: str) -> list[str]:
    from admbench.methods import registry

    return [spec, registry.identity(_method_name(spec)).sha256]


def _metric_identities(grid: GridSpec) -> list[str]:
    from admbench.metrics import registry

    return [registry.identity(name).sha256 for name in grid.metrics.names]


def is_done(job: Job) -> bool:
    """Return whether the published folder of a job is for its key and, for a cell, holds all results of one done."""
    try:
        if read_json(job.target.job)["key"] != job.key:
            return False
        if not isinstance(job, CellJob):
            return True
        return read_json(job.target.record)["status"] == "done" and job.target.per_caption.is_file()
    except (DataError, KeyError, TypeError):
        return False  # missing or damaged: to be done again


def _tasks(
    reference: ReferenceJob, baselines: list[BaselineJob], pending: list[CellJob], fresh: bool
) -> tuple[Task, ...]:
    """Order the pending cells behind what they need, a model's baseline right before its cells."""
    tasks = []
    if pending and (fresh or not is_done(reference)):
        tasks.append(Task(reference))
    prepared = {task.job.key for task in tasks}
    for baseline in baselines:
        cells = [cell for cell in pending if cell.model == baseline.model]
        if cells and (fresh or not is_done(baseline)):
            tasks.append(Task(baseline))
            prepared.add(baseline.key)
        needed = tuple(key for key in (reference.key, baseline.key) if key in prepared)
        tasks += [Task(cell, after=needed) for cell in cells]
    return tuple(tasks)


def _check_names(grid: GridSpec, judges: JudgeSpec) -> None:
    """Refuse unknown names and malformed method specs before anything runs."""
    from admbench.bench.models.checks import check_components_of, check_model
    from admbench.methods import registry as methods
    from admbench.metrics import registry as metrics

    for model in grid.models:
        check_model(model)
        check_components_of(model, grid.components)
    for spec in grid.methods:
        methods.check(_method_name(spec))
    for metric in grid.metrics.names:
        metrics.check(metric)
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


def _preflight(methods: list[str], device: str) -> Findings:
    """Let a child process build every method from its spec, which takes torch and runs other people's code.

    Only a user's mistake is raised. A plug-in that crashes or hangs here fails in its own cells, where it is reported.
    Then nothing is known of any method, and each is taken for one that depends on its calibration draw.
    """
    try:
        child = subprocess.run(
            children.command("admbench.bench.run.preflight"),
            input=json.dumps({"methods": methods, "device": device}),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PREFLIGHT_TIMEOUT,
            env=children.environment(),
        )
    except subprocess.TimeoutExpired:
        return Findings()
    if child.returncode == preflight.USER_MISTAKE:
        raise UsageError(child.stderr.strip().splitlines()[-1])
    return Findings.model_validate_json(child.stdout.splitlines()[-1]) if child.returncode == 0 else Findings()
