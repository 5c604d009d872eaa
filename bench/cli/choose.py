"""`bench choose`: the smallest, fastest or least hungry cell of each model that is shown to be no worse."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from admbench.bench.cli.options import Debug, Quiet
from admbench.bench.cli.tables import megabytes, print_table

if TYPE_CHECKING:
    from admbench.leaderboard.choice import Candidate, Choice

_HEADER = ("model", "use", "method", "cost", "less than fp32", "verdict", "captions that would tell")


def choose(
    runs: Annotated[list[Path], typer.Argument(metavar="RUNS...", help="Run folders, or result.json files.")],
    within: Annotated[
        list[str] | None, typer.Option(help="Largest loss that counts as none: fd=+5%, clap=-0.01. Repeatable.")
    ] = None,
    by: Annotated[Literal["bytes", "latency", "memory"], typer.Option(help="What is to be saved.")] = "bytes",
    json: Annotated[Path | None, typer.Option(help="Write all numbers to this file.")] = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Say which cell of each model to use: the cheapest that is shown to be no worse than full precision.

    Then the next one, those that would be cheaper but of which it cannot be told, with the captions that would tell,
    and those that are worse. Exit code 1 if a model has no cell to use.
    """
    from admbench.bench.cli.checks import check_writable_file
    from admbench.bench.cli.records import gather_records
    from admbench.files import write_json_atomic
    from admbench.leaderboard import choice
    from admbench.leaderboard.gate import DEFAULT

    if json is not None:
        check_writable_file(json)
    found = choice.choose(gather_records(runs).records, within or DEFAULT, by)
    if json is not None:
        write_json_atomic(json, choice.to_json(found))
    print_table(_HEADER, [row for one in found for row in _rows(one)])
    for caution in dict.fromkeys(one.caution for one in found if one.caution):
        print(f"warning: {caution}", file=sys.stderr)
    if not quiet:
        for one in found:
            print(_sentence(one), file=sys.stderr)
    return 0 if all(one.chosen for one in found) else 1


def _rows(one: Choice) -> list[tuple[str, ...]]:
    chosen = [("use", own) for own in (one.chosen,) if own]
    further = [("next", own) for own in (one.next,) if own]
    rest = [("undecided", own) for own in one.undecided] + [("no", own) for own in one.worse]
    unpriced = [("cost unknown", own) for own in one.unpriced]
    return [_row(one, role, own) for role, own in [*chosen, *further, *rest, *unpriced]]


def _row(choice: Choice, role: str, own: Candidate) -> tuple[str, ...]:
    from admbench.leaderboard.inference.sentences import measured

    saved = choice.saved(own)
    verdicts = "; ".join(f"{key} {measured(one)}, margin {one.margin}" for key, one in own.verdicts.items())
    return (
        choice.model,
        role,
        own.method,
        _cost(choice, own),
        "" if saved is None else f"{saved:.1%}",
        f"{own.word}: {own.failed or verdicts}",
        f"{own.captions_needed:,}" if own.captions_needed else "",
    )


def _cost(choice: Choice, own: Candidate) -> str:
    if own.cost.value is None:
        return own.cost.reason or "unknown"
    return f"{own.cost.value:.2f} ms" if choice.by == "latency" else megabytes(int(own.cost.value))


def _sentence(one: Choice) -> str:
    if one.chosen is None:
        return f"{one.model}: no cell is shown to be no worse at a known cost; stay with full precision"
    text = f"{one.model}: use {one.chosen.method}, {_cost(one, one.chosen)} ({one.cost_of})"
    if one.next and one.next.cost.value and one.chosen.cost.value:
        text += f"; next is {one.next.method}, {one.next.cost.value / one.chosen.cost.value:.2f} times that"
    if one.undecided:
        text += f"; of {len(one.undecided)} more it cannot be told"
    return text
