"""`bench ladder`: does the suite tell good from bad? From real audio down to random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.commands.options import Debug, Quiet


def ladder(
    models: Annotated[str | None, typer.Option(help="Models, separated by commas; all embedded ones if left out.")] = None,
    limit: Annotated[int | None, typer.Option(min=2, help="Captions; the whole suite if left out.")] = None,
    out: Annotated[Path, typer.Option(help="Run folder that ladder.json is written to.")] = Path("runs/ladder"),
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Check that scores tell good from bad.

    Climbs the sanity ladder: real audio, full precision, ever fewer bits, random weights.
    """
    from bench.ladder import run_ladder
    from methods.spec import split_specs

    run_ladder(split_specs(models) if models else None, out, limit)
    print(out / "ladder.json")
