"""A small run with every kind of product in it, of plug-ins that are a distribution each, and which is watched."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import admbench.bench.models
import admbench.bench.suites
import admbench.metrics
import admbench.metrics.embedders
from admbench import methods
from admbench.bench.run.executors.base import Outcome, Task
from admbench.bench.run.grid import GridSpec, load_grid
from admbench.bench.run.jobs import CellJob, Job, QuantizeJob
from admbench.bench.run.layout import JobFolder, RunLayout
from admbench.bench.run.made_by import STAGES
from admbench.bench.run.plan import Plan, make_plan
from admbench.bench.run.runner import CellResult, run_grid
from admbench.bench.run.stages import StageReport
from admbench.bench.scoring.spec import JudgeSpec
from admbench.files import read_json
from admbench.hashing import sha256_file

MODEL = "fake-adm"
_REPORT = StageReport.__call__
THEIRS = "theirs@w4a8[prompts=2,timesteps=2,steps=2]"
JUDGES = JudgeSpec(tagger="their-judge", clap="their-judge")

PLUGINS: Mapping[str, tuple[str, str, str]] = {
    "method": (
        "admbench.methods",
        "theirs",
        """from admbench.methods.naive import Naive


class Theirs(Naive):
    name = "theirs"
    summary = "rounding, theirs"
    version = "1"
""",
    ),
    "metric": (
        "admbench.metrics",
        "their_score",
        """from admbench.metrics.clap import ClapScore


class Theirs(ClapScore):
    name = "their_score"
    summary = "CLAP score, theirs"
    version = "1"
""",
    ),
    "judge": (
        "admbench.judges",
        "their-judge",
        """from fake_adm import BandClap, BandClapJudge


class Network(BandClap):
    name = "their-judge"


class Theirs(BandClapJudge):
    summary = "bands, theirs"
    version = "1"
    network = Network
""",
    ),
    "suite": (
        "admbench.suites",
        "their-suite",
        """import numpy as np

from admbench.bench.suites.base import Suite, SuiteItem


class Theirs(Suite):
    name = "their-suite"
    summary = "tones, theirs"
    version = "1"
    split = "test"
    sha256 = "5" * 64
    items = tuple(SuiteItem(f"tone-{n}", f"tone number {n}", n, reference=str(n)) for n in range(4))

    def reference_audio(self, item):
        return np.sin(np.arange(4096) * (0.05 + 0.02 * item.seed)).astype(np.float32)
""",
    ),
}
"""Kind -> entry-point group, name, and source of the plug-in; each comes with a distribution `their-KIND`."""
_REGISTRIES = (
    admbench.bench.models.registry,
    admbench.bench.suites.registry,
    admbench.metrics.registry,
    admbench.metrics.embedders.registry,
    methods.registry,
)


def write_site(plugin_folder: Path, site: Path) -> Path:
    """Write a folder like a site-packages with the model's distribution and one for each of the others; return it."""
    shutil.copytree(plugin_folder, site)
    for kind, (group, name, source) in PLUGINS.items():
        (site / f"their_{kind}.py").write_text(source)
        info = site / f"their_{kind}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: their-{kind}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{name} = their_{kind}:Theirs\n")
    return site


@contextmanager
def installed(site: Path, cache: Path) -> Iterator[None]:
    """Install what is in a site, for this process and its children, and check method specs in this one."""
    from admbench.bench.run.preflight import check

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")])))
        patch.setenv("ADMBENCH_CACHE", str(cache))
        patch.syspath_prepend(str(site))
        patch.setattr("admbench.bench.run.plan.ask", check)
        forget()
        try:
            yield
        finally:
            forget()


def forget() -> None:
    """Let plug-ins be found and imported anew, as in another process."""
    for registry in _REGISTRIES:
        registry.__dict__.pop("_installed", None)
    for name in [name for name in sys.modules if name == "fake_adm" or name.startswith("their_")]:
        del sys.modules[name]


class Watching:
    """Runs jobs in this process, one after the other, and knows which stages were built for which job."""

    def __init__(self) -> None:
        self.built: set[str] = set()

    def run(self, tasks: Sequence[Task], on_stage: Callable[[Job, str], None]) -> Generator[Outcome, None, None]:
        from admbench.bench.run.program import explain, run_job

        for task in tasks:
            outcome = Outcome(task.job, None, 0.1)
            with pytest.MonkeyPatch.context() as patch:

                def note(this: StageReport, stage: str, job: Job = task.job) -> None:
                    if stage in STAGES:
                        self.built.add(f"{called(job)}: {stage}")
                    _REPORT(this, stage)

                patch.setattr(StageReport, "__call__", note)
                try:
                    run_job(task.job)
                except Exception as error:
                    outcome = Outcome(task.job, explain(error), 0.1)
            yield outcome


def called(job: Job) -> str:
    """Return the kind of a job; of those of one method, the method."""
    return job.method.partition("@")[0] if isinstance(job, (CellJob, QuantizeJob)) else job.kind


class WatchedRun:
    """A run in a folder of its own.

    Args:
        out: the run folder.
    """

    def __init__(self, out: Path) -> None:
        self.layout = RunLayout(out)
        self.cell = self.layout.cell(MODEL, THEIRS)
        self.baseline = self.layout.baseline(MODEL)
        self.reference = self.layout.reference("their-suite")

    def grid(self, **more: Any) -> GridSpec:
        """Return its grid; keyword arguments override, with `__` for the dot of a table."""
        defaults: dict[str, Any] = {
            "models": [MODEL],
            "methods": ["fp32", THEIRS],
            "suite": "their-suite",
            "out": self.layout.run,
            "generation.steps": 2,
            "metrics.names": ["clap", "fd", "their_score", "latent_sqnr"],
            "execution.workers": 2,
        }
        return load_grid(None, defaults | {key.replace("__", "."): value for key, value in more.items()})

    def plan(self) -> Plan:
        """Return what a run would do now."""
        return make_plan(self.grid(), command="bench run", judges=JUDGES)

    def planned(self) -> set[str]:
        """Return the jobs that a run would do now: the kind of each and, of those of one method, the method."""
        return {f"{job.kind} {called(job)}".removesuffix(f" {job.kind}") for job in self.plan().jobs}

    def run(self) -> set[str]:
        """Carry out what is to be done; return the stages that were built, such as `theirs: generate`."""
        watching = Watching()
        results: list[CellResult] = run_grid(self.grid(), command="bench run", judges=JUDGES, executor=watching)
        assert [result.reason for result in results] == [None] * len(results)
        return watching.built

    def results(self) -> dict[str, Any]:
        """Return all that the run found out but for times, memory, and what it was made by."""
        found: dict[str, Any] = {}
        for folder in (self.cell, self.layout.cell(MODEL, "fp32"), self.baseline, self.reference):
            place = folder.path.relative_to(self.layout.run)
            products = [*folder.path.rglob("*.wav"), *folder.path.rglob("*.safetensors"), folder.captions]
            found |= {f"{place}/{path.relative_to(folder.path)}": sha256_file(path) for path in products}
            if folder.record.is_file():
                found[f"{place}: record"] = _untimed(read_json(folder.record))
        return found


def _untimed(record: dict[str, Any]) -> dict[str, Any]:
    latency = {key: record["latency"].get(key) for key in ("kernel", "layers", "reason", "sqnr_db")}
    left = {key: value for key, value in record.items() if key not in ("memory", "provenance", "environment")}
    method = {key: value for key, value in record["method"].items() if key != "seconds"}
    calibration = {key: value for key, value in (record["calibration"] or {}).items() if key != "seconds"}
    return json.loads(json.dumps(left | {"latency": latency, "method": method, "calibration": calibration}))  # type: ignore[no-any-return]


def products_in(folder: JobFolder) -> list[Path]:
    """Return all files of a job's folder."""
    return sorted(path for path in folder.path.rglob("*") if path.is_file())
