"""Progress bars on standard error, where a person is watching."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

_quiet = False


def set_quiet(quiet: bool) -> None:
    """Turn progress bars off (or on again) for this process."""
    global _quiet
    _quiet = quiet


def track(iterable: Iterable[Item], description: str, total: float | None = None) -> Iterator[Item]:
    """Yield from `iterable` under a progress bar; without a terminal on standard error, or when quiet, without one.

    Args:
        iterable: what to go through.
        description: a few words to the left of the bar.
        total: number of items, for an iterable without a length.
    """
    if _quiet or not sys.stderr.isatty():
        yield from iterable
        return
    from rich.console import Console
    from rich.progress import track as rich_track

    yield from rich_track(iterable, description, total=total, console=Console(stderr=True), transient=True)
