"""Runs for the tests: a small plug-in distribution that child processes find, and grids over it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from admbench import cache
from admbench.bench.run.grid import GridSpec, load_grid
from admbench.bench.scoring.spec import JudgeSpec
from admbench.files import read_json

from .embedded_run import make_embedded_run

ENTRY_POINTS = """
[admbench.models]
fake-adm = fake_adm:FakeADM
no-such-module = fake_adm_missing:Nothing
[admbench.methods]
raises = fake_adm:Raises
killed = fake_adm:Killed
hangs = fake_adm:Hangs
chatters = fake_adm:Chatters
allocates = fake_adm:Allocates
absent = fake_adm:Absent
exits = fake_adm:Exits
meddles = fake_adm:Meddles
overflows = fake_adm:Overflows
cannot-import = fake_adm_missing:Nothing
[admbench.judges]
band-tagger = fake_adm:BandTaggerJudge
band-clap = fake_adm:BandClapJudge
"""
CAPTIONS = "a dog barks\nrain falls\na bell rings twice\nwind blows\n"


@pytest.fixture(scope="session")
def plugin_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like a site-packages with the distribution `fake-adm` in it."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copy(Path(__file__).parent / "plugins" / "fake_adm.py", folder)
    info = folder / "fake_adm-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fake-adm\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    return folder


@pytest.fixture(scope="session")
def embedded_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the embedded models, which takes minutes: for slow tests. Read only."""
    return make_embedded_run(tmp_path_factory)


@pytest.fixture
def plugins(plugin_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Install the distribution for this process and its children, and put the user's cache elsewhere."""
    path = os.pathsep.join(filter(None, [str(plugin_folder), os.environ.get("PYTHONPATH")]))
    monkeypatch.setenv("PYTHONPATH", path)
    compiled = cache.root() / "native"
    if compiled.is_dir():  # what takes a second to compile, and is the same
        shutil.copytree(compiled, tmp_path / "cache" / "native")
    monkeypatch.setenv("ADMBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(str(plugin_folder))
    _forget_entry_points()
    yield
    _forget_entry_points()
    sys.modules.pop("fake_adm", None)


def _forget_entry_points() -> None:
    import admbench.bench.models
    import admbench.metrics.embedders
    from admbench import methods

    for registry in (admbench.bench.models.registry, methods.registry, admbench.metrics.embedders.registry):
        registry.__dict__.pop("_installed", None)


@pytest.fixture
def captions(tmp_path: Path) -> Path:
    path = tmp_path / "captions.txt"
    path.write_text(CAPTIONS)
    return path


@pytest.fixture
def make_grid(plugins: None, tmp_path: Path, captions: Path) -> Callable[..., GridSpec]:
    """A grid over the fake model; keyword arguments override, with `__` for the dot of a table."""

    def make(**overrides: Any) -> GridSpec:
        defaults = {
            "models": ["fake-adm"],
            "methods": ["fp32", "naive@w4a8[prompts=2,timesteps=2,steps=2]"],
            "suite": str(captions),
            "out": tmp_path / "run",
            "generation.steps": 2,
            "generation.batch_size": 2,
            "execution.workers": 2,
            "execution.cell_timeout": 120.0,
        }
        return load_grid(None, defaults | {key.replace("__", "."): value for key, value in overrides.items()})

    return make


@pytest.fixture
def check_specs_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check method specs in this process, which is quicker than in a child."""
    from admbench.bench.run.preflight import check

    monkeypatch.setattr("admbench.bench.run.plan.ask", check)


@pytest.fixture
def fake_judges(plugins: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the command line judge with the small networks of the test distribution."""
    monkeypatch.setattr(
        "admbench.bench.run.runner._judges_of", lambda _: JudgeSpec(tagger="band-tagger", clap="band-clap")
    )


@pytest.fixture
def run_on(make_grid: Callable[..., GridSpec]) -> Callable[..., dict[str, Any]]:
    """Take a model through every stage of a run, all its components quantized; the record of the quantized cell."""
    from admbench.bench.run.runner import run_grid

    def run(model: str, seconds: float | None = None) -> dict[str, Any]:
        spec = "naive@w4a8[prompts=2,timesteps=2,steps=2]"
        options = {"limit": 2, "generation__seconds": seconds, "execution__cell_timeout": 600.0}
        grid = make_grid(models=[model], methods=["fp32", spec], components=["all"], **options)
        assert [result.reason for result in run_grid(grid, command="bench run")] == [None, None]
        (record,) = (read_json(file) for file in grid.out.glob("cells/*/naive*/result.json"))
        for key in ("clap", "fd_vs_baseline", "kl_vs_baseline"):
            assert record["scores"][key]["value"] is not None
        assert (record["audio"]["clips"], record["audio"]["nan"], record["audio"]["too_short"]) == (2, 0, 0)
        assert record["size"]["pipeline"]["reduction"] > 0.3
        assert record["latency"]["kernel"] is not None
        return dict(record)

    return run
