"""`bench table`: what can be told of every method on every model, then the table, from the records of some runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from admbench.bench.cli.options import Debug, Quiet

if TYPE_CHECKING:
    from admbench.leaderboard.comparison import Comparison
    from admbench.leaderboard.versus import Statement


def table(
    runs: Annotated[list[Path], typer.Argument(metavar="RUNS...", help="Run folders.")],
    format: Annotated[Literal["markdown", "tsv", "json"], typer.Option(help="Of the table.")] = "markdown",
    by: Annotated[
        str | None, typer.Option(help="Score of the order; nearness to full precision, fd_vs_baseline, by default.")
    ] = None,
    metrics: Annotated[
        str | None, typer.Option(help="Score keys that are shown, such as fd_vs_baseline, separated by commas.")
    ] = None,
    versus: Annotated[
        str | None, typer.Option(help="State whether each method is better than this one, or than this spec.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write to this file.")] = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Say what can be told of every method on every model, then print the table.

    One order per model, as on the leaderboard, with letters (methods that share one are not told apart), rank intervals
    and verdicts; then scores, bytes and the seconds spent in quantization. With --versus NAME a statement for every
    model and method follows, from the same pairs: against that method at the same bits; with --versus SPEC against that
    one whatever the bits.
    """
    from admbench.bench.cli.checks import check_writable_file
    from admbench.bench.cli.records import concluding, gather_records
    from admbench.files import write_text_atomic
    from admbench.leaderboard.comparison import compare_views
    from admbench.leaderboard.versus import versus as hold_against
    from admbench.leaderboard.view import view_boards

    if out is not None:
        check_writable_file(out)
    records = gather_records(runs).records
    views = view_boards(records, by, processes=concluding(records))
    comparisons = compare_views(views, metrics.split(",") if metrics else None)
    statements = hold_against(views, versus) if versus else None
    text = _text(format, comparisons, versus, statements)
    if format == "tsv":  # which has no place for it
        for caution in dict.fromkeys(caution for one in comparisons for caution in one.cautions):
            print(f"warning: {caution}", file=sys.stderr)
    if out is None:
        sys.stdout.write(text)
    else:
        write_text_atomic(out, text)
        print(out)


def _text(format: str, comparisons: list[Comparison], versus: str | None, statements: list[Statement] | None) -> str:
    from admbench.leaderboard.comparison import to_json
    from admbench.leaderboard.comparison_text import VERSUS, to_markdown, to_tsv, versus_cells, versus_markdown

    if format == "json":
        value: dict[str, Any] = {"tables": to_json(comparisons), "versus": [vars(one) for one in statements or ()]}
        return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    if format == "tsv":
        rows = () if statements is None else (VERSUS, *map(versus_cells, statements))
        more = "".join("\t".join(" ".join(cell.split()) for cell in row) + "\n" for row in rows)
        return to_tsv(comparisons) + (f"\n{more}" if rows else "")
    text = to_markdown(comparisons)
    if versus is not None and statements is not None:
        scores = list(dict.fromkeys(one.score for one in statements)) or [comparisons[0].sorted_by]
        for score in scores:
            text += "\n" + versus_markdown(versus, score, [one for one in statements if one.score == score])
    return text
