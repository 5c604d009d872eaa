"""Output that cannot be written any more costs what is said, not what is done."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress

from admbench.bench.cli.lasting_streams import lasting_streams


def test_a_pipe_that_nobody_reads_takes_what_is_said_and_closes_without_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read, write = os.pipe()
    with open(write, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        with lasting_streams():
            print("heard", flush=True)
            assert os.read(read, 100) == b"heard\n"
            os.close(read)
            print("not heard", flush=True)
            print("held until the stream is closed")
        assert sys.stdout is stream
        print("after it", flush=True)


def test_on_a_terminal_that_was_closed_a_bar_goes_on_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    shown, terminal = os.openpty()
    with open(terminal, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        with lasting_streams():
            assert sys.stderr.isatty()
            with Progress(console=Console(stderr=True), auto_refresh=False) as bar:
                task = bar.add_task("jobs", total=2)
                os.close(shown)
                bar.advance(task)
                bar.refresh()
                bar.console.print("not heard")


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_command_without_one_of_its_standard_streams_works(number: int, tmp_path: Path) -> None:
    program = (
        "import os, sys\n"
        "from admbench.bench.cli.app import main\n"
        "code = main(['--help'])\n"
        "assert os.open('opened', os.O_CREAT | os.O_RDWR) > 2, 'a file is where output goes'\n"
        "sys.exit(code)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, cwd=tmp_path, preexec_fn=lambda: os.close(number)
    )
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert (tmp_path / "opened").read_bytes() == b""
