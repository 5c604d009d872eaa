"""A step is timed in a process forked before its job computes anything, with MKL as users have it."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from admbench import arithmetic
from admbench.bench.run.step_timer import forked_timer


def test_it_works_once_when_told_in_another_process_without_the_mode_that_we_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(arithmetic.VARIABLE, arithmetic.ANYWHERE)
    monkeypatch.setenv(arithmetic._OURS, "1")
    file = tmp_path / "said"
    with forked_timer(lambda: file.write_text(f"{os.getpid()} {arithmetic.mode()}") and None) as timer:
        assert not file.exists()
        assert timer.carry_out() == 0
        pid, mode = file.read_text().split()
        assert (int(pid) != os.getpid(), mode) == (True, "None")
        with pytest.raises(ChildProcessError):
            timer.carry_out()
    assert arithmetic.slowed(), "here nothing changed"


def test_it_ends_with_what_asked_for_it_whether_or_not_it_was_told_or_raised(tmp_path: Path) -> None:
    children = set(psutil.Process().children())
    with forked_timer(lambda: (tmp_path / "done").touch()):
        assert len(set(psutil.Process().children()) - children) == 1
    assert not (tmp_path / "done").exists()
    with forked_timer(lambda: 1 // 0) as timer:  # type: ignore[arg-type, return-value]
        assert timer.carry_out() == 1
    assert set(psutil.Process().children()) == children
