"""What a run keeps is what was written: a flipped bit, or a file that a power cut emptied, costs the stage that made it
and no other, and the results are the same."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from admbench.bench.run.work import features_in
from admbench.errors import DataError
from admbench.hashing import sha256_file

from .watched_run import MODEL, WatchedRun, installed, products_in, write_site


@pytest.fixture(scope="module")
def kept(plugin_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedRun]:
    """A finished run; its plug-ins are installed while the tests of this module run."""
    folder = tmp_path_factory.mktemp("kept")
    with installed(write_site(plugin_folder, folder / "site"), folder / "cache"):
        run = WatchedRun(folder / "run")
        run.run()
        yield run


@pytest.fixture
def finished(kept: WatchedRun, tmp_path: Path) -> WatchedRun:
    """A copy of the finished run."""
    shutil.copytree(kept.layout.run, tmp_path / "run")
    return WatchedRun(tmp_path / "run")


def flip(path: Path) -> None:
    """Flip a bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def flip_unseen(path: Path) -> None:
    """Flip a bit as a failing disk does: the date stays."""
    status = path.stat()
    flip(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def one_clip(folder: Path) -> Path:
    return sorted((folder / "audio").iterdir())[1]


CHECKPOINT = "checkpoint/model.safetensors"
PRODUCTS: dict[str, tuple[Callable[[WatchedRun], Path], set[str]]] = {
    "checkpoint": (lambda at: at.cell.path / CHECKPOINT, {"theirs: checkpoint"}),
    "audio": (lambda at: one_clip(at.cell.path), {"theirs: generate"}),
    "list of clips": (lambda at: at.cell.captions, {"theirs: generate"}),
    "features": (lambda at: at.cell.features, {"theirs: features"}),
    "latents": (lambda at: at.cell.stage("trajectory"), {"theirs: trajectory"}),
    "latency": (lambda at: at.cell.stage("latency"), {"theirs: latency"}),
    "per caption": (lambda at: at.cell.per_caption, set()),
    "record": (lambda at: at.cell.record, set()),
    "seal": (lambda at: at.cell.sealed, set()),
    "baseline checkpoint": (lambda at: at.baseline.path / CHECKPOINT, {"baseline: checkpoint"}),
    "baseline audio": (lambda at: one_clip(at.baseline.path), {"baseline: generate"}),
    "baseline features": (lambda at: at.baseline.features, {"baseline: features"}),
    "reference audio": (lambda at: one_clip(at.reference.path), {"reference: audio"}),
    "reference features": (lambda at: at.reference.features, {"reference: features"}),
}
"""Kind of product -> the file, and the stages that make it."""


@pytest.mark.slow
@pytest.mark.parametrize("kind", PRODUCTS)
def test_a_flipped_bit_costs_the_stage_that_made_the_file_and_no_other(
    finished: WatchedRun, kept: WatchedRun, kind: str
) -> None:
    file, stages = PRODUCTS[kind]
    flip(file(finished))
    if kind.startswith(("baseline", "reference")):  # what no cell needs is not looked at
        flip(finished.cell.record)
    assert finished.run() == stages | {"theirs: score"}
    assert finished.results() == kept.results()
    assert finished.planned() == set()


def test_flipped_bits_in_all_kinds_of_products_cost_their_stages(finished: WatchedRun, kept: WatchedRun) -> None:
    (calibration,) = finished.layout.calibration.glob("*/sets/*/calibration.safetensors")
    flip(calibration)
    flip(finished.cell.path / CHECKPOINT)
    flip(finished.cell.features)
    flip(finished.cell.stage("trajectory"))
    flip(one_clip(finished.baseline.path))
    flip(finished.reference.features)
    assert finished.run() == {
        "calibration: calibration",
        "theirs: checkpoint",
        "theirs: features",
        "theirs: trajectory",
        "theirs: score",
        "baseline: generate",
        "reference: features",
    }
    assert finished.results() == kept.results()


def test_a_damaged_calibration_set_is_drawn_again_for_who_needs_it(finished: WatchedRun, kept: WatchedRun) -> None:
    (calibration,) = finished.layout.calibration.glob("*/sets/*/calibration.safetensors")
    flip(calibration)
    assert finished.planned() == set(), "no cell needs it"
    flip(finished.cell.path / CHECKPOINT)
    assert finished.planned() == {"calibration", "quantize theirs", "cell theirs"}


def test_files_that_a_power_cut_emptied_are_made_again(finished: WatchedRun, kept: WatchedRun) -> None:
    for path in finished.layout.run.rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    finished.run()
    assert finished.results() == kept.results()


@pytest.mark.slow
@pytest.mark.parametrize("pattern", ["stages/*.json", "stages/generate.json", "sealed.json", "*.json", "**/*.wav"])
def test_whatever_a_power_cut_emptied_the_results_are_the_same(
    finished: WatchedRun, kept: WatchedRun, pattern: str
) -> None:
    for folder in (finished.cell, finished.baseline, finished.reference):
        for path in folder.path.glob(pattern):
            path.write_bytes(b"")
    finished.run()
    assert finished.results() == kept.results()
    assert finished.planned() == set()


def test_a_job_that_was_cut_off_goes_on_from_what_is_whole(
    finished: WatchedRun, kept: WatchedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(finished.cell.path)
    with monkeypatch.context() as cut:
        cut.setattr("admbench.bench.run.cell.score_captions", interrupt)
        with pytest.raises(KeyboardInterrupt):
            finished.run()
    (work,) = (path for path in finished.layout.all_work.iterdir() if (path / "features.safetensors").is_file())
    one_clip(work).write_bytes(b"")
    assert finished.run() == {"theirs: generate", "theirs: trajectory", "theirs: score"}
    assert finished.results() == kept.results()


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_file_that_nobody_wrote_is_no_product(finished: WatchedRun) -> None:
    shutil.copy(one_clip(finished.cell.path), finished.cell.audio / "one-more.wav")
    flip(finished.cell.record)
    assert finished.run() == {"theirs: generate", "theirs: score"}


def test_what_changed_after_planning_is_not_read_by_other_work(finished: WatchedRun) -> None:
    flip(finished.baseline.features)
    with pytest.raises(DataError, match=r"features\.safetensors: does not hold what was written"):
        features_in(finished.baseline)
    (finished.reference.audio / "more.wav").touch()
    with pytest.raises(DataError, match=r"more\.wav: no stage has written it"):
        features_in(finished.reference)


@pytest.mark.parametrize("file", ["record", "per_caption"])
def test_a_number_that_changed_under_the_same_date_is_made_again(
    finished: WatchedRun, kept: WatchedRun, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = getattr(finished.cell, file)
    flip_unseen(path)
    assert finished.planned() == {"quantize theirs", "cell theirs"}
    assert f"{path}: does not hold what was written; it is done again" in capsys.readouterr().err
    assert finished.run() == {"theirs: score"}
    assert finished.results() == kept.results()
    assert finished.planned() == set()


def test_a_finished_run_is_planned_without_reading_what_it_keeps_but_numbers(
    finished: WatchedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = (finished.cell, finished.layout.cell(MODEL, "fp32"))
    numbers = {path for cell in cells for path in (cell.record, cell.per_caption)}
    seen = set()

    def read(path: Path) -> str:
        assert path in numbers, path
        seen.add(path)
        return sha256_file(path)

    monkeypatch.setattr("admbench.bench.run.products.sha256_file", read)
    assert finished.planned() == set()
    assert seen == numbers
    for path in products_in(finished.cell):
        path.touch()
    with pytest.raises(AssertionError):
        finished.planned()
