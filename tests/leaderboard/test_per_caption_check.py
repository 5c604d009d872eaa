"""`bench validate` holds per-caption results against the record, the captions, the clips and full precision's cell."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from admbench.leaderboard import read_runs, validate
from admbench.leaderboard.per_caption import (
    PER_CAPTION,
    PerCaption,
    read_per_caption,
    write_per_caption,
)

from .agreeing_run import METHOD, cell_of, written_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of two cells, with their clips and per-caption results."""
    return written_run(tmp_path / "run")


def edit_record(cell: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    record = json.loads((cell / "result.json").read_text())
    change(record)
    (cell / "result.json").write_text(json.dumps(record))


def edit_results(cell: Path, change: Callable[[PerCaption], PerCaption]) -> None:
    write_per_caption(cell / PER_CAPTION, change(read_per_caption(cell, cell / PER_CAPTION)))


def problems(run: Path) -> list[str]:
    return [line for checked in validate([run]) for line in checked.problems]


def test_a_run_whose_parts_agree_has_no_problems(run: Path) -> None:
    assert problems(run) == []


def test_a_record_without_per_caption_results_is_an_older_one(run: Path) -> None:
    for spec in ("fp32", METHOD):
        (cell_of(run, spec) / PER_CAPTION).unlink()
    assert problems(run) == []


def test_a_record_and_its_results_may_be_published_without_audio(run: Path) -> None:
    for path in run.glob("cells/*/*/audio/*.wav"):
        path.unlink()
    for path in run.glob("cells/*/*/captions.json"):
        path.unlink()
    assert problems(run) == []


def test_a_damaged_file_is_a_problem_that_names_it_and_stops_no_board(run: Path) -> None:
    cell = cell_of(run, METHOD)
    (cell / PER_CAPTION).write_bytes(b"damaged")
    (line,) = problems(run)
    assert line.startswith(f"{cell / 'result.json'}: {PER_CAPTION}: not a safetensors file")
    assert len(read_runs([run])) == 2


def test_a_link_is_a_problem(run: Path) -> None:
    path = cell_of(run, METHOD) / PER_CAPTION
    path.unlink()
    path.symlink_to(cell_of(run, "fp32") / PER_CAPTION)
    (line,) = problems(run)
    assert "a symbolic link" in line


def forged_fd(record: dict[str, Any]) -> None:
    record["scores"]["fd"] |= {"value": 500.0, "ci95": [400.0, 600.0]}


def forged_difference(record: dict[str, Any]) -> None:
    record["scores"]["fd"]["difference"] |= {"value": -60.0, "ci95": [-70.0, -50.0], "significant": True}


def score_without_captions(record: dict[str, Any]) -> None:
    record["scores"]["kl"] = record["scores"]["fd"] | {"value": 0.1, "ci95": [0.05, 0.2], "difference": None}


def narrower(record: dict[str, Any]) -> None:
    difference = record["scores"]["clap"]["difference"]
    difference["ci95"] = [difference["value"] - 1e-3, difference["value"] + 1e-3]
    difference["significant"] = abs(difference["value"]) > 1e-3


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (forged_fd, ["scores.fd.value: 500, per caption", "scores.fd.ci95: [400, 600], per caption"]),
        (forged_difference, ["scores.fd.difference: -60 [-70, -50], per caption"]),
        (narrower, ["scores.clap.difference: "]),
        (score_without_captions, ["scores.kl: no per-caption results"]),
        (lambda record: record["audio"].update(silent=2), ["health.silent: 0 clips, but audio.silent is 2"]),
    ],
)
def test_a_forged_record_disagrees(run: Path, change: Callable[[dict[str, Any]], Any], expected: list[str]) -> None:
    cell = cell_of(run, METHOD)
    edit_record(cell, change)
    lines = problems(run)
    assert len(lines) == len(expected)
    for line, start in zip(lines, expected, strict=True):
        assert line.startswith(f"{cell / 'result.json'}: {PER_CAPTION}: {start}")


def test_results_of_a_cell_that_failed_are_a_problem(
    make_run: Callable[..., Path], make_failed: Callable[..., dict[str, Any]], run: Path
) -> None:
    failed = make_run([make_failed()], "failed")
    cell = next(failed.glob("cells/*/*"))
    content = replace(read_per_caption(run, cell_of(run, METHOD) / PER_CAPTION), scores={})
    write_per_caption(cell / PER_CAPTION, content)
    assert any("per-caption results of a cell that is failed" in line for line in problems(failed))


def test_clips_that_are_not_those_that_were_scored_are_found_by_their_hashes(run: Path) -> None:
    clip = cell_of(run, METHOD) / "audio" / "foley-002.wav"
    data = bytearray(clip.read_bytes())
    data[-1] ^= 1
    clip.write_bytes(data)
    (line,) = problems(run)
    assert "clip_sha256: 1 of the clips in audio/ are others than were scored, such as foley-002.wav" in line


def test_captions_are_those_of_the_list(run: Path) -> None:
    edit_results(cell_of(run, METHOD), lambda own: replace(own, captions=own.captions[::-1]))
    lines = problems(run)
    assert any("captions: not those of captions.json in their order" in line for line in lines)


def test_differences_are_to_a_cell_of_the_same_sampling_only(run: Path) -> None:
    edit_record(cell_of(run, METHOD), forged_difference)
    edit_record(cell_of(run, "fp32"), lambda record: record["generation"].update(steps=3))
    assert problems(run) == []
