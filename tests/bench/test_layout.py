"""Paths of a run: safe for any name, and the same for the harness that writes and the board that reads."""

import re
from pathlib import Path

import pytest

from admbench.bench.run.grid import GenerationSpec
from admbench.bench.run.jobs import CellJob
from admbench.bench.run.layout import JobFolder, RunLayout
from admbench.bench.run.made_by import MadeBy
from admbench.bench.run.records import failed_record, write_record
from admbench.bench.scoring.spec import JudgeSpec
from admbench.leaderboard import read_runs
from admbench.leaderboard import record as schema
from admbench.leaderboard.run_folder import BASELINES, CELLS, REFERENCE, VALIDATION_FILE
from admbench.methods import spec

RUN = Path("runs/trial")
PAGE = Path(__file__).parents[2] / "docs" / "running.md"
PASSING = {"stage.txt", "step.json", "failure.json", "sets"}
"""Names of what is gone, or is inside of a folder that is named, when a job is done."""


def test_names_are_those_of_the_page_on_running():
    cell = RunLayout(RUN).cell("tiny-tango", "naive@w4a8")
    assert cell.record.parent.parent == RUN / "cells" / "tiny-tango"
    assert cell.record.name == "result.json"
    assert RunLayout(RUN).baseline("tiny-tango").audio == RUN / "baselines" / "tiny-tango" / "audio"
    assert RunLayout(RUN).reference("foley").captions == RUN / "reference" / "foley" / "captions.json"


def test_the_page_on_running_lists_what_a_run_leaves_and_nothing_else():
    (block,) = re.findall(r"^## What a run leaves\n\n((?:    .*\n)+)", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    listed = {name for name in re.findall(r"[\w.-]+", block) if name != "index.html" and not name.endswith(".md")}
    places = [RunLayout(RUN), JobFolder(RUN)]
    properties = [(at, name) for at in places for name, one in vars(type(at)).items() if isinstance(one, property)]
    named = {getattr(at, name).name for at, name in properties} | {CELLS, BASELINES, REFERENCE, VALIDATION_FILE}
    assert named - PASSING <= listed
    assert {name for name in listed if Path(name).suffix} <= named | {"ID.wav"}


@pytest.mark.parametrize("name", ["../../etc", "dir:/data/model", "naive@w4a8[weights=tensor]", "", "a/b", ".hidden"])
def test_no_name_leads_out_of_the_run_and_no_two_meet(name):
    layout = RunLayout(RUN)
    for folder in (layout.cell(name, name), layout.cell("model", name), layout.baseline(name), layout.reference(name)):
        inside = folder.path.relative_to(RUN)
        assert ".." not in inside.parts
        assert not any(part.startswith(".") for part in inside.parts)
    assert layout.cell("model", name) != layout.cell("model", name + "x")
    repeats = {layout.cell("model", name, repeat).path.name for repeat in range(12)}
    assert len(repeats) == 12
    assert layout.cell("model", repeats.pop()).path.name not in repeats


def test_the_board_finds_the_records_where_the_harness_puts_them(run_with_a_record):
    run, path = run_with_a_record
    assert RunLayout(run).records() == [path]
    assert [loaded.path for loaded in read_runs([run])] == [path]


def test_full_precision_has_one_name():
    """The board may not import methods, so its schema says the name again."""
    assert schema.FULL_PRECISION == spec.FULL_PRECISION
    assert spec.MethodSpec.parse(spec.FULL_PRECISION).name == spec.FULL_PRECISION


@pytest.fixture
def run_with_a_record(tmp_path: Path) -> tuple[Path, Path]:
    """A run folder with one record, of a cell that failed."""
    job = CellJob(
        key="0" * 64,
        run=tmp_path,
        suite="foley",
        suite_name="foley",
        limit=4,
        seed=0,
        generation=GenerationSpec(),
        judges=JudgeSpec(),
        device="cpu",
        threads=1,
        made_by=MadeBy(),
        model="tiny-tango",
        model_sha256="0" * 64,
        method="naive@w4a8",
        metrics=("fd",),
        extractors=(),
        checkpoint="0" * 64,
        command="bench run",
    )
    write_record(job.target.record, failed_record(job, "it broke", 1.0))
    return tmp_path, job.target.record
