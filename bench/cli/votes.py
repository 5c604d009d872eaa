"""`bench votes`: what listeners heard, from the exports of the listening page."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from admbench.bench.cli.options import Debug, Quiet
from admbench.bench.cli.tables import print_table

if TYPE_CHECKING:
    from admbench.leaderboard.hearing import Heard
    from admbench.leaderboard.votes import Session


def votes(
    files: Annotated[list[Path], typer.Argument(metavar="FILES...", help="Exports of the listening page.")],
    runs: Annotated[
        list[Path] | None,
        typer.Option(help="Run folder whose clips the votes must be on; repeatable. Other votes are left out."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write all numbers to this file, as JSON.")] = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Put the votes of blind tests together.

    A line per model, kind of test and method: answers, their share with a 95 % interval over listeners, p, and whether
    the difference is heard. The order of trials and every p are computed again from the votes; an export that says
    otherwise is refused. `bench leaderboard RUNS --votes FILE` shows the same on the board.
    """
    from admbench.bench.cli.checks import check_writable_file
    from admbench.files import write_json_atomic
    from admbench.leaderboard.hearing import hear
    from admbench.leaderboard.hearing_text import HEADER, rows, to_json
    from admbench.leaderboard.votes import merge, read_votes

    if out is not None:
        check_writable_file(out)
    merged = merge([(path, read_votes(path)) for path in files])
    if runs:
        merged = _of_runs(merged, runs)
    found: list[Heard] = hear(merged)
    if out is not None:
        write_json_atomic(out, to_json(found))
    print_table(HEADER, rows(found))
    if not quiet:
        listeners = len({listener for listener, session in merged if session.ended is not None})
        print(f"votes: {len(merged)} sessions of {listeners} listeners", file=sys.stderr)


def _of_runs(merged: list[tuple[str, Session]], runs: list[Path]) -> list[tuple[str, Session]]:
    from admbench.bench.cli.records import gather_records
    from admbench.leaderboard.boards import make_boards
    from admbench.leaderboard.hearing import clips_of, of_clips

    kept, left_out = of_clips(merged, clips_of(make_boards(gather_records(runs).records)))
    for line in left_out:
        print(f"warning: left out: {line}", file=sys.stderr)
    return kept
