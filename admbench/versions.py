"""Which code runs: version of the distribution, hash of the source, state of the source tree."""

from __future__ import annotations

import subprocess
import tomllib
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from admbench import sources
from admbench.hashing import sha256_file, sha256_json

ROOT = Path(__file__).resolve().parents[1]
"""Folder that holds this package: a source tree, or site-packages."""


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
def common_sha256() -> str:
    """Return a hash over what all rooms share: the modules that lie in this package itself."""
    folder = Path(__file__).parent
    return sha256_json({path.name: sha256_file(path) for path in sorted(folder.glob("*.py"))})


@cache
def files_sha256(*modules: str) -> str:
    """Return a hash over single modules of ours."""
    return sha256_json({name: sources.sha256_of_module(name) for name in modules})


def distribution_versions(names: Iterable[str]) -> dict[str, str | None]:
    """Return the version of each distribution; None of one that is not installed."""
    return {name: next((one.version for one in metadata.distributions(name=name)), None) for name in names}


def git_state() -> dict[str, Any] | None:
    """Return commit and dirtiness of the source tree; None when the packages do not lie in one."""
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
