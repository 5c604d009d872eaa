"""`bench new-method`: a plug-in package to begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from admbench.bench.cli.options import Debug, Quiet


def new_method(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the method, such as power-of-two.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the package; NAME here if left out.")] = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write a package with a working method.

    Its entry point, one file that composes parts of the core, and a test that runs the conformance suite.
    """
    from admbench.bench.authoring.new_method import write_package
    from admbench.bench.cli.checks import check_writable_folder

    folder = out or Path(name)
    check_writable_folder(folder, holds=["pyproject.toml"])
    for file in write_package(name, folder):
        print(file)
    if not quiet:
        print(f"next: pip install -e {folder} && bench check-plugin {name}")
