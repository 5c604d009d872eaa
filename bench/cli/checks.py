"""Checks of what the user typed, before anything that takes time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from admbench.errors import PluginError, UsageError


def check_method(spec: str) -> None:
    """Raise UsageError unless the spec is well formed and there is a method of its name.

    Raises:
        PluginError: it is a built-in method, and what it needs is not installed.
    """
    from admbench.methods import registry
    from admbench.methods.spec import MethodSpec

    name = MethodSpec.parse(spec).name
    registry.check(name)
    if name in registry.builtin:
        unavailable = registry.info(name).unavailable
        if unavailable is not None:
            raise PluginError(f'method "{name}" {unavailable}')


def check_writable_file(path: Path) -> None:
    """Raise UsageError unless a file can be made at that path; its folder has to exist."""
    if path.is_dir():
        raise UsageError(f"{path}: is a folder; expected a file name")
    # a device or pipe, or /dev/stdout, which is a link to whatever it is, would be replaced by a file
    standard = path.is_symlink() and path.absolute().parts[:2] in (("/", "dev"), ("/", "proc"))
    if (path.exists() and not path.is_file()) or standard:
        raise UsageError(f"{path}: is no regular file; expected a file name")
    if not path.parent.is_dir():
        raise UsageError(f"{path}: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise UsageError(f"{path}: the folder {path.parent} cannot be written")


def check_writable_folder(path: Path, holds: Sequence[str]) -> None:
    """Raise UsageError unless a folder can be made, or replaced, at that path.

    Args:
        path: of the folder.
        holds: files of which one has to be there already if the folder is there and not empty: a folder with other
            content is not replaced.
    """
    if path.is_dir():
        if any(path.iterdir()) and not any((path / name).exists() for name in holds):
            raise UsageError(f"{path}: holds other files; expected a new or empty folder, or one with {holds[0]}")
    elif path.exists():
        raise UsageError(f"{path}: is a file; expected a folder")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{path}: cannot be made ({error.strerror})") from None
    if not os.access(path.parent, os.W_OK):
        raise UsageError(f"{path}: the folder {path.parent} cannot be written")
