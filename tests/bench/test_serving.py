"""`bench leaderboard --serve` shows the page to this machine only, and ends with Ctrl-C."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest

import admbench
from admbench.bench.cli.serving import serve_folder
from admbench.errors import UsageError

ROOT = Path(admbench.__file__).resolve().parents[1]


def test_a_folder_is_served_on_the_loopback_interface_until_ctrl_c(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<p>board</p>")
    program = (
        "import pathlib, signal, sys, admbench.bench.cli.serving\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background\n"
        "admbench.bench.cli.serving.serve_folder(pathlib.Path(sys.argv[1]), 0)\n"
    )
    server = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
    )
    assert server.stdout is not None
    url = re.search(r"http://127\.0\.0\.1:\d+/", server.stdout.readline())
    assert url is not None
    with urlopen(url[0] + "index.html", timeout=30) as answer:
        assert answer.read() == b"<p>board</p>"
    server.send_signal(signal.SIGINT)
    assert server.wait(timeout=30) == 0
    server.stdout.close()


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=rf"--port {port}: cannot be served on"):
            serve_folder(tmp_path, port)
