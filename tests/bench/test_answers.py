"""What a child leaves for its parent can be anything, and what is shown of it is one short line."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from admbench.bench.run.answers import MOST_CHARACTERS, last_line, read_tail, said_reason, said_stage


def test_a_line_is_short_and_hides_nothing(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text("first\n\x1b[2Jb\u202ec\n\n")
    assert last_line(tmp_path / "log.txt") == "\\u001b[2Jb\\u202ec"
    (tmp_path / "log.txt").write_text("x" * 50_000)
    assert len(last_line(tmp_path / "log.txt")) <= MOST_CHARACTERS


@pytest.mark.attack("what a job writes for its parent")
@pytest.mark.parametrize("written", [b"", b"\xff\xfe", b"[" * 60_000, b'{"reason": 1}', b'["reason"]', b"x" * 10**6])
def test_a_reason_that_is_none_is_no_reason(tmp_path: Path, written: bytes) -> None:
    (tmp_path / "failure.json").write_bytes(written)
    assert said_reason(tmp_path / "failure.json") is None


@pytest.mark.attack("what a job writes for its parent")
def test_what_is_no_regular_file_is_not_read_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("/dev/zero")
    for name in ("pipe", "folder", "link", "nothing"):
        assert read_tail(tmp_path / name) is None
        assert said_stage(tmp_path / name) == "start"
        assert last_line(tmp_path / name) == "no message"


@pytest.mark.attack("what a job writes for its parent")
def test_bytes_that_are_no_text_are_shown_as_far_as_they_can_be(tmp_path: Path) -> None:
    (tmp_path / "stage.txt").write_bytes(b"gen\xfferate\n" + b"z" * 500)
    assert said_stage(tmp_path / "stage.txt").endswith(" more]")
    (tmp_path / "failure.json").write_text(json.dumps({"reason": "two\nlines\u202e"}))
    assert said_reason(tmp_path / "failure.json") == "two lines\\u202e"
