"""Another plug-in, package, processor or number of threads runs again what it computes, and nothing else."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from admbench import arithmetic, versions
from admbench.bench import run as run_package
from admbench.bench.run.grid import load_grid
from admbench.bench.run.keys import Keys
from admbench.bench.run.made_by import CODE, RUN
from admbench.bench.run.merging import merge_runs
from admbench.bench.run.plan import _threads
from admbench.bench.run.program import run_job
from admbench.bench.scoring.spec import JudgeSpec
from admbench.errors import UsageError
from admbench.identities import PluginIdentity
from admbench.leaderboard.reading import read_record
from admbench.leaderboard.validating import validate
from admbench.methods.core.checkpoint.formats import registry as formats
from admbench.metrics.extractors import registry as extractors
from admbench.metrics.needs import needed_extractors

from .watched_run import WatchedRun, forget, installed, write_site


class Site:
    """Where the plug-ins lie, each with a distribution of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def release(self, distribution: str) -> None:
        """Let a distribution have another version, and all else be as it was."""
        (metadata,) = self.folder.glob(f"{distribution.replace('-', '_')}-*.dist-info/METADATA")
        metadata.write_text(metadata.read_text().replace("Version: 1.0", "Version: 1.1"))

    def edit(self, kind: str, old: str, new: str) -> None:
        """Change the source of a plug-in."""
        file = self.folder / f"their_{kind}.py"
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new))
        forget()


@pytest.fixture(scope="module")
def kept(plugin_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedRun]:
    """A finished run, and the site that its plug-ins were installed from beside it."""
    folder = tmp_path_factory.mktemp("kept")
    with installed(write_site(plugin_folder, folder / "site"), folder / "cache"):
        WatchedRun(folder / "run").run()
    return WatchedRun(folder / "run")


@pytest.fixture
def finished(kept: WatchedRun, tmp_path: Path) -> Iterator[WatchedRun]:
    """A copy of both; the plug-ins of the copy are installed."""
    shutil.copytree(kept.layout.run.parent, tmp_path, dirs_exist_ok=True)
    with installed(tmp_path / "site", tmp_path / "cache"):
        yield WatchedRun(tmp_path / "run")


@pytest.fixture
def site(finished: WatchedRun) -> Site:
    return Site(finished.layout.run.parent / "site")


def another_torch(site: Site, patch: pytest.MonkeyPatch) -> None:
    real = versions.distribution_versions
    patch.setattr(versions, "distribution_versions", lambda names: real(names) | {"torch": "99.0"})


def another_soundfile(site: Site, patch: pytest.MonkeyPatch) -> None:
    real = versions.distribution_versions
    patch.setattr(versions, "distribution_versions", lambda names: real(names) | {"soundfile": "99.0"})


def another_extractor(site: Site, patch: pytest.MonkeyPatch) -> None:
    real = extractors.identity
    patch.setattr(extractors, "identity", lambda name: replace(real(name), version="99"))


SCORED = {"theirs: score", "fp32: score"}
EMBEDDED = {"reference: features", "baseline: features", "theirs: features"}
QUANTIZED = {"theirs: checkpoint"}
HEARD = {"theirs: latency", "theirs: generate", "theirs: trajectory"}
OF_THE_MODEL = {"baseline: checkpoint", "baseline: texts", "baseline: generate"}
LOADED = {"calibration: calibration", *OF_THE_MODEL, *QUANTIZED, *HEARD, "fp32: latency"}
ALL = {"reference: audio", *LOADED, *EMBEDDED, *SCORED}

Change = Callable[[Site, pytest.MonkeyPatch], object]
CHANGES: Mapping[str, tuple[Change, set[str]]] = {
    # the checkpoint's header has the version, so its bytes are others; its clips come out the same and stay embedded
    "version of a method's class": (
        lambda at, _: at.edit("method", 'version = "1"', 'version = "2"'),
        {*QUANTIZED, *HEARD, "theirs: score"},
    ),
    "version of a method's distribution": (lambda at, _: at.release("their-method"), {*QUANTIZED, "theirs: score"}),
    "source of a method": (lambda at, _: at.edit("method", ", theirs", ", of theirs"), {*QUANTIZED, "theirs: score"}),
    "version of a metric's class": (lambda at, _: at.edit("metric", 'version = "1"', 'version = "2"'), SCORED),
    "version of a metric's distribution": (lambda at, _: at.release("their-metric"), SCORED),
    "version of a judge's class": (
        lambda at, _: at.edit("judge", 'version = "1"', 'version = "2"'),
        {*EMBEDDED, *SCORED},
    ),
    "version of an extractor": (another_extractor, {*EMBEDDED, *SCORED}),
    "source of a suite": (lambda at, _: at.edit("suite", "tones, ", "tones of "), {"reference: audio", *SCORED}),
    "version of a model's distribution": (lambda at, _: at.release("fake-adm"), {*LOADED, *SCORED}),
    "torch": (another_torch, ALL - {"reference: audio"}),
    "soundfile": (another_soundfile, {"reference: audio", *EMBEDDED, *SCORED}),
    "threads": (lambda _, patch: patch.setattr("admbench.bench.run.plan.cores", lambda: 4), ALL),
    "processor": (lambda _, patch: patch.setattr("admbench.arithmetic.instruction_sets", lambda: ["avx2"]), ALL),
    "a variable that changes arithmetic": (lambda _, patch: patch.setenv("DNNL_MAX_CPU_ISA", "AVX2"), ALL),
    "our source of metrics": (
        lambda _, patch: patch.setitem(CODE, "metrics", lambda: "0" * 64),  # type: ignore[arg-type]
        {*EMBEDDED, *SCORED},
    ),
}
"""What changes -> how, and the stages that have to run again."""


def jobs_of(stages: set[str]) -> set[str]:
    """Return the jobs that have to be done for some stages."""
    found = {stage.partition(":")[0] for stage in stages if not stage.startswith(("theirs", "fp32"))}
    cells = {f"cell {stage.partition(':')[0]}" for stage in stages if stage.startswith(("theirs", "fp32"))}
    return found | cells | {"quantize theirs" for cell in cells if cell == "cell theirs"}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changed_is_planned_again_and_nothing_else(
    finished: WatchedRun, site: Site, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    make, stages = CHANGES[change]
    make(site, monkeypatch)
    assert finished.planned() == jobs_of(stages)


def test_a_format_is_part_of_what_loads_a_checkpoint(finished: WatchedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = PluginIdentity("admbench.formats", "theirs", "their_format:Theirs", "1", "their-format", "1.0", None, {})
    monkeypatch.setattr(formats, "identities_of_others", lambda: [theirs])
    loading = {"baseline", "cell theirs", "cell fp32"}
    assert finished.planned() == loading | {"quantize theirs"}, "which puts the checkpoint in the cell's place"


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_the_stages_that_it_computes_run_again_and_only_those(
    finished: WatchedRun, site: Site, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    make, stages = CHANGES[change]
    make(site, monkeypatch)
    assert finished.run() == stages
    assert finished.planned() == set()


def test_an_upgraded_method_has_new_numbers_and_the_record_says_of_which_state(
    finished: WatchedRun, site: Site, kept: WatchedRun
) -> None:
    site.edit("method", 'version = "1"', 'version = "2"')
    site.edit("method", "Theirs(Naive):", "Theirs(Naive):\n    def quantize(self, model, calibration):\n" + HALVED)
    site.release("their-method")
    before = kept.results()
    assert finished.run() == {*QUANTIZED, *HEARD, "theirs: features", "theirs: score"}
    changed = {name for name, value in finished.results().items() if before[name] != value}
    assert changed
    assert {name.split("/")[2].partition("-")[0] for name in changed} == {"theirs"}
    provenance = read_record(finished.cell.record).provenance
    state = provenance.plugins["admbench.methods theirs"]
    assert (state.version, state.distribution, state.distribution_version) == ("2", "their-method", "1.1")
    old = read_record(kept.cell.record).provenance
    assert (old.plugins["admbench.methods theirs"].version, old.code) == ("1", provenance.code)
    others = {name for name in old.plugins if old.plugins[name] == provenance.plugins[name]}
    assert others == {*old.plugins} - {"admbench.methods theirs"}
    assert {name.partition(" ")[0] for name in others} >= {"admbench.models", "admbench.metrics", "admbench.suites"}


HALVED = """        for weight in model.backbone.parameters():
            weight.data.mul_(0.5)
        return super().quantize(model, calibration)

"""


def test_a_run_of_another_machine_is_merged_and_read_as_any(
    finished: WatchedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("admbench.arithmetic.instruction_sets", lambda: ["avx2"])
    whole = WatchedRun(tmp_path / "whole")
    assert merge_runs([finished.layout.run], whole.layout.run).conflicts == ()
    assert all(not checked.problems for checked in validate([whole.layout.run]))
    assert whole.results() == finished.results()
    assert "cell theirs" in whole.planned(), "here it would be computed anew"


BASE: Mapping[str, Any] = {"model": "tiny-tango", "weights": "0" * 64, "method": "naive@w4a8", "repeat": 0}
RESULT_FOLLOWS_FROM: Mapping[str, Mapping[str, Any]] = {
    "model": {"model": "tiny-audioldm"},
    "weights of the model": {"weights": "1" * 64},
    "options of the method": {"method": "naive@w4a8[weights=tensor]"},
    "calibration draw": {"repeat": 1},
    "components": {"components": ["vae"]},
    "captions": {"captions": ("2" * 64, ["a"])},
    "those that are taken of them": {"captions": ("1" * 64, ["a", "b"])},
    "seed": {"seed": 1},
    "sampler": {"generation.sampler": "dpm-solver++"},
    "steps": {"generation.steps": 3},
    "guidance": {"generation.guidance": 2.0},
    "length": {"generation.seconds": 1.0},
    "batch size": {"generation.batch_size": 2},
    "metrics": {"metrics.names": ["fd"]},
    "judge": {"judges": JudgeSpec(tagger="tiny-clap")},
    "threads": {"threads": 2},
    "device": {"execution.device": "cuda"},
}
NO_RESULT_FOLLOWS_FROM: Mapping[str, Any] = {
    "models": ["tiny-tango", "tiny-audioldm"],
    "methods": ["fp32"],
    "repeats": 5,
    "out": "elsewhere",
    "submitter": "Somebody",
    "execution.workers": 7,  # but by the threads that are left to each
    "execution.cell_timeout": 1.0,
    "gate.max": ["fd=+5%"],
}


def key_of(
    model: str,
    weights: str,
    method: str,
    repeat: int,
    threads: int = 1,
    judges: JudgeSpec | None = None,
    captions: tuple[str, list[str]] = ("1" * 64, ["a"]),
    **grid: Any,
) -> str:
    """Return the key of a cell; of what is not given, defaults."""
    spec = load_grid(None, {"models": [model], "methods": [method], "metrics.names": ["fd", "clap"]} | grid)
    needed = needed_extractors(spec.metrics.names)
    keys = Keys(spec, threads, judges or JudgeSpec(), captions, needed["reference"], needed["generated"])
    return keys.cell(model, weights, method, repeat)


def test_settings_that_change_a_result_change_its_key_and_no_others_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {name: key_of(**(BASE | change)) for name, change in RESULT_FOLLOWS_FROM.items()}
    keys["nothing"] = key_of(**BASE)
    assert len(set(keys.values())) == len(keys)
    for name, value in NO_RESULT_FOLLOWS_FROM.items():
        assert key_of(**BASE, **{name: value}) == keys["nothing"], name
    monkeypatch.setattr("admbench.metrics.embedders.judges.TinyTagger.fingerprint", lambda *_: "0" * 64)
    assert key_of(**BASE) not in keys.values(), "weights of a judge, by their content"


def test_the_page_on_running_names_the_packages_that_compute() -> None:
    page = (Path(__file__).parents[2] / "docs" / "running.md").read_text(encoding="utf-8")
    (bullet,) = re.findall(r"^- the versions of what computes: (.*?);$", page, re.MULTILINE | re.DOTALL)
    assert {one for names in versions.COMPUTING.values() for one in names} <= set(re.findall(r"[\w-]+", bullet))


def test_the_libraries_of_the_page_are_told_by_variables_that_are_in_the_keys() -> None:
    page = (Path(__file__).parents[2] / "docs" / "running.md").read_text(encoding="utf-8")
    (listed,) = re.findall(r"variables by which (.*?) choose other ones", page, flags=re.DOTALL)
    told_by = {
        "MKL": "MKL",
        "oneDNN": "DNNL",
        "torch": "TORCH",
        "numpy": "NPY",
        "OpenBLAS": "OPENBLAS",
        "cuBLAS": "CUBLAS",
        "cuDNN": "CUDNN",
    }
    assert re.findall(r"\w+", listed.replace(" and ", ", ")) == [*told_by]
    plain = arithmetic.identity({}, "cpu")
    for library, part in told_by.items():
        names = [name for name in arithmetic.MODES if part in name]
        assert names, library
        assert all(arithmetic.identity({name: "1"}, "cpu") != plain for name in names)


def test_a_job_has_its_share_of_the_cores_or_as_many_as_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("admbench.bench.run.plan.cores", lambda: 7)
    shares = {(2, None): 3, (9, None): 1, (2, 5): 5}
    for (workers, cpus), threads in shares.items():
        assert _threads(load_grid(None, {"execution.workers": workers, "execution.cpus": cpus})) == threads


def test_every_module_that_a_job_runs_is_in_its_keys_or_computes_nothing() -> None:
    folder, seen, pending = Path(str(run_package.__file__)).parent, set[str](), {"program"}
    while pending:
        name = pending.pop()
        seen.add(name)
        source = (folder / f"{name}.py").read_text(encoding="utf-8")
        pending |= {*re.findall(r"from admbench\.bench\.run(?:\.| import )(\w+)", source)} - seen
    assert seen == {*RUN} | COMPUTE_NOTHING
    assert not {*RUN} & COMPUTE_NOTHING


COMPUTE_NOTHING = {
    *(
        "answers",
        "disk",
        "finished",
        "grid",
        "jobs",
        "keys",
        "layout",
        "lease",
        "lease_file",
        "lock",
        "made_by",
        "plugins",
        "products",
        "stages",
        "step_timer",
        "store",
    ),
    *("store_url", "storing", "times"),
}
"""Modules that name, keep, lock, fetch, time, compare; what they decide is in the jobs, or in hashes of products."""


def test_a_job_refuses_to_run_with_anything_else_than_it_was_planned_with(
    finished: WatchedRun, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished.cell.record.unlink()
    (job,) = (job for job in finished.plan().jobs if job.kind == "cell")
    site.edit("method", 'version = "1"', 'version = "2"')
    with pytest.raises(UsageError, match=r"what does not run here \(plugins\.admbench\.methods theirs\..*:"):
        run_job(job)
    with monkeypatch.context() as patch:
        site.edit("method", 'version = "2"', 'version = "1"')
        another_torch(site, patch)
        with pytest.raises(UsageError, match=r"packages\.torch: .*, here 99\.0\); the same command plans anew$"):
            run_job(job)
    assert not finished.cell.record.exists()
