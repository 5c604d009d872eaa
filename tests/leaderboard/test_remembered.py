"""A board that was built before takes what did not change from the user's cache, and is the same without it."""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from admbench.leaderboard import concluding, gather, reading, remembered
from admbench.leaderboard.inference.margins import parse_margin
from admbench.leaderboard.many import write_many
from admbench.leaderboard.states import forget, note
from admbench.leaderboard.view import BoardView, view_boards


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ADMBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / remembered.KIND


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Two models of four cells."""
    return write_many(tmp_path / "runs", 8, cells=4, captions=12)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is computed and not remembered: models that are concluded, and records that are checked."""
    done: list[str] = []
    monkeypatch.setattr(concluding, "conclude_model", _told(concluding.conclude_model, lambda name, *_: name, done))
    monkeypatch.setattr(reading, "read_whole", _told(reading.read_whole, lambda _, path: path.parent.name, done))
    return done


def _told(function: Callable[..., object], name: Callable[..., str], done: list[str]) -> Callable[..., object]:
    def told(*arguments: object, **more: object) -> object:
        done.append(name(*arguments))
        return function(*arguments, **more)

    return told


def view(runs: list[Path]) -> BoardView:
    [found] = view_boards(gather(runs, remembered=True).records, remembered=True)
    return found


def said(view: BoardView) -> list[object]:
    """Everything that a view says of its cells, numbers to the last digit."""
    rows = [own for model in view.models for own in model.rows]
    cells = [(own.spec, own.record, own.standings, own.missing, own.verdicts, own.state) for own in rows]
    pairs = [
        (key, one.cautions, one.left_out, one.pairs.letters, one.pairs.ranks, one.pairs.apart.tolist())
        for model in view.models
        for key, one in model.conclusions.items()
        if one.pairs
    ]
    return [cells, pairs, view.across, [model.agreements for model in view.models], view.cautions]


def test_what_did_not_change_is_not_computed_again(cache: Path, runs: list[Path], work: list[str]) -> None:
    first = said(view(runs))
    assert {"model-000", "model-001", "fp32"} <= set(work)
    work.clear()
    assert said(view(runs)) == first
    assert work == []
    [plain] = view_boards(gather(runs).records)
    assert said(plain) == first


def test_a_record_that_changed_costs_its_model_alone(
    cache: Path, runs: list[Path], work: list[str], tmp_path: Path
) -> None:
    view(runs)
    work.clear()
    other = write_many(tmp_path / "others", 4, cells=4, captions=12, seed=9)[0]
    os.replace(runs[0], tmp_path / "before")
    os.replace(other, runs[0])
    found = said(view(runs))
    assert {name for name in work if name.startswith("model-")} == {"model-000"}
    assert len([name for name in work if not name.startswith("model-")]) == 4
    [plain] = view_boards(gather(runs).records)
    assert said(plain) == found


def test_results_that_changed_beside_a_record_are_checked_again(cache: Path, runs: list[Path]) -> None:
    assert len(gather(runs, remembered=True).records) == 8
    results = [path.parent / "per-caption.safetensors" for path in sorted(runs[0].glob("cells/*/*/result.json"))]
    results[1].write_bytes(results[2].read_bytes())
    for _ in range(2):
        gathered = gather(runs, remembered=True)
        assert [one.path.parent for one in gathered.quarantined] == [results[1].parent]
        assert "not what per-caption.safetensors gives" in gathered.quarantined[0].reason


def test_another_margin_or_another_source_is_concluded_anew(
    cache: Path, runs: list[Path], work: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    view(runs)
    work.clear()
    monkeypatch.setitem(concluding.DEFAULT_MARGINS, "fd", parse_margin("fd=+50%"))
    margins = {str(own.verdicts["fd"].margin) for model in view(runs).models for own in model.rows if own.verdicts}
    assert margins == {"fd=+50%"}
    assert set(work) == {"model-000", "model-001"}
    work.clear()
    monkeypatch.setattr(remembered, "_computed_by", lambda: "another version")
    view(runs)
    assert {"model-000", "model-001", "fp32"} <= set(work)


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied"])
def test_what_is_damaged_is_computed_again(cache: Path, runs: list[Path], work: list[str], damage: str) -> None:
    first = said(view(runs))
    whole = {path: path.read_bytes() for path in cache.iterdir()}
    assert whole
    for path, data in whole.items():
        path.write_bytes({"cut": data[:-1], "flipped": data[:-1] + bytes([data[-1] ^ 1]), "emptied": b""}[damage])
    work.clear()
    assert said(view(runs)) == first
    assert {"model-000", "model-001", "fp32"} <= set(work)
    assert {path.name for path in cache.iterdir()} == {path.name for path in whole}
    work.clear()
    view(runs)
    assert work == []


def test_without_a_cache_that_can_be_written_a_board_is_the_same(
    runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("ADMBENCH_CACHE", str(tmp_path / "file" / "cache"))
    [plain] = view_boards(gather(runs).records)
    assert said(view(runs)) == said(plain)


class _Hostile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return os.mkdir, (str(self.path),)


def test_an_entry_that_asks_for_anything_else_runs_nothing(cache: Path, tmp_path: Path) -> None:
    data = pickle.dumps(_Hostile(tmp_path / "made"))
    remembered.remember("name", [1])
    assert remembered.recall("name") == [1]
    (cache / "name.pickle").write_bytes(hashlib.sha256(data).digest() + data)
    assert remembered.recall("name") is None
    assert not (tmp_path / "made").exists()


def test_a_note_that_clips_were_scored_again_is_not_remembered(cache: Path, runs: list[Path]) -> None:
    first = view(runs)
    assert {own.state for model in first.models for own in model.rows} == {"checked"}
    loaded = first.models[0].rows[0].row.loaded
    note(loaded, {}, {})
    assert view(runs).models[0].rows[0].state == "re-scored"
    forget(loaded)
    assert view(runs).models[0].rows[0].state == "checked"
