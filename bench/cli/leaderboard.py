"""`bench leaderboard`: one static page from the records of some runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from admbench.bench.cli.options import Debug, Quiet


def leaderboard(
    runs: Annotated[list[Path], typer.Argument(metavar="RUNS...", help="Run folders.")],
    out: Annotated[Path, typer.Option(help="Folder of the page.")] = Path("site"),
    title: Annotated[
        str, typer.Option(help="Title of the page.")
    ] = "How much does quantization cost audio diffusion models?",
    serve: Annotated[bool, typer.Option("--serve", help="Show it on a port of this machine until Ctrl-C.")] = False,
    port: Annotated[int, typer.Option(help="Port for --serve; 0 takes any free one.")] = 8000,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write the page over all records of runs."""
    from admbench.bench.cli.records import gather_records
    from admbench.leaderboard.site import build_site

    gathered = gather_records(runs)
    build_site(gathered.records, out, title=title, quarantined=gathered.quarantined)
    print(f"leaderboard: {out / 'index.html'}")
    if serve:
        from admbench.bench.cli.serving import serve_folder

        serve_folder(out, port)
