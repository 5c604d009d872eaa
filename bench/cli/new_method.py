"""`bench new-method`: a method's package to begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from admbench.bench.cli.options import Debug, Quiet
from admbench.bench.cli.scaffold import write_package


def new_method(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the method, such as power-of-two.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the package; NAME here if left out.")] = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write a package with a working method.

    Its entry point, one file that composes parts of the core, and a test that runs the conformance suite.
    """
    from admbench.methods import registry

    write_package(registry, name, out, quiet=quiet)
