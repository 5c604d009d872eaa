"""The parsers of single files from outside: bytes to an answer, or to one line that names the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from admbench.bench.models.checkpoints.tensors import read_tensors
from admbench.bench.suites import load_suite
from admbench.errors import BenchError
from admbench.files import read_json, read_yaml
from admbench.leaderboard.per_caption import read_per_caption
from admbench.leaderboard.reading import read_record
from admbench.methods.core.checkpoint.formats import read_header
from admbench.metrics.audio import read_audio

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "fuzz" / "regressions" / "bytes"
"""Bytes that once broke a parser: KEPT/PARSER/NAME."""


class Parser(NamedTuple):
    """A parser, and what it is fed with."""

    name: str
    """Of the file that it reads."""
    read: Callable[[Path], Any]
    seed: bytes
    """Bytes that it reads, for a fuzzer to begin with."""


PARSERS: dict[str, Parser] = {
    "json": Parser("config.json", read_json, b'{"a": [1, 2.5, "x", null, true]}'),
    "yaml": Parser("config.yaml", read_yaml, b"model:\n  target: a\n  params: {a: 1, b: [2]}\n"),
    "captions-csv": Parser("captions.csv", lambda file: load_suite(str(file)), b'id,caption,seed\na,"b, c",1\n'),
    "captions-jsonl": Parser("captions.jsonl", lambda file: load_suite(str(file)), b'{"caption": "a", "seed": 1}\n'),
    "captions-txt": Parser("captions.txt", lambda file: load_suite(str(file)), b"rain falls\n"),
    "header": Parser("quantization.json", lambda file: read_header(file.parent), b'{"format_version": 5}'),
    "record": Parser("result.json", read_record, b'{"schema_version": 3, "status": "failed", "reason": "x"}'),
    "per-caption": Parser(
        "per-caption.safetensors",
        lambda file: read_per_caption(file.parent, file),
        b"\x08\x00\x00\x00\x00\x00\x00\x00{}      ",
    ),
    "safetensors": Parser("model.safetensors", read_tensors, b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "),
    "pickle": Parser("model.bin", read_tensors, b"\x80\x02}q\x00."),
    "audio": Parser(
        "clip.wav",
        read_audio,
        b"RIFF\x28\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x80\x3e\0\0\0\x7d\0\0\2\0\x10\0data\4\0\0\0\1\0\2\0",
    ),
}


def feed(parser: Parser, data: bytes, folder: Path) -> str | None:
    """Let a parser read bytes; return the line that it refused them with, if it did.

    Raises:
        AssertionError: the line is none, or does not name the file.
        Exception: whatever else than a refusal the parser raised.
    """
    file = folder / parser.name
    file.write_bytes(data)
    try:
        parser.read(file)
    except BenchError as error:
        line = str(error)
        assert len(line.splitlines()) == 1, repr(line)
        assert str(file) in line, line
        return line
    return None
