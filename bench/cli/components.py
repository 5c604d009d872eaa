"""`bench components`: which component of a model stands how few bits."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from admbench.bench.cli.options import Debug, Quiet
from admbench.bench.cli.tables import megabytes, print_table

if TYPE_CHECKING:
    from admbench.leaderboard.component_table import ComponentRow
    from admbench.leaderboard.record import Score


def components(
    models: Annotated[str, typer.Option(help="Models, separated by commas.")] = "tiny-audioldm",
    methods: Annotated[str, typer.Option(help="Method specs, separated by commas.")] = "naive@w8a8,naive@w4a8",
    limit: Annotated[int, typer.Option(min=2, help="Captions.")] = 48,
    steps: Annotated[int | None, typer.Option(min=1, help="Denoising steps.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the runs, one for each component.")] = Path("runs/components"),
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Quantize each component of a model alone, and print what its clips lose.

    The same as `bench run --components NAME` for each that the model has, and a table of the records.
    """
    from admbench.bench.cli.checks import check_method
    from admbench.bench.cli.records import gather_records
    from admbench.bench.cli.run_progress import RunProgress
    from admbench.bench.models.checks import check_model
    from admbench.bench.studies.components import run_components
    from admbench.leaderboard.component_table import SCORES, component_rows
    from admbench.methods.spec import split_specs

    names, specs = split_specs(models), split_specs(methods)
    for name in names:
        check_model(name)
    for spec in specs:
        check_method(spec)
    with RunProgress(quiet) as progress:
        command = shlex.join(["bench", *sys.argv[1:]])
        results = run_components(names, specs, out, limit=limit, steps=steps, command=command, events=progress.events)
    failed = [result for result in results if result.reason is not None]
    for result in failed:
        print(f"failed: {result.job.name} ({', '.join(result.job.components)}): {result.reason}", file=sys.stderr)
    runs = sorted({result.job.run for result in results})
    rows = component_rows(item.record for item in gather_records(runs).records)
    print_table(("model", "component", "method", *SCORES, "bytes", "fp32", "n"), [_row(row) for row in rows])
    return 1 if failed else 0


def _row(row: ComponentRow) -> tuple[str, ...]:
    sizes = ("-" if count is None else megabytes(count) for count in (row.bytes, row.baseline_bytes))
    scores = (_number(score) for score in row.scores.values())
    return (row.model, row.component, row.method, *scores, *sizes, str(row.n or "-"))


def _number(score: Score | None) -> str:
    if score is None or score.value is None:
        return "-"
    if score.ci95 is None:
        return f"{score.value:.3f}"
    return f"{score.value:.3f} ({score.ci95[0]:.3f} .. {score.ci95[1]:.3f})"
