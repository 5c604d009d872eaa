"""What `bench new-method`, `bench new-metric` and `bench new-model` do: write a package, and say how to go on."""

from __future__ import annotations

from pathlib import Path

from admbench.registry import Registry


def write_package(registry: Registry, name: str, out: Path | None, *, quiet: bool) -> None:
    """Write the package of a plug-in and print its files.

    Args:
        registry: of the plug-in's kind.
        name: of the plug-in.
        out: folder of the package; None for one called like the plug-in, here.
        quiet: whether the next command is left unsaid.

    Raises:
        UsageError: the name or the folder cannot be used.
    """
    from admbench.bench.authoring import scaffold
    from admbench.bench.cli.checks import check_writable_folder

    folder = out or Path(name)
    check_writable_folder(folder, holds=["pyproject.toml"])
    for file in scaffold.write_package(registry, name, folder):
        print(file)
    if not quiet:
        print(f"next: pip install -e {folder} && bench check-plugin {name}")
