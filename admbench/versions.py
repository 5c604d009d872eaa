"""Which code runs: version of the distribution, hash of the source, state of the source tree."""

from __future__ import annotations

import subprocess
import tomllib
from functools import cache
from importlib import metadata, util
from pathlib import Path
from typing import Any

from admbench.hashing import sha256_file, sha256_json

ROOT = Path(__file__).resolve().parents[1]
"""Folder that holds this package: a source tree, or site-packages."""


@cache
def package_version() -> str:
    """Return the version of this distribution, also in a source tree that is not installed."""
    try:
        return metadata.version("admbench")
    except metadata.PackageNotFoundError:
        with open(ROOT / "pyproject.toml", "rb") as file:
            return str(tomllib.load(file)["project"]["version"])


@cache
def source_sha256(package: str) -> str:
    """Return a hash over all files of one of our packages, such as `admbench.metrics`: code, weights, templates."""
    spec = util.find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0])
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and "__pycache__" not in path.parts)
    return sha256_json({path.relative_to(folder).as_posix(): sha256_file(path) for path in files})


def git_state() -> dict[str, Any] | None:
    """Return commit and dirtiness of the source tree; None when the packages do not lie in one."""
    if not (ROOT / ".git").exists():
        return None
    commit, status = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--untracked-files=no")
    if commit is None or status is None:
        return None
    return {"commit": commit, "dirty": bool(status)}


def plugin_identity(group: str, name: str) -> str:
    """Return what tells one version of a plug-in from another: our own version, or its distribution's."""
    for point in metadata.entry_points(group=group, name=name):
        if point.dist is not None and point.dist.name != "admbench":
            return f"{point.value} {point.dist.name} {point.dist.version}"
    return f"admbench {package_version()}"


def _git(*arguments: str) -> str | None:
    """Return the output of git in the source tree; None where git is missing or refuses."""
    try:
        done = subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
