"""`bench merge`: several runs as one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from admbench.bench.cli.options import Debug, Quiet


def merge(
    runs: Annotated[list[Path], typer.Argument(metavar="RUNS...", help="Run folders; of equal cells the first stays.")],
    out: Annotated[Path, typer.Option(help="Run folder that takes them in; made if there is none.")],
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Put the finished work of several runs into one run folder.

    What is the same by its key is linked once; what is not is named and left where it is (exit code 1), and nothing is
    overwritten. `bench run` with that folder goes on from what is there.
    """
    from admbench.bench.run.merging import merge_runs

    done = merge_runs(runs, out)
    for conflict in done.conflicts:
        print(f"conflict: {conflict}", file=sys.stderr)
    if not quiet:
        print(f"{out}: {len(done.added)} added, {len(done.known)} there already, {len(done.conflicts)} in conflict")
    return 1 if done.conflicts else 0
