"""`bench listen export`: a listening test for webMUSHRA or BeaqleJS from the clips of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from admbench.bench.cli.options import Debug, Quiet
from admbench.errors import UsageError, nearest

app = typer.Typer(name="listen", help="Listening tests.", no_args_is_help=True)


@app.callback()
def listen() -> None:
    """Listening tests."""


@app.command("export")
def export(
    runs: Annotated[list[Path], typer.Argument(metavar="RUNS...", help="Run folders.")],
    out: Annotated[Path, typer.Option(help="Folder of the test; new or empty.")],
    format: Annotated[str, typer.Option(help="webmushra or beaqlejs.")] = "webmushra",
    test: Annotated[str, typer.Option(help="mushra, abx, or preference (beaqlejs).")] = "mushra",
    model: Annotated[str | None, typer.Option(help="The model, where runs have several.")] = None,
    methods: Annotated[str | None, typer.Option(help="Methods, by commas; all by default.")] = None,
    captions: Annotated[int, typer.Option(min=1, help="Captions, at even steps through the suite.")] = 10,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write a test set: config, clips, and which condition is what.

    Full precision is the reference. A MUSHRA page has all methods, the hidden reference and a low anchor; ABX and
    preference are pairs of full precision and one method.
    """
    from typing import cast

    from admbench.bench.cli.records import gather_records
    from admbench.leaderboard.boards import make_boards
    from admbench.leaderboard.listening_export import FORMATS, KINDS, Format, Kind, export_test
    from admbench.methods.spec import split_specs

    for flag, value, known in (("--format", format, FORMATS), ("--test", test, KINDS)):
        if value not in known:
            raise UsageError(f'{flag} "{value}" is unknown.{nearest(value, known)} Expected {", ".join(known)}')
    boards = make_boards(gather_records(runs).records)
    groups = [(board, group) for board in boards for group in board.groups if model in (None, group)]
    if len(groups) != 1:
        known_models = ", ".join(dict.fromkeys(group for board in boards for group in board.groups))
        found = f'"{model}" is on {len(groups)} boards' if model else f"the runs have {len(groups)} models"
        raise UsageError(f"--model: {found}; expected one of {known_models}, on one board")
    written = export_test(
        *groups[0],
        out,
        tool=cast(Format, format),
        kind=cast(Kind, test),
        captions=captions,
        methods=split_specs(methods) if methods else None,
    )
    print(f"test: {written.config}, {written.captions} captions, {written.conditions} methods")
    if not quiet:
        print(written.how)
