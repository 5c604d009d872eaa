"""Text encoders whose weights a checkpoint holds, and whose tokenizer another repository does; without torch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from admbench.bench.models.checkpoints.repositories import NotHereError, Repository, locate
from admbench.errors import CheckpointError
from admbench.files import read_json, read_yaml

HUB_NAMES = {"bert-base-uncased": "google-bert/bert-base-uncased", "t5-base": "google-t5/t5-base"}
"""Repositories of the hub that configurations name by what they were called before."""


LONGEST_NAME = 96
"""Characters of a repository, at most, as the Hub has them."""
_REPOSITORY = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class TextEncoderRepository:
    """The repository that a checkpoint's configuration names."""

    config: str
    """File of the checkpoint, JSON or YAML, that names the repository."""
    key: str
    """Under which it does; where it lies deeper, keys and places in lists, parted by dots."""
    example: str
    files: tuple[str, ...]
    """What is taken from the repository, as far as it has them; config.json has to be there."""

    def locate(self, folder: Path, *, download: bool) -> Path:
        """Return where configuration and tokenizer of the text encoder are that a checkpoint names.

        Raises:
            CheckpointError: they are not here; gives the command that gets them.
        """
        config = folder / self.config
        if not config.is_file():
            raise CheckpointError(f"{config}: missing; it names the text encoder")
        content = read_json(config) if config.suffix == ".json" else read_yaml(config)
        named = _found(content, self.key)
        if not isinstance(named, str):
            raise CheckpointError(f"{config}: expected {self.key}, such as {self.example}")
        if not _REPOSITORY.fullmatch(named) or len(named) > LONGEST_NAME:
            raise CheckpointError(
                f"{config}: {self.key} is {named[:60]!r}; expected a repository or a folder here, such as"
                f" {self.example}"
            )
        if (folder / named).is_dir():
            return folder / named
        wanted = Repository(
            name=named.split("/")[-1],
            repository=HUB_NAMES.get(named, named),
            license="Apache-2.0",
            files=self.files,
        )
        try:
            return locate(wanted, download=download)
        except NotHereError as error:
            raise NotHereError(f"{config}: {self.key} is {named}: {error}") from error

    def used_files(self, folder: Path, *, download: bool) -> dict[str, Path]:
        """Return those of the files that are there, as `texts/NAME`.

        Raises:
            CheckpointError: the repository is not here, or holds no configuration.
        """
        texts = self.locate(folder, download=download)
        if not (texts / "config.json").is_file():
            expected = ", ".join(self.files)
            raise CheckpointError(f"{texts / 'config.json'}: missing; expected the text encoder's {expected}")
        return {f"texts/{name}": texts / name for name in self.files if (texts / name).is_file()}


def _found(content: Any, key: str) -> Any:
    """Return what lies under keys and places in lists, parted by dots; None if there is nothing."""
    for part in key.split("."):
        if isinstance(content, list) and part.isdecimal() and int(part) < len(content):
            content = content[int(part)]
        else:
            content = content.get(part) if isinstance(content, dict) else None
    return content
