"""`bench table`: every method on every model as one table, from the records of some runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from admbench.bench.cli.options import Debug, Quiet

if TYPE_CHECKING:
    from admbench.bench.studies.orderings import Ordering


def table(
    runs: Annotated[list[Path], typer.Argument(metavar="RUNS...", help="Run folders.")],
    format: Annotated[Literal["markdown", "tsv", "json"], typer.Option(help="Of the table.")] = "markdown",
    metrics: Annotated[
        str | None, typer.Option(help="Score keys, such as fd_vs_baseline, separated by commas.")
    ] = None,
    versus: Annotated[
        str | None, typer.Option(help="State whether each method is closer to full precision than this one, or spec.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write to this file.")] = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Print every method on every model as a table.

    With intervals and the seconds spent in quantization; grouped by bits, the closest to full precision first. With
    --versus NAME a statement for every model and method follows, judged by the interval of the paired difference:
    against that method at the same bits; with --versus SPEC against that one whatever the bits.
    """
    from admbench.bench.cli.checks import check_writable_file
    from admbench.files import write_text_atomic
    from admbench.leaderboard.comparison import compare, to_json
    from admbench.leaderboard.comparison_text import to_markdown, to_tsv
    from admbench.leaderboard.reading import read_runs

    if out is not None:
        check_writable_file(out)
    records = read_runs(runs)
    comparisons = compare(records, metrics.split(",") if metrics else None)
    judged = _orderings(records, versus, comparisons) if versus else []
    if format == "json":
        value: dict[str, Any] = {"tables": to_json(comparisons), "orderings": [vars(one) for one in judged]}
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    elif format == "tsv":
        text = to_tsv(comparisons)
        if versus:
            text += "\n" + "".join("\t".join(row) + "\n" for row in (_HEADER, *map(_cells, judged)))
    else:
        text = to_markdown(comparisons)
        if versus:
            text += "\n" + _markdown(versus, judged)
    if out is None:
        sys.stdout.write(text)
    else:
        write_text_atomic(out, text)
        print(out)


def _orderings(records: Any, versus: str, comparisons: Any) -> list[Ordering]:
    from admbench.bench.studies.orderings import orderings

    keys = dict.fromkeys(
        one.sorted_by for one in comparisons if one.sorted_by and one.sorted_by.endswith("_vs_baseline")
    )
    return orderings(records, versus, next(iter(keys), "fd_vs_baseline"))


_HEADER = ("model", "closer to full precision", "than", "difference [95 %]", "n", "verdict")


def _cells(one: Ordering) -> tuple[str, ...]:
    difference = ""
    if one.difference is not None and one.ci95 is not None:
        difference = f"{one.difference:+.3f} [{one.ci95[0]:+.3f}, {one.ci95[1]:+.3f}]"
    verdict = one.verdict if one.ci95 or not one.reason else f"{one.verdict}: {one.reason}"
    return (one.model, one.better, one.worse, difference, str(one.n or ""), verdict)


def _markdown(versus: str, judged: list[Ordering]) -> str:
    from admbench.leaderboard.comparison_text import markdown_table

    score = judged[0].score if judged else "fd_vs_baseline"
    bits = "" if "@" in versus else " at the same bits"
    about = f"Closer to full precision than `{versus}`{bits}, by the paired difference of `{score}`:"
    return f"{about}\n\n{markdown_table(_HEADER, [_cells(one) for one in judged], code=(0, 1, 2))}\n"
