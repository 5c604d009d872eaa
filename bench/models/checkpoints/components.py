"""Loading one component of a pipeline directory, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers.utils import logging as diffusers_logging
from torch import Tensor
from transformers.utils import logging as transformers_logging

from admbench.bench.models.checkpoints.files import check_archive, component_files, named_as_damaged
from admbench.bench.models.checkpoints.number_types import require_floating
from admbench.errors import CheckpointError, is_out_of_memory
from admbench.files import read_json
from admbench.methods.core.checkpoint.bounds import bounded, check_configuration
from admbench.methods.core.checkpoint.tensors import open_tensors

CONSTANT_BUFFERS = ("position_ids", "token_type_ids", "attn.masked_bias")
"""Buffers of transformers that hold a count, zeros, or what GPT-2 masks with; which of them are saved changed between
its versions."""
SHOWN = 5
ENTRY_BYTES = 64
"""A tensor takes more in a file, whatever its format: its name, its type, its shape and its place."""


def check_component(component: Any, folder: Path, names: tuple[str, ...]) -> None:
    """Refuse a component whose configuration asks for another size of network than its weights can fill.

    The network is built without memory, see `admbench.methods.core.checkpoint.bounds`: only then is it known what the
    libraries, which know no bounds, would build of a configuration.

    Args:
        component: the class, of diffusers or transformers.
        folder: with config.json and the weights.
        names: files that the weights may be in, one of `files.WEIGHTS`.

    Raises:
        CheckpointError: the configuration is none, or asks for more than the weights' files hold; names the file.
    """
    config, files = folder / "config.json", component_files(folder, names)
    weights = [file for file in files if file.suffix != ".json"]
    for file in weights:
        if not file.is_file():
            raise CheckpointError(f"{file}: no such file, but {files[0]} names it")
    _refuse_quantized(config)
    content, tensors = read_json(config), sum(map(_tensors_in, weights))
    if not isinstance(content, dict):
        raise CheckpointError(f"{config}: expected an object")
    check_configuration(str(config), content, most_layers=tensors)
    numbers = sum(file.stat().st_size for file in weights)
    with (
        named_as_damaged(config, f"the configuration of {component.__name__}"),
        bounded(str(config), numbers=numbers, tensors=tensors),
        torch.device("meta"),
        _quiet(),
    ):
        if hasattr(component, "config_class"):
            component(component.config_class.from_pretrained(folder, local_files_only=True))
        else:
            component.from_config(content)


def _tensors_in(file: Path) -> int:
    """Return how many tensors a file may have."""
    if file.suffix != ".safetensors":
        return file.stat().st_size // ENTRY_BYTES
    with open_tensors(file) as opened:
        return len(opened.keys())


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep both libraries from logging what they then go on without; here that is an error, with the names."""
    transformers_logging.disable_progress_bar()
    levels = diffusers_logging.get_verbosity(), transformers_logging.get_verbosity()
    diffusers_logging.set_verbosity_error()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        diffusers_logging.set_verbosity(levels[0])
        transformers_logging.set_verbosity(levels[1])


def load_component(component: Any, folder: Path, names: tuple[str, ...]) -> Any:
    """Loads a diffusers or transformers model in float32: safetensors first, a .bin only as plain tensors.

    Args:
        component: the class.
        folder: with config.json and the weights.
        names: files that the weights may be in, one of `files.WEIGHTS`.

    Raises:
        CheckpointError: a file is missing or damaged, or its tensors are not exactly those of the architecture, or are
            no floating-point numbers.
    """
    files = component_files(folder, names)
    file = files[0]
    _refuse_quantized(folder / "config.json")
    if file.suffix == ".bin":
        check_archive(file)
    try:
        with _quiet():
            module, info = component.from_pretrained(
                folder,
                output_loading_info=True,
                local_files_only=True,
                use_safetensors=file.suffix != ".bin",
            )
    except Exception as error:  # of a damaged file, the libraries raise whatever their parsers do
        if is_out_of_memory(error):
            raise
        raise CheckpointError(
            f"{file}: cannot be loaded ({(str(error).splitlines() or ['no reason given'])[0]})"
        ) from error
    require_exact(str(file), info["missing_keys"], info["unexpected_keys"])
    for weights in files:
        if weights.suffix != ".json":
            require_floating(weights, module)
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
            f"{what}: not the tensors of this architecture; missing: {some(lacking)}; left over: {some(left)}"
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


def some(names: list[str]) -> str:
    """Return the first names of some, by the alphabet, and how many more there are."""
    shown = ", ".join(sorted(names)[:SHOWN]) or "none"
    return shown if len(names) <= SHOWN else f"{shown} and {len(names) - SHOWN} more"
