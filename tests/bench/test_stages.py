"""A stage is built once for what determines it, found again after a restart, and reused from earlier results."""

import os
from pathlib import Path
from typing import Any

import pytest

from admbench.bench.run.layout import JobFolder
from admbench.bench.run.stages import Stages, publish


class Counter:
    """Builds a product and counts how often."""

    def __init__(self, work: Path) -> None:
        self.work, self.built = work, 0

    def __call__(self) -> dict[str, Any]:
        self.built += 1
        (self.work / "audio").mkdir(parents=True)
        (self.work / "audio" / "a.wav").write_text(f"sound {self.built}")
        return {"clips": self.built}


def run(work: Path, inputs: Any, build: Counter, reuse: tuple[Path, ...] = ()) -> dict[str, Any]:
    stages = Stages(JobFolder(work), [JobFolder(path) for path in reuse], lambda stage: None)
    return stages.run("generate", inputs, ["audio"], build)


def test_a_stage_with_the_same_inputs_is_not_built_again(tmp_path: Path) -> None:
    build = Counter(tmp_path)
    assert run(tmp_path, {"steps": 25}, build) == run(tmp_path, {"steps": 25}, build) == {"clips": 1}
    assert build.built == 1


def test_other_inputs_or_a_lost_product_build_it_again(tmp_path: Path) -> None:
    build = Counter(tmp_path)
    run(tmp_path, {"steps": 25}, build)
    assert run(tmp_path, {"steps": 5}, build) == {"clips": 2}
    (tmp_path / "audio" / "a.wav").unlink()
    (tmp_path / "audio").rmdir()
    assert run(tmp_path, {"steps": 5}, build) == {"clips": 3}


def test_a_build_that_fails_leaves_nothing_that_passes_for_its_product(tmp_path: Path) -> None:
    build = Counter(tmp_path)

    def fail() -> dict[str, Any]:
        build()
        raise RuntimeError("halfway")

    with pytest.raises(RuntimeError, match="halfway"):
        Stages(JobFolder(tmp_path), (), lambda stage: None).run("generate", 1, ["audio"], fail)
    assert run(tmp_path, 1, build) == {"clips": 2}


def test_the_product_of_an_earlier_result_is_reused_and_survives_its_replacement(tmp_path: Path) -> None:
    old, work = tmp_path / "old", tmp_path / "work"
    run(old, "same", Counter(old))
    build = Counter(work)
    assert run(work, "same", build, (old,)) == {"clips": 1}
    assert build.built == 0
    assert (work / "audio" / "a.wav").read_text() == "sound 1"
    run(work, "other", build, (old,))
    assert (work / "audio" / "a.wav").read_text() == "sound 1"
    assert build.built == 1
    assert (old / "audio" / "a.wav").read_text() == "sound 1"


def test_what_a_stage_made_is_on_the_disk_before_it_is_noted_as_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[str] = []
    really = os.fsync

    def note(descriptor: int) -> None:
        flushed.append(os.readlink(f"/proc/self/fd/{descriptor}").removeprefix(f"{tmp_path}"))
        really(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    run(tmp_path, 1, Counter(tmp_path))
    noted = next(place for place, path in enumerate(flushed) if path.startswith("/stages"))
    assert {*flushed[:noted]} == {"/audio/a.wav", "/audio", ""}
    assert flushed[noted + 1 :] == ["/stages"], "the note itself, and then its name"


def test_publishing_replaces_the_old_folder_as_a_whole(tmp_path: Path) -> None:
    target, work = tmp_path / "cells" / "a", tmp_path / "work"
    for number in (1, 2):
        work.mkdir()
        (work / f"result-{number}").write_text("x")
        publish(work, target)
        assert [path.name for path in target.iterdir()] == [f"result-{number}"]
        assert [path.name for path in target.parent.iterdir()] == ["a"]
