"""Where the embedded models' files are, and whether they are what was shipped; without importing torch.

Models have components in common, byte for byte. Such a component lies in the folder of one of them; the manifests of
the others name that model under `shared`, and list its files with their hashes as if they were their own. Files that
are not used are not shipped; a manifest names them under `left_out`.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from admbench.bench.models.components import COMPONENTS, Component
from admbench.errors import CheckpointError
from admbench.files import read_json
from admbench.hashing import sha256_file

CHECKPOINTS = Path(__file__).parents[2] / "zoo" / "checkpoints"


def folder_of(name: str) -> Path:
    """The pipeline directory of an embedded model. Raises CheckpointError if it is not there."""
    folder = CHECKPOINTS / name
    if not (folder / "manifest.json").exists():
        raise CheckpointError(f"{folder}: the weights of {name} are missing; `bench zoo train` makes them")
    return folder


@cache
def manifest(name: str) -> dict[str, Any]:
    """The shipped manifest.

    `weights_sha256`, of all weights that the training made; `files` and, of those that are not shipped, `left_out`:
    {relative path: sha256}; `shared`, {folder: model}.
    """
    content: dict[str, Any] = read_json(folder_of(name) / "manifest.json")
    return content


def shared(name: str) -> dict[str, str]:
    """Which folders of a model's pipeline directory lie in another model's: {folder: model}."""
    found: dict[str, str] = manifest(name).get("shared", {})
    return found


def place(name: str, relative: str) -> Path:
    """Where a file or folder of a model's pipeline directory truly is.

    Raises:
        CheckpointError: the folder of a model is missing, or one that another should hold is shared in its turn.
    """
    top = relative.partition("/")[0]
    holder = shared(name).get(top, name)
    if holder != name and top in shared(holder):
        true = shared(holder)[top]
        raise CheckpointError(
            f"{folder_of(name)}: shares {top} with {holder}, which has it from {true}; expected that it names {true}"
        )
    return folder_of(holder) / relative


def components(name: str) -> tuple[Component, ...]:
    """The components that methods can quantize; without the vocoder where Griffin-Lim is heard in its place."""
    heard = read_json(folder_of(name) / "admbench.json")["decoder"]
    present = {"backbone": True, "vocoder": heard != "griffin-lim"}
    return tuple(part for part in COMPONENTS if present.get(part, place(name, part).is_dir()))


def fingerprint(name: str) -> str:
    """Hash over all weights of the pipeline, as the manifest says it; :func:`verify` checks that it is true."""
    return str(manifest(name)["weights_sha256"])


def verify(name: str) -> None:
    """Raises CheckpointError, naming the file, unless every file has the hash of the manifest."""
    for relative, expected in manifest(name)["files"].items():
        file = place(name, relative)
        if not file.is_file():
            raise CheckpointError(f"{file}: missing, but the manifest of {name} lists it")
        if sha256_file(file) != expected:
            raise CheckpointError(f"{file}: differs from what was shipped (its sha256 is not the manifest's)")
