"""`bench cache`: what is cached, how large, since when; and removing it."""

from __future__ import annotations

import typer

from admbench.bench.cli.options import Debug
from admbench.bench.cli.tables import megabytes, print_table

app = typer.Typer(help="Show or prune what is cached.", invoke_without_command=True)


@app.callback()
def show(context: typer.Context, debug: Debug = False) -> None:
    """Show or prune what is cached: how large it is, and since when."""
    if context.invoked_subcommand is not None:
        return
    from admbench import cache

    rows = [
        (entry.kind, str(entry.count), megabytes(entry.size), f"since {entry.since:%Y-%m-%d %H:%M}", str(entry.folder))
        for entry in cache.entries()
    ]
    if rows:
        print_table(("what", "entries", "size", "since", "where"), rows)
    else:
        print(f"nothing is cached in {cache.root()}")


@app.command("prune")
def prune(debug: Debug = False) -> None:
    """Remove cached files; a run never needs them, it only gets them back."""
    from admbench import cache

    count, size = cache.prune()
    print(f"removed {count} files, {megabytes(size)}, from {cache.root()}")
