"""Tables for people on a terminal, tab-separated lines for everything else."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows: a table with its header on a terminal; else one tab-separated line per row, never wrapped."""
    if not sys.stdout.isatty():
        for row in rows:
            print("\t".join(" ".join(cell.split()) for cell in row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*header, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)


def megabytes(count: int) -> str:
    """Return bytes as megabytes with two decimals.

    >>> megabytes(12_345_678)
    '12.35 MB'
    """
    return f"{count / 1e6:.2f} MB"
