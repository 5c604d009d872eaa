"""`bench check-plugin`: the conformance suite, run on one plug-in."""

from __future__ import annotations

import os
from typing import Annotated, Literal

import typer

from admbench import arithmetic
from admbench.bench.cli.options import Debug, Quiet
from admbench.bench.cli.tables import print_table


def check_plugin(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the plug-in; of a method also a spec.")],
    kind: Annotated[
        Literal["method", "model", "metric", "suite"] | None, typer.Option(help="What it is, if its name is several.")
    ] = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Check whether a plug-in keeps its contract.

    One line for each thing that has to hold: passed, failed with what is wrong, or skipped with why. Exits with 1 if
    one failed.
    """
    os.environ.update(arithmetic.reproducible(os.environ))  # before the first product: "the same twice" is checked
    from admbench.bench.conformance.plugins import findings, kind_of
    from admbench.progress import track

    found = list(track(findings(name, kind or kind_of(name)), f"checking {name}"))
    print_table(("state", "what has to hold", "detail"), [(one.state, one.check, one.detail or "-") for one in found])
    return 1 if any(one.state == "failed" for one in found) else 0
