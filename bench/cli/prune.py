"""`bench prune`: clips or checkpoints of finished cells are removed, and their records say so."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from admbench.bench.cli.options import Debug
from admbench.bench.cli.tables import megabytes, print_table


def prune(
    run: Annotated[str, typer.Argument(help="Run folder, or the URL that a run stores at.")],
    what: Annotated[str, typer.Option(help="audio, checkpoint, or both, by commas; of a URL: leftovers.")],
    cells: Annotated[
        str, typer.Option(help='Which, as MODEL/METHOD with * and ?, such as "tiny-tango/naive@*".')
    ] = "*",
    debug: Debug = False,
) -> None:
    """Remove clips or packed checkpoints of finished cells from a run.

    Records stay, say what was removed (`provenance.pruned`), and so do the results per caption: cells stay finished and
    on the board. What is needed again, `bench run` makes again.

    Of storage at a URL `--what leftovers` removes the objects that no finished job names.
    """
    from admbench.bench.run.pruning import prune_run
    from admbench.bench.run.store_upkeep import prune_store
    from admbench.errors import UsageError
    from admbench.methods.spec import split_specs

    if "://" in run:
        if (what, cells) != ("leftovers", "*"):
            raise UsageError("of storage at a URL leftovers are pruned: --what leftovers, and no --cells")
        count, freed = prune_store(run)
        print(f"{count} objects, {megabytes(freed)} freed")
        return
    pruned = prune_run(Path(run), split_specs(what), cells)
    print_table(
        ("cell", "removed", "freed"), [(one.cell, ", ".join(one.parts), megabytes(one.freed)) for one in pruned]
    )
    print(f"{len(pruned)} cells, {megabytes(sum(one.freed for one in pruned))} freed")
