"""How a run stands, seen from outside while it is at work, and after it was stopped."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from admbench.bench.cli.app import main
from admbench.bench.cli.run_progress import RunProgress
from admbench.bench.run.cell_logs import CellLogs
from admbench.bench.run.executors.base import Outcome
from admbench.bench.run.expecting import Expected
from admbench.bench.run.grid import GridSpec
from admbench.bench.run.jobs import CellJob, QuantizeJob
from admbench.bench.run.journal import Journal, planned, read_journal
from admbench.bench.run.layout import RunLayout
from admbench.bench.run.lock import hold, is_held
from admbench.bench.run.plan import Plan, make_plan
from admbench.bench.run.standing import RunStanding, standing_of
from admbench.bench.scoring.spec import JudgeSpec
from admbench.errors import DataError, UsageError

NAIVE = "naive@w4a8[prompts=2,timesteps=2,steps=2]"


@pytest.fixture
def plan(make_grid: Callable[..., GridSpec], check_specs_here: None) -> Plan:
    judges = JudgeSpec(tagger="band-tagger", clap="band-clap")
    plan = make_plan(make_grid(methods=["fp32", NAIVE]), command="bench run", judges=judges)
    plan.run.mkdir(exist_ok=True)
    return plan


def begin(plan: Plan, expected: dict[str, float] | None = None) -> Journal:
    return Journal(plan.run, planned(2, plan.cells, plan.jobs, plan.skipped, expected or {}))


def states(standing: RunStanding) -> list[str]:
    return [row.state for row in standing.cells]


def test_a_cell_goes_through_its_states(plan: Plan) -> None:
    _, cell = plan.cells
    quantize = next(job for job in plan.jobs if isinstance(job, QuantizeJob))
    with hold(plan.run):
        journal = begin(plan, {quantize.key: 10.0, cell.key: 20.0})
        assert states(standing_of(plan.run)) == ["waiting", "waiting"]
        shared = [row.name for row in standing_of(plan.run).rows if row.shared]
        assert shared == [
            "reference audio of captions.txt",
            "fake-adm baseline",
            "fake-adm calibration set (uniform, 2 prompts)",
        ]
        journal.stage(quantize, "load")
        row = standing_of(plan.run).cells[1]
        assert (row.state, row.stage, row.expected) == ("running", "quantization: load", 30.0)
        assert row.elapsed is not None
        assert 0 <= row.elapsed < 60
        journal.ended(Outcome(quantize, None, 7.0))
        row = standing_of(plan.run).cells[1]
        assert (row.state, row.stage, row.elapsed) == ("waiting", None, 7.0)
        journal.stage(cell, "generate")
        assert standing_of(plan.run).cells[1].stage == "generate"
        journal.ended(Outcome(cell, None, 12.0, before=7.0))
        row = standing_of(plan.run).cells[1]
        assert (row.state, row.elapsed, row.expected) == ("done", 12.0, 30.0)
    journal.close()


def test_cells_that_failed_or_were_skipped_say_why_and_what_cells_share_goes_when_it_is_done(plan: Plan) -> None:
    skipped, failed = plan.cells
    with hold(plan.run):
        journal = Journal(plan.run, planned(2, plan.cells, plan.jobs, {skipped.key: "needs a package"}, {}))
        for job in plan.jobs:
            if not isinstance(job, CellJob | QuantizeJob):
                journal.ended(Outcome(job, None, 1.0))
        journal.ended(Outcome(failed, "it broke", 3.0))
        assert [(row.state, row.reason) for row in standing_of(plan.run).rows] == [
            ("skipped", "needs a package"),
            ("failed", "it broke"),
        ]
    journal.close()


def test_what_was_at_work_when_a_run_was_stopped_is_stopped(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    with hold(plan.run):
        journal = begin(plan)
        journal.stage(plan.cells[0], "score")
        journal.close()
    standing = standing_of(plan.run)
    assert (standing.running, standing.left) == (False, None)
    assert states(standing) == ["stopped", "waiting"]
    assert main(["status", str(plan.run)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[3].split("\t")[:3] == ["fake-adm fp32", "stopped", "score"]
    assert lines[-2:] == [
        "2 cells, 1 stopped, 1 waiting",
        "stopped; the same `bench run` goes on where it stopped",
    ]


def test_the_time_to_go_is_what_is_left_of_all_jobs_over_the_workers(plan: Plan) -> None:
    with hold(plan.run):
        journal = begin(plan, dict.fromkeys((job.key for job in plan.jobs), 10.0))
        for job in plan.jobs[:-1]:
            journal.ended(Outcome(job, None, 10.0))
        assert standing_of(plan.run).left == pytest.approx(5.0)
        begin(plan).close()
        assert standing_of(plan.run).left is None, "nothing is known of its jobs"


def test_half_a_line_waits_and_a_foreign_one_is_named(plan: Plan) -> None:
    journal = begin(plan)
    journal.close()
    path = RunLayout(plan.run).journal
    with path.open("a") as file:
        file.write('{"event": "ended", "at"')
    read = read_journal(plan.run)
    assert read is not None
    assert all(job.ended is None for job in read.jobs.values())
    path.write_text(path.read_text() + "\n")
    with pytest.raises(DataError, match=r"journal\.jsonl: not a journal of a run"):
        standing_of(plan.run)


def test_a_journal_that_cannot_be_written_costs_the_run_nothing(plan: Plan) -> None:
    journal = begin(plan)
    assert journal._file is not None
    journal._file.close()
    journal._file = open("/dev/full", "wb", buffering=0)  # noqa: SIM115
    journal.stage(plan.cells[0], "generate")
    journal.stage(plan.cells[0], "score")
    journal.close()
    assert standing_of(plan.run).cells[0].state == "waiting"


def test_looking_keeps_no_run_out_and_is_not_kept_out(tmp_path: Path) -> None:
    assert not is_held(tmp_path)
    with hold(tmp_path):
        assert is_held(tmp_path)
    assert not is_held(tmp_path)


def test_a_folder_without_a_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["status", str(tmp_path)], ["logs", str(tmp_path), "tiny-tango fp32"]):
        assert main(command) == 2
        assert "no run is there; expected the folder of `bench run`" in capsys.readouterr().err


def test_logs_follow_a_cell_from_its_quantization_to_its_end(plan: Plan) -> None:
    _, cell = plan.cells
    quantize = next(job for job in plan.jobs if isinstance(job, QuantizeJob))
    with hold(plan.run):
        journal = begin(plan)
        steps = iter(
            [
                lambda: _say(quantize.work.log, "stage: quantize\n\x1b[31mhalf"),
                lambda: _say(quantize.work.log, " a line\n"),
                lambda: _move(quantize.work.path, quantize.target.path),
                lambda: _say(cell.work.log, "stage: score\n"),
                lambda: (_move(cell.work.path, cell.target.path), journal.ended(Outcome(cell, None, 1.0))),
            ]
        )
        followed = CellLogs(plan.run, f"fake-adm/{NAIVE}").follow(sleep=lambda _: next(steps)())
        assert list(followed) == ["stage: quantize", "\\u001b[31mhalf a line", "stage: score"]
    journal.close()


def test_logs_of_an_unknown_cell_name_the_nearest(plan: Plan) -> None:
    begin(plan).close()
    with pytest.raises(UsageError, match=r"no cell \"fake-adm fp23\".*\"fake-adm fp32\""):
        CellLogs(plan.run, "fake-adm fp23")


def test_the_summary_holds_times_against_what_was_expected(plan: Plan) -> None:
    progress = RunProgress(quiet=True)
    cells = [job for job in plan.jobs if isinstance(job, CellJob)]
    progress._expected = {cell.key: Expected(10.0, 1, 1) for cell in cells}
    progress.events.ended(Outcome(cells[0], None, 14.0))
    progress.events.ended(Outcome(cells[1], None, 46.0, before=30.0))
    assert progress.summary([]).endswith("2 jobs took 30.0 s of 20.0 s expected, 1 of them within a factor of 1.5")


def test_the_run_says_what_depends_on_no_draw(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    RunProgress(quiet=False).events.planned(replace(plan, once=("fp32",)))
    assert "run once, as they depend on no calibration draw: fp32\n" in capsys.readouterr().out


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_every_worker_has_a_line_with_the_stage_that_runs(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr", Terminal())
    with RunProgress(quiet=False) as progress:
        progress.events.planned(plan)
        for cell in plan.cells:
            progress.events.stage(cell, "load")
        progress.events.stage(plan.cells[1], "score")
        assert progress._bar is not None
        lines = [task.description for task in progress._bar.tasks]
        assert lines == ["jobs", f"{plan.cells[0].name}: load", f"{plan.cells[1].name}: score"]
        progress.events.ended(Outcome(plan.cells[0], None, 1.0))
        assert [task.description for task in progress._bar.tasks] == [lines[0], lines[2]]


def _say(log: Path, text: str) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file:
        file.write(text)


def _move(work: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    work.rename(target)
