"""Components that several embedded models have in common are shipped once: in the folder of one of them.

A component that no clip is heard by is not shipped. Neither changes the hash that a model is known by.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from admbench.errors import BenchError
from admbench.files import read_json, write_json_atomic

SHARED: Mapping[str, Mapping[str, str]] = {
    "tiny-tango": {"vae": "tiny-audioldm", "vocoder": "tiny-audioldm"},
    "tiny-flow": {
        "text_encoder": "tiny-tango",
        "tokenizer": "tiny-tango",
        "vae": "tiny-audioldm",
        "vocoder": "tiny-audioldm",
    },
}
"""Model -> component folder -> the model that holds it. tiny-audioldm holds all of its own: its folder is a whole
pipeline directory of diffusers."""

VOCODERS_KEPT = ("tiny-audioldm", *(name for name, parts in SHARED.items() if "vocoder" in parts))
"""Models that ship a vocoder though they may be heard without: a pipeline directory of AudioLDM has one, and the others
share it, so that it costs nothing."""


def share_all(checkpoints: Path) -> None:
    """Share what `SHARED` says between the pipeline directories in a folder; what is shared already stays so."""
    for name, holders in SHARED.items():
        share(checkpoints / name, {part: checkpoints / holder for part, holder in holders.items()})


def share(folder: Path, holders: Mapping[str, Path]) -> None:
    """Remove component folders from a pipeline directory that another holds byte for byte; its manifest says which.

    The hash over all weights stays what it was: the same files make the model.

    Args:
        folder: of the model.
        holders: component folder -> pipeline directory, beside it, that holds the same files.

    Raises:
        BenchError: a component is not the same in both; names the file.
    """
    content: dict[str, Any] = read_json(folder / "manifest.json")
    for part, holder in holders.items():
        own, theirs = files_of(content["files"], part), files_of(read_json(holder / "manifest.json")["files"], part)
        if differing := sorted(name for name in own.keys() | theirs.keys() if own.get(name) != theirs.get(name)):
            raise BenchError(f"{folder / differing[0]}: is not the same in {holder}; expected to be stored once")
    shared = content.get("shared", {}) | {part: holder.name for part, holder in holders.items()}
    write_json_atomic(folder / "manifest.json", content | {"shared": shared})
    _remove(folder, holders)


def leave_out(folder: Path, part: str) -> None:
    """Remove a component folder that is not used from a pipeline directory; its manifest says so, under `left_out`.

    The hash over all weights stays what it was, with these: stored results know the model by it.

    Raises:
        BenchError: there is no such component.
    """
    content: dict[str, Any] = read_json(folder / "manifest.json")
    gone = files_of(content["files"], part)
    if not gone:
        raise BenchError(f"{folder}: there is no {part} to be left out")
    kept = {name: digest for name, digest in content["files"].items() if name not in gone}
    write_json_atomic(
        folder / "manifest.json", content | {"left_out": content.get("left_out", {}) | gone, "files": kept}
    )
    _remove(folder, [part])


def _remove(folder: Path, parts: Iterable[str]) -> None:
    for part in parts:
        shutil.rmtree(folder / part, ignore_errors=True)


def files_of(files: Mapping[str, str], part: str) -> dict[str, str]:
    """The files of one component folder among those of a manifest: {relative path: sha256}."""
    return {name: digest for name, digest in files.items() if name.startswith(f"{part}/")}


def holder_of(folder: Path, part: str) -> Path:
    """The pipeline directory that truly holds a component of another one."""
    shared = read_json(folder / "manifest.json").get("shared", {})
    return folder.parent / shared.get(part, folder.name)
