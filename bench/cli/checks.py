"""Checks of what the user typed, before anything that takes time."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from admbench.errors import PluginError, UsageError, nearest
from admbench.registry import Registry


def check_name(registry: Registry, name: str) -> None:
    """Raise UsageError unless the registry has the name; without importing the plug-in."""
    if name not in registry:
        known = registry.names()
        raise UsageError(f'unknown {registry.kind} "{name}".{nearest(name, known)} Available: {", ".join(known)}')


def check_model(name: str) -> None:
    """Raise UsageError unless there is a model of that name; say what a folder given as `dir:PATH` was taken for.

    Raises:
        CheckpointError: the folder holds nothing known.
    """
    from admbench.bench.models import registry
    from admbench.bench.models.directory import describe, path_of

    folder = path_of(name)
    if folder is None:
        check_name(registry, name)
    else:
        print(f"note: {folder}: {describe(folder)}", file=sys.stderr)


def check_components_of(model: str, names: Sequence[str]) -> None:
    """Raise UsageError unless a model has the components, as far as that is known without loading it."""
    from admbench.bench.models import quantizable
    from admbench.bench.models.components import components_of

    present = quantizable(model)
    if present is not None:
        components_of(model, present, names)


def check_method(spec: str) -> None:
    """Raise UsageError unless the spec is well formed and there is a method of its name.

    Raises:
        PluginError: it is a built-in method, and what it needs is not installed.
    """
    from admbench.methods import registry
    from admbench.methods.spec import MethodSpec

    name = MethodSpec.parse(spec).name
    check_name(registry, name)
    if name in registry.builtin:
        unavailable = registry.info(name).unavailable
        if unavailable is not None:
            raise PluginError(f'method "{name}" {unavailable}')


def check_writable_file(path: Path) -> None:
    """Raise UsageError unless a file can be made at that path; its folder has to exist."""
    if path.is_dir():
        raise UsageError(f"{path}: is a folder; expected a file name")
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
