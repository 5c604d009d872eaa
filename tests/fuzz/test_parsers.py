"""Bytes for each parser of single files: any, as hypothesis draws them, and those that once broke one.

What breaks one is written to `regressions/bytes/PARSER/`, which is a test from then on.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admbench.errors import DataError

from . import contract
from .amount import examples
from .held import keeping, read_held
from .parsers import KEPT, PARSERS, Parser, feed

FEW = 15


@pytest.mark.attack("bytes for a parser of one file")
@pytest.mark.parametrize("name", PARSERS)
def test_any_bytes_are_read_or_refused_in_one_line(name: str, tmp_path: Path, tried: Callable[..., None]) -> None:
    seed = PARSERS[name].seed
    with keeping(name) as trying:

        @examples(FEW, FEW * 100)
        @given(start=st.integers(0, len(seed)), length=st.integers(0, 12), new=st.binary(max_size=12))
        def altered(start: int, length: int, new: bytes) -> None:
            tried()
            data = seed[:start] + new + seed[start + length :]
            trying(data)
            read_held(name, data, tmp_path)

        altered()


@pytest.mark.attack("regressions of parsers")
@pytest.mark.parametrize("file", sorted(KEPT.glob("*/*")), ids=lambda file: f"{file.parent.name}-{file.name[:12]}")
def test_what_once_broke_a_parser_is_refused_in_one_line(file: Path, tmp_path: Path) -> None:
    read_held(file.parent.name, file.read_bytes(), tmp_path)


def test_a_parser_reads_what_a_fuzzer_begins_with(tmp_path: Path) -> None:
    for name in ("json", "yaml", "captions-csv", "captions-jsonl", "captions-txt", "safetensors", "audio"):
        assert feed(PARSERS[name], PARSERS[name].seed, tmp_path) is None, name


def test_the_smallest_bytes_that_break_a_parser_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(file: Path) -> None:
        if file.stat().st_size > 2:
            raise ValueError("broke")

    monkeypatch.setitem(PARSERS, "json", Parser("config.json", read, b""))

    def search() -> None:
        with keeping("json", tmp_path / "kept") as trying:

            @examples(50, 50)
            @given(data=st.binary(max_size=8))
            def drawn(data: bytes) -> None:
                trying(data)
                read_held("json", data, tmp_path)

            drawn()

    with pytest.raises(ValueError, match="broke"):
        search()
    (file,) = (tmp_path / "kept" / "json").iterdir()
    assert file.read_bytes() == bytes(3)


def refuse(line: str) -> Any:
    raise DataError(line)


@pytest.mark.parametrize(
    ("read", "broken"),
    [
        (lambda file: bytearray(3 * 2**30), "no answer within 0.2 s and 2 GiB"),
        (lambda file: Event().wait(60), "no answer within 0.2 s and 2 GiB: 0.2 s are over"),
        (lambda file: refuse("bad"), "names no file"),
        (lambda file: refuse(f"{file.parent}: bad"), "bad"),
    ],
    ids=["memory", "waits", "no file", "its folder"],
)
def test_a_parser_that_breaks_a_promise_is_told(
    read: Callable[[Path], Any], broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contract, "PATIENCE", 0.2)
    monkeypatch.setitem(PARSERS, "json", Parser("config.json", read, b""))
    with pytest.raises(AssertionError, match=broken):
        read_held("json", b"", tmp_path)


def test_a_parser_that_takes_the_processor_for_too_long_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contract, "SECONDS", 0.0)
    with pytest.raises(AssertionError, match="longer than 0 s"):
        read_held("json", b"{}", tmp_path)
