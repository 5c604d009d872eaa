"""The parts of a pipeline directory that are no networks of the family: tokenizers, and schedulers by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers
from diffusers.utils import DummyObject
from torch import nn
from transformers import AutoTokenizer

from admbench.bench.models.checkpoints.files import named_as_damaged
from admbench.errors import CheckpointError, UsageError
from admbench.files import read_json
from admbench.weights import require_vocabulary

SCHEDULERS = (
    "DDIMScheduler",
    "DDPMScheduler",
    "PNDMScheduler",
    "EulerDiscreteScheduler",
    "DPMSolverMultistepScheduler",
    "EDMDPMSolverMultistepScheduler",
    "CosineDPMSolverMultistepScheduler",
    "FlowMatchEulerDiscreteScheduler",
)
"""Those of diffusers that a pipeline directory may name."""

MOST_TIMESTEPS = 10_000
"""Of a training schedule, ten times as many as is usual: a table has an entry for each."""
MOST_MADE_UP = 10_000
"""Of tokens that a tokenizer makes up, such as T5's 100 `extra_ids`, and of layers, heads and the like beside them."""
CONFIGURATIONS_OF_TOKENIZERS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "config.json")

Parts = Mapping[str, Any]
"""A pipeline's components by name, `backbone` first, its tokenizers, and `scheduler`."""


def networks(parts: Parts) -> dict[str, nn.Module]:
    """Return the networks among the parts, in their order."""
    return {name: part for name, part in parts.items() if isinstance(part, nn.Module)}


def load_tokenizer(folder: Path) -> Any:
    """Load a tokenizer. Raises CheckpointError if its folder holds no vocabulary, or files that are damaged."""
    require_vocabulary(folder)
    for file in CONFIGURATIONS_OF_TOKENIZERS:
        if (folder / file).is_file():
            _check_counts(folder / file, read_json(folder / file))  # where a key comes twice, libraries take either
    with named_as_damaged(folder, "a tokenizer"):
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def _check_counts(file: Path, config: Any) -> None:
    """Raise CheckpointError where a configuration asks for more tokens than any that are made up, one by one."""
    for key, value in config.items() if isinstance(config, dict) else ():
        made_up = key == "extra_ids" or key.startswith("num_")
        if made_up and isinstance(value, int | float) and not value <= MOST_MADE_UP:
            raise CheckpointError(f"{file}: {key} is {value}; expected at most {MOST_MADE_UP}")


def load_scheduler(folder: Path, indexed: str | None = None) -> Any:
    """Makes the scheduler that scheduler_config.json names.

    Args:
        folder: with that file.
        indexed: the class that model_index.json names, by which diffusers goes, if it names one.

    Raises:
        CheckpointError: the file is damaged, names none of `SCHEDULERS`, or another one than model_index.json.
        UsageError: it needs a package that is not installed.
    """
    file = folder / "scheduler_config.json"
    config = read_json(file, infinite=True)  # some schedulers save -Infinity
    named = config.get("_class_name") if isinstance(config, dict) else None
    if named not in SCHEDULERS:
        raise CheckpointError(f"{file}: _class_name is {str(named)[:60]}; expected one of {', '.join(SCHEDULERS)}")
    if indexed is not None and indexed != named:
        raise CheckpointError(
            f"{file}: _class_name is {named}, but model_index.json names {indexed[:60]}; expected one"
        )
    for key, value in config.items():
        if isinstance(value, int) and abs(value) > MOST_TIMESTEPS:
            raise CheckpointError(f"{file}: {key} is {value}; expected at most {MOST_TIMESTEPS}")
    chosen = scheduler_class(named)
    with named_as_damaged(file, f"the configuration of {named}"):
        return chosen.from_config(config)


def scheduler_class(name: str) -> Any:
    """A scheduler of diffusers by name. Raises UsageError if it needs a package that is not installed."""
    found = getattr(diffusers, name)
    if isinstance(found, DummyObject):
        missing = " ".join(package for package in found._backends if package != "torch")
        raise UsageError(f"{name} needs {missing}: pip install {missing}")
    return found
