"""Statements about which method is closer to full precision, and the command that prints them with the table."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from admbench.bench.cli.app import main
from admbench.bench.studies.orderings import orderings
from admbench.errors import UsageError
from admbench.files import slug
from admbench.leaderboard import read_runs
from admbench.metrics.features import Features

CLIPS, WIDTH = 24, 4
FAR, NEAR = "naive@w4a8", "clever@w4a8"
MODEL = "made-up"


def features(seed: int, shift: float = 0.0) -> Features:
    rng = np.random.default_rng(seed)
    common = np.random.default_rng(0).normal(0, 1, (CLIPS, WIDTH))
    embedding = common + shift + rng.normal(0, 0.05, (CLIPS, WIDTH))
    return Features(tuple(f"clip-{index}" for index in range(CLIPS)), {"embedding": embedding.astype(np.float32)})


def record(spec: str, value: float) -> dict[str, object]:
    score = {"value": value, "ci95": [0.9 * value, 1.1 * value], "n": CLIPS, "backbone": "band-tagger"}
    score |= {"backbone_sha256": "a" * 64, "against": "baseline", "higher_is_better": False}
    weight, activation = (int(part) for part in spec.split("@w")[1].split("a"))
    empty = dict.fromkeys(("generation", "audio", "latency", "memory", "calibration", "environment", "provenance"))
    return {
        **empty,
        "schema_version": 1,
        "status": "done",
        "reason": None,
        "model": {"name": MODEL},
        "method": {
            "name": spec.split("@")[0],
            "spec": spec,
            "bits": {"weight": weight, "activation": activation},
            "seconds": 1.0,
        },
        "suite": {"name": "foley", "sha256": "c" * 64, "n": CLIPS},
        "scores": {"fd_vs_baseline": score},
        "size": None,
    }


@pytest.fixture
def make_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """A run with the features of each method, shifted so far from the baseline's; no shift is no features."""
    monkeypatch.setattr(
        "admbench.leaderboard.reading.problems", lambda record: []
    )  # the records hold what is read here

    def make(**shifts: float | None) -> Path:
        run = tmp_path / "run"
        baseline = run / "baselines" / slug(MODEL) / "features.safetensors"
        features(1).save(baseline)
        for number, (name, shift) in enumerate(shifts.items()):
            spec = name if "@" in name else f"{name}@w4a8"
            cell = run / "cells" / slug(MODEL) / slug(spec)
            cell.mkdir(parents=True)
            (cell / "result.json").write_text(json.dumps(record(spec, WIDTH * (shift or 1.0) ** 2)))
            if shift is not None:
                features(2 + number, shift).save(cell / "features.safetensors")
        return run

    return make


@pytest.mark.parametrize(
    ("near", "verdict"), [(0.2, "holds"), (2.0, "does not hold"), (1.0, "cannot be told")], ids=lambda value: str(value)
)
def test_a_verdict_follows_from_the_paired_interval(make_run, near: float, verdict: str) -> None:
    (one,) = orderings(read_runs([make_run(naive=1.0, clever=near)]), "naive")
    assert (one.model, one.better, one.worse, one.n) == (MODEL, NEAR, FAR, CLIPS)
    assert one.verdict == verdict
    assert one.difference == pytest.approx(WIDTH * (near**2 - 1), abs=0.3)
    low, high = one.ci95
    assert low < one.difference < high
    assert (one.reason is None) == (verdict != "cannot be told")


def test_a_spec_is_held_against_all_bits(make_run) -> None:
    records = read_runs([make_run(**{"naive@w6a8": 0.5, "naive@w4a8": 1.0, "clever@w4a8": 0.2})])
    found = {one.better: (one.worse, one.verdict) for one in orderings(records, "naive@w6a8")}
    assert found == {FAR: ("naive@w6a8", "does not hold"), NEAR: ("naive@w6a8", "holds")}
    assert [one.better for one in orderings(records, "naive")] == [NEAR]
    with pytest.raises(UsageError, match=r'method "naive@w5a8"'):
        orderings(records, "naive@w5a8")


def test_latents_are_compared_caption_by_caption(make_run) -> None:
    """SQNR of eight captions, 3 dB apart on each: more is closer."""
    run = make_run(naive=1.0, clever=1.0)
    ids = [{"id": f"clip-{index}", "file": f"audio/{index}.wav", "caption": "a dog"} for index in range(CLIPS)]
    for spec, decibels in {FAR: 10.0, NEAR: 13.0}.items():
        cell = run / "cells" / slug(MODEL) / slug(spec)
        result = json.loads((cell / "result.json").read_text())
        value = {"value": decibels, "n": 8, "higher_is_better": True, "reason": None}
        result["scores"]["latent_sqnr_vs_baseline"] = result["scores"]["fd_vs_baseline"] | value
        (cell / "result.json").write_text(json.dumps(result))
        (cell / "captions.json").write_text(json.dumps(ids))
        (cell / "audio").mkdir()
        for index in range(CLIPS):
            (cell / "audio" / f"{index}.wav").touch()
        (cell / "stages").mkdir()
        kept = {"facts": {"timesteps": [999, 499], "decibels": [[20.0, decibels + index] for index in range(8)]}}
        (cell / "stages" / "trajectory.json").write_text(json.dumps(kept))
    (one,) = orderings(read_runs([run]), "naive", "latent_sqnr_vs_baseline")
    assert (one.difference, one.n, one.verdict) == (pytest.approx(3), 8, "holds")


def test_without_features_nothing_is_claimed(make_run) -> None:
    (one,) = orderings(read_runs([make_run(naive=1.0, clever=None)]), "naive")
    assert (one.difference, one.ci95, one.verdict) == (None, None, "cannot be told")
    assert "no features" in one.reason


def test_a_method_or_score_that_is_not_there_is_refused(make_run) -> None:
    records = read_runs([make_run(naive=1.0, clever=0.2)])
    with pytest.raises(UsageError, match=r'method "naife"\. Did you mean "naive"'):
        orderings(records, "naife")
    with pytest.raises(UsageError, match="no score against full precision"):
        orderings(records, "naive", "fd")


def test_the_command_prints_table_and_statements(make_run, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    run = str(make_run(naive=1.0, clever=0.2))
    assert main(["table", run, "--versus", "naive"]) == 0
    text = capsys.readouterr().out
    assert text.index("`clever@w4a8`") < text.index("`naive@w4a8`")
    assert "| `made-up` | `clever@w4a8` | `naive@w4a8` | -3." in text
    assert text.rstrip().endswith("| 24 | holds |")
    assert main(["table", run, "--format", "tsv", "--metrics", "fd_vs_baseline", "--out", str(tmp_path / "t.tsv")]) == 0
    rows = list(csv.DictReader(io.StringIO((tmp_path / "t.tsv").read_text()), delimiter="\t"))
    assert [row["method"] for row in rows] == [NEAR, FAR]
    capsys.readouterr()
    assert main(["table", run, "--format", "json", "--versus", "naive"]) == 0
    assert json.loads(capsys.readouterr().out)["orderings"][0]["verdict"] == "holds"
    assert main(["table", run, "--metrics", "fdd"]) == 2
    assert 'no record has the score "fdd"' in capsys.readouterr().err
