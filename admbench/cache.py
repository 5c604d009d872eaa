"""The user's cache: what was computed before, addressed by content, and safe to remove at any time."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

KINDS = {
    "boards": "checks and conclusions of boards of many records",
    "features": "features of scored clips",
    "hashes": "hashes of large weights files",
    "native": "kernels compiled for this machine, and whether they are used",
    "paces": "how fast models go on this machine, for a week",
}
"""Folder in the cache -> what is in it."""


@dataclass(frozen=True)
class CacheEntry:
    """All cached files of one kind."""

    kind: str
    folder: Path
    count: int
    size: int
    """Bytes."""
    since: datetime
    """When the oldest file was written."""


def root() -> Path:
    """Return the cache folder: `$ADMBENCH_CACHE`, else `admbench` in `$XDG_CACHE_HOME` or `~/.cache`."""
    if chosen := os.environ.get("ADMBENCH_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "admbench"


def path(kind: str, key: str, suffix: str) -> Path:
    """Return where the product with a content address is, or would be, cached."""
    return root() / kind / f"{key}{suffix}"


def entries() -> list[CacheEntry]:
    """Return what is cached, one entry per kind that has files."""
    found = []
    for kind, meaning in KINDS.items():
        folder = root() / kind
        stats = [file.stat() for file in _files(folder)]
        if stats:
            since = datetime.fromtimestamp(min(stat.st_mtime for stat in stats)).astimezone()
            found.append(CacheEntry(meaning, folder, len(stats), sum(stat.st_size for stat in stats), since))
    return found


def prune() -> tuple[int, int]:
    """Remove everything that is cached; return the number of files and their bytes."""
    count = size = 0
    for kind in KINDS:
        for file in _files(root() / kind):
            count, size = count + 1, size + file.stat().st_size
            file.unlink()
    return count, size


def _files(folder: Path) -> list[Path]:
    return [file for file in folder.iterdir() if file.is_file()] if folder.is_dir() else []
