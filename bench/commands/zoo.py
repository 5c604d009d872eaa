"""`bench zoo`: rebuild or verify the embedded checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.commands.options import Debug, Quiet

app = typer.Typer(help="Train or check the embedded weights.")


@app.command("train")
def train(
    stages: Annotated[str | None, typer.Option(help="Stages, separated by commas; all if left out.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where to build; the package itself if left out.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget what an earlier, interrupted training left.")] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Train the embedded models and metric networks anew from their seeds, in resumable stages."""
    from bench.zoo.train import train as train_zoo

    train_zoo(stages.split(",") if stages else None, out, fresh)


@app.command("check")
def check(
    json: Annotated[Path | None, typer.Option(help="Write the figures to this file.")] = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Verify hashes of the embedded checkpoints and the figures of their model card."""
    from bench.zoo.check import check as check_zoo

    return int(check_zoo(json))
