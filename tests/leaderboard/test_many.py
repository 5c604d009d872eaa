"""Records that are made up to see how long boards take are valid, and say what their captions give."""

from __future__ import annotations

import gc
import tracemalloc
from pathlib import Path

from admbench.leaderboard import gather, validate, validation_state
from admbench.leaderboard.many import write_many


def test_made_up_records_are_valid_and_checked(tmp_path: Path) -> None:
    runs = write_many(tmp_path, 8, cells=5, captions=12)
    assert [line for one in validate(runs) for line in one.problems] == []
    gathered = gather(runs)
    assert (len(gathered.records), gathered.quarantined) == (8, ())
    assert {validation_state(one) for one in gathered.records} == {"checked"}
    assert len({one.record.model.name for one in gathered.records}) == len(runs) == 2


def test_a_record_takes_less_memory_than_three_times_its_file(tmp_path: Path) -> None:
    """A board keeps all of its records until its last page is written, ten thousand of them in less than 1 GB."""
    runs = write_many(tmp_path, 20, cells=20, captions=8)
    file_bytes = sum(path.stat().st_size for path in tmp_path.rglob("result.json"))
    gather(runs)  # what is made once
    tracemalloc.start()
    try:
        gathered = gather(runs)
        gc.collect()
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(gathered.records) == 20
    assert kept < 3 * file_bytes


def test_the_same_arguments_give_the_same_files(tmp_path: Path) -> None:
    first, second = write_many(tmp_path / "a", 3, captions=8), write_many(tmp_path / "b", 3, captions=8)
    files = [sorted(path for path in run.rglob("*") if path.is_file()) for run in (*first, *second)]
    assert len(files[0]) == 6
    assert [path.read_bytes() for path in files[0]] == [path.read_bytes() for path in files[1]]
