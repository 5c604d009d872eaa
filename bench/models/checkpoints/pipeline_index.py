"""The model_index.json of a pipeline directory, as diffusers' `save_pretrained` writes it; no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from admbench.files import read_json

FILE = "model_index.json"


@dataclass(frozen=True)
class PipelineIndex:
    """What the file says. It is data from outside: the names are compared, and never imported."""

    pipeline: str
    """The class of the pipeline."""
    parts: Mapping[str, str]
    """Folder of each part that there is -> the name of its class."""


def read_index(folder: Path) -> PipelineIndex | None:
    """Return what the folder's model_index.json says; None if there is none, or it names no pipeline.

    Raises:
        DataError: the file is no JSON.
    """
    content = read_json(folder / FILE) if (folder / FILE).is_file() else None
    if not isinstance(content, dict):
        return None
    pipeline = content.get("_class_name")
    if not isinstance(pipeline, str) or not pipeline:
        return None
    # [library, class]; both null where an optional part is left out
    named = {part: value[1] for part, value in content.items() if isinstance(value, list) and len(value) == 2}
    return PipelineIndex(pipeline, {part: name for part, name in named.items() if isinstance(name, str)})
