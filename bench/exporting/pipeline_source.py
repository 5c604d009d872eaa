"""The pipeline directory that a model was loaded from: what an export takes all unquantized parts from."""

from __future__ import annotations

from pathlib import Path

from admbench.bench.models import registry
from admbench.bench.models.checkpoints import shipped
from admbench.bench.models.checkpoints.pipeline_index import FILE
from admbench.bench.models.checkpoints.repositories import locate
from admbench.bench.models.directory import path_of
from admbench.bench.models.families import recognise
from admbench.bench.models.families.base import PublishedModel
from admbench.bench.models.families.embedded import ShippedModel
from admbench.bench.models.families.pipeline import PipelineFamily
from admbench.bench.models.twins import parse
from admbench.errors import CheckpointError, UsageError


def pipeline_folder(name: str) -> tuple[PipelineFamily, Path]:
    """Return the family and the folder of a model that diffusers has a pipeline class for.

    Args:
        name: registry name, `dir:PATH`, or that of a twin: its backbone alone has other numbers than its model's.

    Raises:
        UsageError: diffusers has none for it, or it is a plug-in whose folder is not known.
        CheckpointError: the folder is not there.
    """
    folder = _folder_of(name)
    try:
        family = recognise(folder)
    except CheckpointError:
        family = None
    if not isinstance(family, PipelineFamily) or not (folder / FILE).is_file():
        raise UsageError(f"{name}: diffusers has no pipeline class for it; expected a model with a {FILE}")
    return family, folder


def _folder_of(name: str) -> Path:
    folder = path_of(name)
    if folder is not None:
        return folder
    if (twin := parse(name)) is not None:
        return _folder_of(twin.model)
    plugin = registry.get(name)
    if isinstance(plugin, ShippedModel):
        return shipped.folder_of(name)
    if isinstance(plugin, PublishedModel):
        return locate(plugin, download=False)
    raise UsageError(f"{name}: a model of a plug-in; expected one whose pipeline directory is known, or dir:PATH")
