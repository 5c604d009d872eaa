"""`bench validate`: are these records what the board accepts, and do their clips give their scores?"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from admbench.bench.cli.options import Debug, Quiet

if TYPE_CHECKING:
    from admbench.leaderboard.reading import LoadedRecord


def validate(
    paths: Annotated[list[Path], typer.Argument(metavar="RECORD...", help="result.json files or run folders.")],
    rescore: Annotated[
        bool, typer.Option("--rescore", help="Also embed the clips again and compare; needs run folders and judges.")
    ] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Check result records.

    Against the schema, for consistency, and against what lies beside them: one line per problem, exit code 2 if there
    is one. With --rescore the judges hear the clips once more; cells that give their scores again are noted in
    RUN/validation.json and are `re-scored` from then on. The others are `checked`, if their per-caption results give
    their numbers, or `self-reported`.
    """
    from admbench.errors import DataError
    from admbench.leaderboard.reading import gather
    from admbench.leaderboard.states import Checks
    from admbench.leaderboard.validating import validate as check
    from admbench.plain_text import visible

    checked = check(paths)
    bad = {file.path: list(file.problems) for file in checked}
    try:
        good = [one for one in gather(paths).records if not bad[one.path]]
    except DataError:
        good = []  # no record is valid: every problem is known
    if rescore:
        for path, problems in _rescore(good).items():
            bad[path] += problems
    for problem in (problem for problems in bad.values() for problem in problems):
        print(f"error: {visible(problem)}", file=sys.stderr)  # a folder's name may hold a line break
    if not quiet:
        checks = Checks()
        states = Counter(checks.of(one) for one in good if one.record.status == "done" and not bad[one.path])
        said = "".join(f", {count} {state}" for state, count in states.items())
        print(f"{len(checked)} records, {sum(map(bool, bad.values()))} with problems{said}")
    return 2 if any(bad.values()) else 0


def _rescore(records: list[LoadedRecord]) -> dict[Path, list[str]]:
    """Score cells again, note those that give their scores, and return the problem lines of the others."""
    from admbench.bench.scoring.rescore import rescore_all
    from admbench.leaderboard.states import forget, note

    found = rescore_all(records)
    for loaded in (one for one in records if one.path in found):
        outcome = found[loaded.path]
        if outcome.problems:
            forget(loaded)
        else:
            note(loaded, outcome.scores, outcome.not_scored)
    return {path: [f"{path}: {line}" for line in outcome.problems] for path, outcome in found.items()}
