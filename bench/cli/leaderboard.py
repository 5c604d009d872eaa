"""`bench leaderboard`: one static page from the records of some runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from admbench.bench.cli.options import Debug, Quiet
from admbench.errors import UsageError


def leaderboard(
    runs: Annotated[list[Path], typer.Argument(metavar="RUNS...", help="Run folders.")],
    out: Annotated[Path, typer.Option(help="Folder of the page.")] = Path("site"),
    title: Annotated[
        str, typer.Option(help="Title of the page.")
    ] = "How much does quantization cost audio diffusion models?",
    votes: Annotated[
        list[Path] | None,
        typer.Option(help="Export of a blind test; repeatable. What listeners heard is shown, see bench votes."),
    ] = None,
    stress: Annotated[
        list[Path] | None, typer.Option(help="File of bench stress --json; repeatable. A section shows it.")
    ] = None,
    captions: Annotated[int, typer.Option(min=1, help="Captions on the listening page of each model.")] = 12,
    url: Annotated[str | None, typer.Option(help="Where the page will be: links in its feeds of new cells.")] = None,
    serve: Annotated[bool, typer.Option("--serve", help="Show it on a port of this machine until Ctrl-C.")] = False,
    port: Annotated[int, typer.Option(help="Port for --serve; 0 takes any free one.")] = 8000,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write the page over all records of runs, and feeds of new cells beside it (feed.atom, feed.json)."""
    if url is not None and not re.match(r"https?://[^\s/]", url):
        raise UsageError(f"--url {url}: expected an address such as https://board.example")
    from admbench.bench.cli.records import concluding, gather_records
    from admbench.leaderboard.reading import record_files
    from admbench.leaderboard.site import build_site
    from admbench.leaderboard.stress import read_stress
    from admbench.leaderboard.votes import merge, read_votes
    from admbench.leaderboard.workers import workers

    merged = merge([(path, read_votes(path)) for path in votes or ()])
    ladders = [read_stress(path) for path in stress or ()]
    processes = concluding(record_files(runs))
    with workers(processes):
        gathered = gather_records(runs, remembered=True)
        site = build_site(
            gathered.records,
            out,
            title=title,
            max_captions=captions,
            quarantined=gathered.quarantined,
            votes=merged,
            stress=ladders,
            url=url,
            processes=processes,
            remembered=True,
        )
    print(f"{site.written} files written, {site.kept} unchanged")
    print(f"leaderboard: {out / 'index.html'}")
    if serve:
        from admbench.bench.cli.serving import serve_folder

        serve_folder(out, port)
