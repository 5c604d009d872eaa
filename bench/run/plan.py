"""From a grid to jobs: names are checked, keys computed, finished cells found. Fast, and without torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from admbench.bench.measurement.environment import cores
from admbench.bench.run.asking import Findings, ask
from admbench.bench.run.executors.base import Resources, Task
from admbench.bench.run.expecting import Expected, History
from admbench.bench.run.finished import is_done
from admbench.bench.run.grid import GridSpec
from admbench.bench.run.jobs import BaselineJob, CalibrationJob, CellJob, Job, PartJob, QuantizeJob, ReferenceJob
from admbench.bench.run.keys import Keys
from admbench.bench.run.made_by import MadeBy
from admbench.bench.run.plugins import made_by
from admbench.bench.run.splitting import cut
from admbench.bench.run.task_graph import lay_out
from admbench.bench.scoring.judges import check_judges
from admbench.bench.scoring.spec import JudgeSpec
from admbench.errors import DataError, PluginError, UsageError, nearest
from admbench.methods.spec import FULL_PRECISION

if TYPE_CHECKING:
    from admbench.bench.suites.base import Suite, SuiteItem
    from admbench.metrics.extractors.base import Extractor
    from admbench.metrics.needs import Whose

OneJob = TypeVar("OneJob", ReferenceJob, BaselineJob, CalibrationJob, QuantizeJob, PartJob, CellJob)
Whole = TypeVar("Whole", BaselineJob, CellJob)


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


Asking = Callable[[list[str], str, int], Findings]
"""Says what is to be known of method specs on a device, with so many threads."""


class Finding(Protocol):
    """Says whether a job need not be carried out; see `admbench.bench.run.finished.is_done`."""

    def __call__(self, job: Job, *, whole: bool = False) -> bool:
        """Return whether it need not."""
        ...


def make_plan(
    grid: GridSpec,
    *,
    command: str,
    judges: JudgeSpec,
    fresh: bool = False,
    asking: Asking | None = None,
    finished: Finding | None = None,
) -> Plan:
    """Check every name of a grid and lay out its jobs.

    Args:
        grid: what to run.
        command: command line, for the records.
        judges: judge of each role.
        fresh: whether finished cells are to be done again.
        asking: who is asked of method specs; None is a process that is started for it.
        finished: says which jobs need not be carried out; None is `is_done`.

    Raises:
        BenchError: an unknown model, method, metric, suite or judge, a bad method spec, a broken caption file, or the
            weights of a judge are missing.
    """
    from admbench.bench.suites import load_suite

    finished = finished or is_done
    _check_names(grid, judges)
    check_judges(judges)
    suite = load_suite(grid.suite)
    items = suite.take(grid.limit)
    if not items:
        raise DataError(f"{suite.name}: the suite has no captions")
    shared = _shared_fields(grid, fresh)
    fields = shared | _clip_fields(grid, suite.name, judges)
    needed = _needed(grid)
    captions = [suite.sha256, [item.id for item in items]]
    keys = Keys(grid, shared["threads"], judges, captions, needed["reference"], needed["generated"])
    reference = _made(ReferenceJob(key=keys.reference(), extractors=_names(needed["reference"]), **fields), keys)
    fields["extractors"] = _names(needed["generated"])
    baselines: list[BaselineJob] = []
    cells: list[CellJob] = []
    parts: dict[str, list[PartJob]] = {}
    for model in grid.models:
        weights = _fingerprint(model)
        generation = grid.generation.of(model)
        of_model = {**fields, "model": model, "model_sha256": weights, "generation": generation}
        full = keys.checkpoint(model, weights, FULL_PRECISION, 0)
        split = grid.execution.split
        baseline = BaselineJob(key=keys.baseline(model, weights), checkpoint=full, split=split, **of_model)
        baseline = _in_parts(_made(baseline, keys), len(items), keys, parts)
        baselines.append(baseline)
        for repeat, method in product(range(grid.repeats), grid.methods):
            told: dict[str, Any] = {"command": command, "submitter": grid.submitter, "repeat": repeat}
            cell = CellJob(
                key=keys.cell(model, weights, method, repeat),
                method=method,
                metrics=grid.metrics.names,
                components=grid.components,
                checkpoint=keys.checkpoint(model, weights, method, repeat),
                split=split,
                **told,
                **of_model,
            )
            cell = _reading(_made(cell, keys), reference, baseline)
            cells.append(cell if method == FULL_PRECISION else _in_parts(cell, len(items), keys, parts))
    pending = [cell for cell in cells if fresh or not finished(cell)]
    found = _findings(grid, pending, asking)
    cells = [cell for cell in cells if not cell.repeat or cell.method not in found.fixed]
    pending = [cell for cell in pending if not cell.repeat or cell.method not in found.fixed]
    skipped = {cell.key: found.unavailable[cell.method] for cell in pending if cell.method in found.unavailable}
    pending = [cell for cell in pending if cell.key not in skipped]
    once = tuple(method for method in grid.methods if method in found.fixed) if grid.repeats > 1 else ()
    made_of = [(cell, _quantization(cell, shared, found, keys)) for cell in pending]
    tasks = lay_out(reference, baselines, made_of, lambda job: fresh or not finished(job, whole=True), parts)
    expected = History(grid.out).expect((task.job for task in tasks), len(items)) if tasks else {}
    tasks = tuple(replace(task, resources=_resources(task.job, expected)) for task in tasks)
    warnings = _missing_audio(suite, items)
    return Plan(grid.out, tuple(cells), tasks, warnings, skipped, once, expected, len(items), found.efforts)


def _resources(job: Job, expected: Mapping[str, Expected]) -> Resources:
    return Resources.of(job, expected[job.key].peak_bytes if job.key in expected else None)


def _findings(grid: GridSpec, pending: Sequence[CellJob], asking: Asking | None) -> Findings:
    """Return what is to be known of the methods of cells that are not done; of several draws, of all methods.

    So a finished run of one draw starts no process.
    """
    methods = grid.methods if grid.repeats > 1 else {cell.method for cell in pending}
    execution = grid.execution
    here = execution.device if execution.executor == "local" else "cpu"  # a login node has no device of its cluster's
    if not methods:
        return Findings()
    return ask(sorted(methods), here) if asking is None else asking(sorted(methods), here, _threads(grid))


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
        "threads": _threads(grid),
        "made_by": MadeBy(),
        "fresh": fresh,
        "store": grid.store,
    }


def _threads(grid: GridSpec) -> int:
    return grid.execution.cpus or max(1, cores() // grid.execution.workers)


def _clip_fields(grid: GridSpec, suite_name: str, judges: JudgeSpec) -> dict[str, Any]:
    """Return the fields that jobs which make clips have in common beyond those."""
    return {
        "suite": grid.suite,
        "suite_name": suite_name,
        "limit": grid.limit,
        "generation": grid.generation.common,
        "judges": judges,
    }


def _quantization(cell: CellJob, shared: Mapping[str, Any], found: Findings, keys: Keys) -> tuple[Job, ...]:
    """Return the jobs that make a cell's packed checkpoint, in their order; full precision has that of the baseline."""
    if cell.method == FULL_PRECISION:
        return ()
    of_model: dict[str, Any] = {
        "model": cell.model,
        "model_sha256": cell.model_sha256,
        "components": cell.components,
        "sampler": cell.generation.sampler,
    }
    request = found.requests.get(cell.method)
    calibration = None
    if request is not None:  # the same job for all methods that ask alike
        key = keys.calibration(cell.model, cell.model_sha256, request, cell.repeat)
        calibration = _made(CalibrationJob(key=key, request=request, draw=cell.repeat, **of_model, **shared), keys)
    quantize = QuantizeJob(
        key=cell.checkpoint,
        method=cell.method,
        repeat=cell.repeat,
        calibration=None if calibration is None else calibration.key,
        **of_model,
        **shared,
    )
    quantize = _made(quantize, keys)
    if cell.store is not None and calibration is not None:
        quantize = quantize.model_copy(update={"reads": _places([calibration])})
    return (quantize,) if calibration is None else (calibration, quantize)


def _reading(cell: CellJob, reference: ReferenceJob, baseline: BaselineJob) -> CellJob:
    """Return a cell that says, where its run has storage, what it reads of it."""
    if cell.store is None:
        return cell
    reads = _places([reference, baseline])
    if cell.method != FULL_PRECISION:
        reads[cell.quantized.path.relative_to(cell.run).as_posix()] = cell.checkpoint
    return cell.model_copy(update={"reads": reads})


def _in_parts(job: Whole, captions: int, keys: Keys, parts: dict[str, list[PartJob]]) -> Whole:
    """Note the parts that a job's clips are made in, if they are; return the job, which says that it reads them."""
    own = [_made(part, keys) for part in cut(job, captions, keys)]
    if own:
        parts[job.key] = own
    return job if job.store is None or not own else job.model_copy(update={"reads": job.reads | _places(own)})


def _places(jobs: Sequence[Job]) -> dict[str, str]:
    return {job.target.path.relative_to(job.run).as_posix(): job.key for job in jobs}


def _made(job: OneJob, keys: Keys) -> OneJob:
    """Return a job with what it would be made by here."""
    return job.model_copy(update={"made_by": made_by(job, keys.plugins)})


def _check_names(grid: GridSpec, judges: JudgeSpec) -> None:
    """Refuse unknown names and malformed method specs before anything runs."""
    from admbench.bench.models.checks import check_components_of, check_model, check_sampler_of
    from admbench.methods import registry as methods
    from admbench.metrics.keys import check_key

    for model in grid.models:
        check_model(model)
        check_components_of(model, grid.components)
        check_sampler_of(model, grid.generation.of(model).sampler)
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
