"""What `bench score --per-clip FILE` writes: a row a clip, as CSV or JSON by the file's suffix."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from admbench.errors import UsageError
from admbench.files import write_json_atomic, write_text_atomic

SUFFIXES = (".csv", ".json")


def check_suffix(path: Path) -> None:
    """Raise UsageError unless a file's suffix says how it is to be written."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path}: expected a name that ends in {' or '.join(SUFFIXES)}")


def write_per_clip(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the rows of a report's `clips`, which all have the same keys.

    In CSV a number that there is not is empty, and faults are 0 or 1. In JSON these are null, false and true.
    """
    check_suffix(path)
    if path.suffix.lower() == ".json":
        write_json_atomic(path, list(rows))
        return
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows)
    write_text_atomic(path, text.getvalue())


def _cell(value: Any) -> Any:
    return int(value) if isinstance(value, bool) else value
