"""Running a backbone in another floating-point type than its callers': inputs are cast in, outputs cast out."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn


def run_in(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Convert a module, in place, to a floating-point type; its callers keep passing and getting float32.

    The module stays an instance of its class with its configuration, which a pipeline may ask for: casting is done by
    hooks, not by a wrapper.
    """
    nn.Module.to(module, dtype)  # diffusers' own `to` warns of modules to keep in float32 even where there are none
    if dtype != torch.float32:
        module.register_forward_pre_hook(partial(_cast_inputs, dtype), with_kwargs=True)
        module.register_forward_hook(_cast_output)
    return module


def _cast_inputs(
    dtype: torch.dtype, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return _cast(args, dtype), _cast(kwargs, dtype)


def _cast_output(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
    return _cast(output, torch.float32)


def _cast(value: Any, dtype: torch.dtype) -> Any:
    """Return `value` with every floating-point tensor in it converted; diffusers' outputs are mappings."""
    if isinstance(value, Tensor):
        return value.to(dtype) if value.is_floating_point() else value
    if isinstance(value, Mapping):
        return type(value)(**{key: _cast(item, dtype) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return type(value)(_cast(item, dtype) for item in value)
    return value
