"""The pool of processes of a board."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil

SCRIPT = """
import os, signal
from admbench.leaderboard.workers import workers

def one(_):
    return os.getpid()

if __name__ == "__main__":
    with workers(2) as mapped:
        print(*mapped(one, range(8)), flush=True)
        signal.pause()
"""


def test_workers_of_a_board_that_is_killed_end_too(tmp_path: Path) -> None:
    script = tmp_path / "board.py"
    script.write_text(SCRIPT)
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as board:
        assert board.stdout is not None
        started = [psutil.Process(pid) for pid in {int(pid) for pid in board.stdout.readline().split()}]
        assert all(board.pid == one.ppid() for one in started)
        board.send_signal(signal.SIGKILL)
    assert started
    assert not psutil.wait_procs(started, timeout=30)[1]
