"""`bench zoo`: rebuild or verify the embedded checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from admbench.bench.cli.options import Debug, Quiet

app = typer.Typer(help="Train or check the embedded weights.")


@app.command("train")
def train(
    stages: Annotated[str | None, typer.Option(help="Stages, separated by commas; all if left out.")] = None,
    out: Annotated[Path, typer.Option(help="Folder to work in.")] = Path("runs/zoo"),
    jobs: Annotated[int | None, typer.Option(min=1, help="Stages side by side; one per core if left out.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget what an earlier, interrupted training left.")] = False,
    install: Annotated[bool, typer.Option("--install", help="Replace the package's checkpoints at the end.")] = False,
    reuse: Annotated[
        bool, typer.Option("--reuse", help="Train tiny-dit, or tiny-pingpong, on what the package ships.")
    ] = False,
    scale: Annotated[float, typer.Option(hidden=True, help="Share of steps and clips, to try the chain.")] = 1.0,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Train the embedded models and metric networks anew from their seeds, in resumable stages.

    What would be shipped ends in OUT/export/shipped; with --install it takes the place of the package's own files.
    """
    from admbench.bench.zoo.train import train as train_zoo

    names = stages.split(",") if stages else None
    train_zoo(names, out, jobs=jobs, fresh=fresh, install=install, reuse=reuse, scale=scale)


@app.command("check")
def check(
    json: Annotated[Path | None, typer.Option(help="Write the figures to this file.")] = None,
    card: Annotated[Path | None, typer.Option(help="Write the model card to this file.")] = None,
    models: Annotated[str | None, typer.Option(help="Models, separated by commas; all if left out.")] = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Verify hashes of the embedded checkpoints and the figures of their model card."""
    from admbench.bench.zoo.check import check as check_zoo

    return check_zoo(json, card, models.split(",") if models else None)
