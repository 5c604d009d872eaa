"""`bench validate`: are these records what the board accepts?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from admbench.bench.cli.options import Debug, Quiet


def validate(
    paths: Annotated[list[Path], typer.Argument(metavar="RECORD...", help="result.json files or run folders.")],
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Check result records.

    Against the schema and for consistency: one line per problem, exit code 2 if there is one.
    """
    from admbench.leaderboard.validating import validate as check

    checked = check(paths)
    problems = [problem for file in checked for problem in file.problems]
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    if not quiet:
        print(f"{len(checked)} records, {sum(bool(file.problems) for file in checked)} with problems")
    return 2 if problems else 0
