"""Progress bars on standard error, where a person is watching."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
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


@contextmanager
def bar(description: str, total: float) -> Iterator[Callable[[str], None]]:
    """Give a function that moves a progress bar by one item and shows a few words on it; silent where `track` is.

    Args:
        description: a few words to the left of the bar.
        total: number of items.
    """
    if _quiet or not sys.stderr.isatty():
        yield lambda text: None
        return
    from rich.console import Console
    from rich.progress import Progress, TextColumn

    columns = (*Progress.get_default_columns(), TextColumn("{task.fields[text]}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(description, total=total, text="")
        yield lambda text: progress.update(task, advance=1, text=text)
