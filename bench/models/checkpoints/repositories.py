"""Repositories of weights, and where each is found on this machine; without torch.

A repository is looked for in `$ADMBENCH_WEIGHTS/NAME`, then, if it is one of the hub's, in the Hugging Face cache
(`HF_HOME`), then on the hub unless `HF_HUB_OFFLINE` is set.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from admbench.errors import CheckpointError
from admbench.weights import WEIGHTS_VARIABLE, weights_folder


@dataclass(frozen=True, kw_only=True)
class Repository:
    """One repository of the Hugging Face hub, or of GitHub where the weights are on neither."""

    name: str
    """That of its folder in `$ADMBENCH_WEIGHTS`, unless `folder` is; of a model, its registry name."""
    repository: str
    license: str
    """Of the weights."""
    files: tuple[str, ...] = ()
    """What is needed of the repository, a folder's name ending in a slash; empty for all of it."""
    elsewhere: str | None = None
    """Where the files are to be had by hand, if not on the hub as they are needed."""
    host: Literal["hf", "github"] = "hf"
    folder: str | None = None
    """Its folder in `$ADMBENCH_WEIGHTS`, where several models read one."""

    @property
    def place(self) -> str:
        """The name of its folder in `$ADMBENCH_WEIGHTS`."""
        return self.folder or self.name

    @property
    def source(self) -> str:
        """The repository, for records."""
        return f"{self.host}:{self.repository}"


class NotHereError(CheckpointError):
    """A repository is nowhere to be had; says where it was looked for and how to get it."""


def locate(wanted: Repository, *, download: bool) -> Path:
    """Return the folder of a repository, downloading it if it is nowhere here and that is allowed.

    Raises:
        NotHereError: it is nowhere to be had.
    """
    folder = weights_folder()
    if folder is not None and (folder / wanted.place).is_dir():
        return folder / wanted.place
    if wanted.elsewhere:
        looked = f"there is no {folder / wanted.place}" if folder else f"{WEIGHTS_VARIABLE} is not set"
        raise NotHereError(
            f"{wanted.name}: {looked}; get it from {wanted.elsewhere}, and put its files into"
            f" ${WEIGHTS_VARIABLE}/{wanted.place}"
        )
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    patterns = list(wanted.files) or None
    try:
        return Path(snapshot_download(wanted.repository, allow_patterns=patterns, local_files_only=True))
    except LocalEntryNotFoundError:
        looked = (
            "not in the Hugging Face cache" if folder is None else f"neither in {folder} nor in the Hugging Face cache"
        )
    remedy = f"get it with: {download_command(wanted)}"
    if not download or constants.HF_HUB_OFFLINE:
        raise NotHereError(f"{wanted.name}: {looked}; {remedy}")
    try:
        return Path(snapshot_download(wanted.repository, allow_patterns=patterns))
    except (HfHubHTTPError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise NotHereError(f"{wanted.name}: {looked}, and the download failed ({reason}); {remedy}") from error


@contextmanager
def how_to_complete(wanted: Repository, folder: Path) -> Iterator[None]:
    """Add to an error over a repository's own folder how to get what is missing: broken-off downloads leave a part.

    Args:
        wanted: the repository.
        folder: where it was found.
    """
    try:
        yield
    except NotHereError:  # another repository, whose own remedy it gives
        raise
    except CheckpointError as error:
        if wanted.elsewhere or str(folder) not in str(error):
            raise
        raise CheckpointError(
            f"{error}; if its download broke off, get the rest with: {download_command(wanted)}"
        ) from error


def download_command(wanted: Repository) -> str:
    """Return the shell command that puts a repository where :func:`locate` looks for it."""
    words = ["hf", "download", wanted.repository, *wanted.files]
    if folder := weights_folder():
        words += ["--local-dir", str(folder / wanted.place)]
    return shlex.join(words)


def revision(folder: Path) -> str | None:
    """Return the commit of a snapshot in the Hugging Face cache; None for any other folder."""
    return folder.name if folder.parent.name == "snapshots" else None
