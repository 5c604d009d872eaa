"""Flags that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from admcore.progress import set_quiet


def _set_quiet(value: bool) -> bool:
    set_quiet(value)
    return value


Quiet = Annotated[bool, typer.Option("--quiet", "-q", callback=_set_quiet, help="Print no progress.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show where an error came from.")]
