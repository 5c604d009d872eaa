"""`bench new-model`: a model's package to begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from admbench.bench.cli.options import Debug, Quiet
from admbench.bench.cli.scaffold import write_package


def new_model(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the model, such as my-diffusion.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the package; NAME here if left out.")] = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write a package with a working model.

    Its entry point, one file with a small untrained pipeline, and a test that runs the conformance suite.
    """
    from admbench.bench.models import registry

    write_package(registry, name, out, quiet=quiet)
