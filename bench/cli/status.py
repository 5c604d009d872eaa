"""`bench status`: how a run stands, while it is at work or after."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from admbench.bench.cli.durations import duration
from admbench.bench.cli.options import Debug
from admbench.bench.cli.tables import print_table


def status(
    run: Annotated[str, typer.Argument(help="Run folder, or the URL that a run stores at.")],
    debug: Debug = False,
) -> None:
    """Show how a run stands: of every cell its state, its stage, how long it takes, and what was expected.

    From any shell, also while `bench run` is at work, which it does not disturb. A time is expected where such a job
    was carried out before on the same class of machine. Exit code 0, also where cells failed: `bench run` says that.
    """
    from admbench.bench.run.standing import standing_of
    from admbench.bench.run.store_upkeep import standing_at

    standing = standing_at(run) if "://" in run else standing_of(Path(run))
    rows = [
        (
            row.name,
            row.state,
            row.stage or "-",
            duration(row.elapsed),
            duration(row.expected),
            row.reason or "-",
        )
        for row in standing.rows
    ]
    print_table(("cell", "state", "stage", "elapsed", "expected", "reason"), rows)
    counted = Counter(cell.state for cell in standing.cells)
    parts = [f"{len(standing.cells)} cells", *(f"{number} {state}" for state, number in counted.items())]
    print(", ".join(parts))
    if standing.running:
        left = f", about {duration(standing.left)} to go" if standing.left is not None else ""
        began = f" since {duration(standing.elapsed)}" if standing.elapsed is not None else ""
        print(f"at work{began}{left}")
    elif any(cell.state in ("waiting", "stopped") for cell in standing.cells):
        print("stopped; the same `bench run` goes on where it stopped")
