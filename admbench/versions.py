"""Which code runs: version of the distribution, hash of the source, state of the source tree."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from admbench import sources
from admbench.hashing import sha256_file, sha256_json

ROOT = Path(__file__).resolve().parents[1]
"""Folder that holds this package: a source tree, or site-packages."""
ROOMS = ("bench", "methods", "metrics", "leaderboard")
"""Packages in this one, wherever they lie."""


COMPUTING = {
    "synthesis": ("numpy", "scipy", "soundfile", "soxr"),
    "generating": ("diffusers", "numpy", "scipy", "tokenizers", "torch", "torchsde", "transformers"),
    "scoring": (
        "laion-clap",
        "msclap",
        "numpy",
        "scipy",
        "soundfile",
        "soxr",
        "tokenizers",
        "torch",
        "torchaudio",
        "torchlibrosa",
        "transformers",
    ),
}
"""What is computed -> the distributions that compute it, and so may change its numbers. What a plug-in names in
`requires` comes beside them (`admbench.identities`)."""


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
    """Return a hash over all files of one of our packages, such as `admbench.metrics`: code, weights, templates.

    As it was when it was first asked for: it is of what this process runs, whatever happens to the files later.
    """
    digest = sources.sha256_of_module(package)
    assert digest is not None
    return digest


@cache
def used_sha256(package: str, *modules: str) -> str:
    """Return a hash over what modules of one of our packages use of it, or over what all of them share.

    As `source_sha256`, of what this process runs; what counts is in `admbench.sources.sha256_of_used`.
    """
    digest = sources.sha256_of_used(package, *modules)
    assert digest is not None
    return digest


@cache
def common_sha256() -> str:
    """Return a hash over what all rooms share: the modules that lie in this package itself."""
    folder = Path(__file__).parent
    return sha256_json({path.name: sha256_file(path) for path in sorted(folder.glob("*.py"))})


@cache
def files_sha256(*modules: str) -> str:
    """Return a hash over single modules of ours."""
    return sha256_json({name: sources.sha256_of_module(name) for name in modules})


def distribution_versions(names: Iterable[str]) -> dict[str, str | None]:
    """Return the version of each distribution; None of one that is not installed.

    It is read once for a state of what is installed.
    """
    state = installed_state()
    return {name: _version_of(name, state) for name in names}


@cache
def _version_of(name: str, state: tuple[tuple[str, int], ...]) -> str | None:
    return next((one.version for one in metadata.distributions(name=name)), None)


def installed_state() -> tuple[tuple[str, int], ...]:
    """Return what tells whether a distribution was installed, removed or replaced since: where each says what it is."""
    found: list[tuple[str, int]] = []
    for entry in sys.path:
        try:
            found += _told_in(entry or ".", os.stat(entry or ".").st_mtime_ns)
        except OSError:  # there is no such folder: nothing is found in it
            continue
    return tuple(found)


@cache
def _told_in(folder: str, changed: int) -> tuple[tuple[str, int], ...]:
    """Return the metadata of distributions in a folder, each with the time of its last change in nanoseconds.

    A folder in which anything was added or removed has another time `changed`, and is looked through again.
    """
    with os.scandir(folder) as entries:
        told = [one for one in entries if one.name.endswith((".dist-info", ".egg-info"))]
        return tuple(sorted((one.path, one.stat().st_mtime_ns) for one in told))


State = Mapping[str, tuple[int, int, int, int]]
"""Path of a file -> its inode, its size, and the times of its content and of its inode in nanoseconds."""


def source_state() -> State:
    """Return what tells whether a file of our packages was edited since: each is looked at, and none is read."""
    rooms = (sources.find_module(f"admbench.{room}") for room in ROOMS)
    waiting = [
        os.path.dirname(__file__),
        *(place for one in rooms if one for place in one.submodule_search_locations or ()),
    ]
    state = {}
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting += [entry.path] if entry.name not in sources.NOT_SOURCE else []
                    continue
                status = entry.stat()
                state[entry.path] = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return state


def forget_source() -> None:
    """Hash our source again when it is asked for: it is not what it was when it was hashed."""
    for known in (source_sha256, used_sha256, common_sha256, files_sha256, git_state):
        known.cache_clear()


@cache
def git_state() -> dict[str, Any] | None:
    """Return commit and dirtiness of the source tree; None when the packages do not lie in one.

    As it was when it was first asked for, as with the hashes of the source.
    """
    if not (ROOT / ".git").exists():
        return None
    commit, status = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--untracked-files=no")
    if commit is None or status is None:
        return None
    return {"commit": commit, "dirty": bool(status)}


def _git(*arguments: str) -> str | None:
    """Return the output of git in the source tree; None where git is missing or refuses."""
    try:
        done = subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
