"""Tensors made in inference mode, which no gradient can pass: models run in that mode, and keep some of what they make.

A network may keep what it made at its first call, such as a table of rotary positions, even outside of its modules. If
that call was in inference mode, a later one with gradients fails on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from admbench.methods.core.layers.memory import leaves, map_tree


def usable(tree: Any) -> Any:
    """Return nested tuples, lists and dicts with ordinary copies in the place of tensors made in inference mode."""
    return map_tree(lambda value: value.clone() if _is_inference(value) else value, tree)


@contextmanager
def usable_outputs(module: nn.Module) -> Iterator[None]:
    """While the context lasts, let the innermost parts of a module return ordinary copies of such tensors."""
    parts = [part for part in module.modules() if next(part.children(), None) is None]
    hooks = [part.register_forward_hook(_copy_output) for part in parts]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _copy_output(module: nn.Module, args: Any, output: Any) -> Any:
    """Return a copy where one is needed; None, which changes nothing, where not."""
    return usable(output) if any(map(_is_inference, leaves(output))) else None


def _is_inference(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_inference()
