"""`dir:PATH`: a checkpoint in any folder, of whichever family it turns out to be; deciding imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from admbench.bench.models.checkpoints.files import PREFIX
from admbench.bench.models.checkpoints.pipeline_index import read_index
from admbench.bench.models.families import recognise
from admbench.bench.models.families.pipeline import PipelineFamily
from admbench.errors import UsageError

if TYPE_CHECKING:
    from admbench.bench.models.base import AudioDiffusionModel


def path_of(name: str) -> Path | None:
    """Return the folder that a model name leads to; None if it is not of the form `dir:PATH`."""
    return Path(name.removeprefix(PREFIX)).expanduser() if name.startswith(PREFIX) else None


def describe(folder: Path) -> str:
    """Say what the folder holds. Raises CheckpointError if that is nothing known, or a file is missing."""
    family = recognise(folder)
    family.used_files(folder, download=True)
    index = read_index(folder)
    if isinstance(family, PipelineFamily) and index is not None and index.pipeline != family.pipeline:
        return f"{family.saw} by its parts, though its class is called {index.pipeline}"
    return family.saw


def load(folder: Path, *, random_weights: bool = False) -> AudioDiffusionModel:
    """Load a folder; its licence is not known. The model's name has the whole path: its packed checkpoints hold it.

    Raises:
        CheckpointError: nothing known, or damaged; says what was expected.
        UsageError: `random_weights`, which are made for the published sizes alone.
    """
    name = f"{PREFIX}{folder.absolute()}"
    if random_weights:
        raise UsageError(f"{name}: random weights are made from a registry name, such as tango; expected one")
    return recognise(folder).load(folder, name=name, source=f"folder: {describe(folder)}", license=None)
