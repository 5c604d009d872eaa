"""`bench new-metric`: a metric's package to begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from admbench.bench.cli.options import Debug, Quiet
from admbench.bench.cli.scaffold import write_package


def new_metric(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the metric, such as centroid-shift.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the package; NAME here if left out.")] = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write a package with a working metric.

    Its entry point, one file with the formula, and a test that runs the conformance suite.
    """
    from admbench.metrics import registry

    write_package(registry, name, out, quiet=quiet)
