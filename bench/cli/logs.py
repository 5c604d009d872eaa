"""`bench logs`: what a cell said, or says while it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from admbench.bench.cli.options import Debug


def logs(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    cell: Annotated[str, typer.Argument(help='The cell, such as "tiny-tango naive@w8a8" or tiny-tango/naive@w8a8.')],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the cell has ended, or the run.")] = False,
    debug: Debug = False,
) -> None:
    """Show what a cell said: its quantization, then the rest. While it runs, what it has said so far.

    Of a cell whose last attempt failed or was skipped, it is what that attempt said. Characters that move the cursor or
    turn text around are shown as their escapes.
    """
    from admbench.bench.run.cell_logs import CellLogs

    found = CellLogs(run, cell)
    for line in found.follow() if follow else found.lines():
        print(line, flush=follow)
