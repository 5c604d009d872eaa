"""Loading one component of a pipeline directory, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from diffusers.utils import logging as diffusers_logging
from torch import Tensor
from transformers.utils import logging as transformers_logging

from admbench.bench.models.checkpoints.files import component_files
from admbench.errors import CheckpointError
from admbench.files import read_json

CONSTANT_BUFFERS = ("position_ids", "token_type_ids", "attn.masked_bias")
"""Buffers of transformers that hold a count, zeros, or what GPT-2 masks with; which of them are saved changed between
its versions."""
SHOWN = 5


def load_component(component: Any, folder: Path, names: tuple[str, ...]) -> Any:
    """Loads a diffusers or transformers model in float32: safetensors first, a .bin only as plain tensors.

    Args:
        component: the class.
        folder: with config.json and the weights.
        names: files that the weights may be in, one of `files.WEIGHTS`.

    Raises:
        CheckpointError: a file is missing or damaged, or its tensors are not exactly those of the architecture.
    """
    file = component_files(folder, names)[0]
    _refuse_quantized(folder / "config.json")
    # both libraries log what they then go on without; here that is an error, raised below with the names
    transformers_logging.disable_progress_bar()
    levels = diffusers_logging.get_verbosity(), transformers_logging.get_verbosity()
    diffusers_logging.set_verbosity_error()
    transformers_logging.set_verbosity_error()
    try:
        module, info = component.from_pretrained(
            folder,
            output_loading_info=True,
            local_files_only=True,
            use_safetensors=file.suffix != ".bin",
        )
    except Exception as error:  # of a damaged file, the libraries raise whatever their parsers do
        raise CheckpointError(
            f"{file}: cannot be loaded ({(str(error).splitlines() or ['no reason given'])[0]})"
        ) from error
    finally:
        diffusers_logging.set_verbosity(levels[0])
        transformers_logging.set_verbosity(levels[1])
    require_exact(str(file), info["missing_keys"], info["unexpected_keys"])
    return module.float()


def _refuse_quantized(config: Path) -> None:
    """Raise CheckpointError if a configuration says that the weights were quantized by another package."""
    content = read_json(config) if config.is_file() else None
    quantized = content.get("quantization_config") if isinstance(content, dict) else None
    if quantized:
        by = quantized.get("quant_method") if isinstance(quantized, dict) else None
        raise CheckpointError(
            f"{config}: the weights were quantized already{f' by {by}' if by else ''}; expected full precision, without"
            " quantization_config"
        )


def constant_buffer(name: str, shape: torch.Size) -> Tensor:
    """What transformers has in one of its `CONSTANT_BUFFERS`; any other name is a ValueError."""
    if not name.endswith(CONSTANT_BUFFERS):
        raise ValueError(f"{name}: no buffer whose values are known without its file")
    if name.endswith("position_ids"):
        return torch.arange(shape[-1]).expand(shape)
    return torch.zeros(shape, dtype=torch.long)


def require_exact(what: str, missing: Iterable[str], unexpected: Iterable[str]) -> None:
    """Raises CheckpointError, with both lists, unless every tensor has a destination and none is left without."""
    lacking = [name for name in missing if not name.endswith(CONSTANT_BUFFERS)]
    left = [name for name in unexpected if not name.endswith(CONSTANT_BUFFERS)]
    if lacking or left:
        raise CheckpointError(
            f"{what}: not the tensors of this architecture; missing: {_some(lacking)}; left over: {_some(left)}"
            f"{_prefixed(lacking, left)}"
        )


def _prefixed(missing: list[str], unexpected: list[str]) -> str:
    """Say so where names only have a prefix too many, as wrappers of modules give them."""
    first = next(iter(missing), None)
    found = next((name for name in unexpected if first is not None and name.endswith(f".{first}")), None)
    if found is None:
        return ""
    prefix = found.removesuffix(str(first))
    if {prefix + name for name in missing} - set(unexpected):
        return ""
    return f' (all names begin with "{prefix}", as a wrapper leaves them; save the tensors without it)'


def _some(names: list[str]) -> str:
    shown = ", ".join(sorted(names)[:SHOWN]) or "none"
    return shown if len(names) <= SHOWN else f"{shown} and {len(names) - SHOWN} more"
