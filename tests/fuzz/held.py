"""Bytes for a parser of one file, within the bounds of `contract`; the smallest that broke it are kept as a file."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

from .contract import Answer, ask
from .parsers import KEPT, PARSERS


def read_held(name: str, data: bytes, folder: Path) -> Answer:
    """Let a parser read bytes, as a file in a folder, and hold it to its promises.

    Raises:
        AssertionError: it broke one; says which.
    """
    parser = PARSERS[name]
    file = folder / parser.name
    file.write_bytes(data)
    answer = ask(lambda: parser.read(file), folder)
    assert answer.refusal is None or str(file) in answer.refusal, answer.refusal
    return answer


@contextlib.contextmanager
def keeping(name: str, kept: Path = KEPT) -> Iterator[Callable[[bytes], None]]:
    """Take down what is tried next, by calling what this gives with its bytes; where that raises, keep the last.

    Around a property of hypothesis, whose last example is the smallest that was found.

    Args:
        name: of a parser.
        kept: where bytes that broke parsers are: kept/PARSER/NAME.
    """
    last: list[bytes] = []

    def trying(data: bytes) -> None:
        last[:] = [data]

    try:
        yield trying
    except BaseException as error:
        if last and not isinstance(error, KeyboardInterrupt):
            (kept / name).mkdir(parents=True, exist_ok=True)
            (kept / name / hashlib.sha256(last[0]).hexdigest()[:12]).write_bytes(last[0])
        raise


def kept_bytes(name: str) -> list[bytes]:
    """Return what once broke a parser."""
    return [file.read_bytes() for file in sorted((KEPT / name).glob("*"))]
