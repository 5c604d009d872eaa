"""What plug-ins say becomes a record that boards take, or costs itself alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from admbench.bench.run.grid import GenerationSpec, GridSpec
from admbench.bench.run.jobs import CellJob
from admbench.bench.run.layout import JobFolder
from admbench.bench.run.made_by import MadeBy
from admbench.bench.run.records import failed_record, skipped_record, sound_scores, write_record, write_results
from admbench.bench.scoring.spec import JudgeSpec
from admbench.errors import DataError, PluginError, UsageError
from admbench.leaderboard import gather, read_record
from admbench.leaderboard.inference.scores import KINDS
from admbench.leaderboard.per_caption import HEALTH, CaptionScore, PerCaption
from admbench.metrics import registry
from admbench.metrics.keys import requested_scores

GOOD: dict[str, Any] = {
    "value": 1.0,
    "ci95": [0.5, 1.5],
    "n": 4,
    "backbone": None,
    "backbone_sha256": None,
    "against": "reference",
    "higher_is_better": False,
    "version": "1",
}


def job_in(run: Path, **more: Any) -> CellJob:
    return CellJob(
        key="0" * 64,
        run=run,
        suite="foley",
        suite_name=more.pop("suite_name", "foley"),
        limit=4,
        seed=0,
        generation=GenerationSpec(),
        judges=JudgeSpec(),
        device="cpu",
        threads=1,
        made_by=MadeBy(),
        model=more.pop("model", "tiny-tango"),
        model_sha256="0" * 64,
        method="naive@w4a8",
        metrics=("fd",),
        extractors=(),
        checkpoint="0" * 64,
        command=more.pop("command", "bench run"),
        **more,
    )


HOSTILE = "it \u202ebroke\nerror: another\x1b[31m " + "x" * 30_000 + "\ud800"


@pytest.mark.parametrize("make", [failed_record, skipped_record])
def test_a_cell_that_failed_leaves_a_record_whatever_the_reason_says(tmp_path: Path, make: Any) -> None:
    job = job_in(tmp_path, suite_name="of\nmine \u200b", model="dir:/" + "модель/" * 50, command="bench run " * 5000)
    arguments = (job, HOSTILE, 1.0) if make is failed_record else (job, HOSTILE)
    write_record(job.target.record, make(*arguments))
    (loaded,) = gather([tmp_path]).records
    assert loaded.record.reason is not None
    assert loaded.record.reason.startswith("it \\u202ebroke error: another\\u001b[31m xxx")
    assert len(loaded.record.reason) <= 2000
    assert loaded.record.provenance is not None
    assert loaded.record.provenance.command.endswith(" more]")


def test_a_record_names_its_submitter_only_where_one_is_given(tmp_path: Path) -> None:
    for name in (None, "A. Nonymous"):
        job = job_in(tmp_path / str(name), submitter=name)
        write_record(job.target.record, failed_record(job, "it broke", 1.0))
        provenance = read_record(job.target.record).provenance
        assert provenance is not None
        assert provenance.submitter == name


@pytest.mark.parametrize("name", ["a\nb", " a", "\u200bme", "p\u0430ul", ""])
def test_a_submitter_that_hides_something_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"hidden or look-alike|at least 1 character"):
        GridSpec(models=("m",), methods=("fp32",), out=Path("x"), submitter=name)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"value": float("nan"), "ci95": None}, "value: Input should be a valid number"),
        ({"value": float("inf"), "ci95": [0.0, float("inf")]}, "valid number"),
        ({"value": 2.0}, r"ci95: \[0.5, 1.5\] does not contain the value 2"),
        ({"value": -1.0, "ci95": [-2.0, 0.0]}, "value: -1 is outside of the score's range"),
        ({"value": None, "ci95": None, "reason": "\n"}, "reason: a missing value needs a reason"),
        ({"version": None}, "version: a score needs the version"),
        ({"n": 0}, "n: Input should be greater than or equal to 1"),
        ({"difference": {"value": 1e300, "ci95": [0.0, 1e301], "significant": False}}, "puts full precision's own"),
        ({"value": 1e300, "ci95": [0.0, 1e301]}, "no measurement"),
    ],
)
def test_a_score_that_no_board_takes_is_missing_and_says_why(changes: dict[str, Any], why: str) -> None:
    scores = sound_scores({"fd": GOOD | changes, "fad": GOOD})
    assert scores["fad"] == GOOD
    assert scores["fd"]["value"] is None
    with pytest.raises(AssertionError, match=why):
        raise AssertionError(scores["fd"]["reason"])


def test_numbers_of_numpy_are_numbers() -> None:
    assert sound_scores({"fd": GOOD | {"value": np.float32(1.0), "n": np.int64(4)}}) == {"fd": GOOD}


def test_a_cell_whose_captions_no_board_takes_leaves_no_record(tmp_path: Path) -> None:
    """What the reader of boards refuses is found before the cell counts as done, not when the page is built."""
    job = job_in(tmp_path)
    folder = JobFolder(tmp_path / "work")
    score = CaptionScore.of_clips(KINDS["kl"], np.arange(4), np.array([0.1, 0.2, 0.3, 0.4]))
    flags = {fault: np.zeros(4, dtype=np.bool_) for fault in HEALTH}
    content = PerCaption(("a", "b", "c", "d"), ("0" * 64,) * 4, flags, {"kl": score})
    folder.path.mkdir()
    folder.path.joinpath("captions.json").write_text(json.dumps([{"id": "a", "caption": "x" * 3000}]))
    with pytest.raises(DataError, match=r"captions\.json: 0\.caption"):
        write_results(folder, failed_record(job, "it broke", 1.0), content)
    assert not folder.record.exists()


def test_a_metric_whose_name_is_no_key_is_refused_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", {**registry._registered, "F\u200bD": registry.get("fd")})
    monkeypatch.setattr(registry, "check", lambda name: None)
    with pytest.raises(PluginError, match=r"its name is no key of a score"):
        requested_scores(["F\u200bD"])
    monkeypatch.undo()
    with pytest.raises(UsageError, match="Did you mean"):
        requested_scores(["fdd"])
