"""Bytes for each parser of single files: any, as hypothesis draws them, and those that once broke one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .parsers import KEPT, PARSERS, feed
from .test_alterations import LONG

FEW = 15


@pytest.mark.attack("bytes for a parser of one file")
@pytest.mark.parametrize("name", PARSERS)
def test_any_bytes_are_read_or_refused_in_one_line(name: str, tmp_path: Path, tried: Callable[..., None]) -> None:
    parser = PARSERS[name]
    seed = parser.seed

    @settings(
        max_examples=FEW * 100 if LONG else FEW,
        derandomize=not LONG,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(start=st.integers(0, len(seed)), length=st.integers(0, 12), new=st.binary(max_size=12))
    def altered(start: int, length: int, new: bytes) -> None:
        tried()
        feed(parser, seed[:start] + new + seed[start + length :], tmp_path)

    altered()


@pytest.mark.attack("regressions of parsers")
@pytest.mark.parametrize("file", sorted(KEPT.glob("*/*")), ids=lambda file: f"{file.parent.name}-{file.name[:12]}")
def test_what_once_broke_a_parser_is_refused_in_one_line(file: Path, tmp_path: Path) -> None:
    feed(PARSERS[file.parent.name], file.read_bytes(), tmp_path)


def test_a_parser_reads_what_a_fuzzer_begins_with(tmp_path: Path) -> None:
    for name in ("json", "yaml", "captions-csv", "captions-jsonl", "captions-txt", "safetensors", "audio"):
        assert feed(PARSERS[name], PARSERS[name].seed, tmp_path) is None, name
