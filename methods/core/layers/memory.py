"""Tensors that are larger than memory should hold, in files: mapped, so that they are used like any others.

A file has no name: the operating system frees it with the last tensor that uses it, however the process ends. It lies
where Python puts temporary files (`TMPDIR`); where that is itself in memory, nothing is gained.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

IN_MEMORY_BYTES = 2**30
"""What a `TensorCache` keeps in memory, and the size from which tensors of `empty_rows` are in files."""
ON_DISK_BYTES = 2**35
"""What a `TensorCache` keeps in files at most; never more than half of what is free when it is made."""

K = TypeVar("K", bound=Hashable)


def empty_on_disk(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Return a tensor whose numbers are in a file; they are zeros until written."""
    count = math.prod(shape) * dtype.itemsize
    with tempfile.TemporaryFile() as file:
        file.truncate(max(count, 1))
        array = np.memmap(file, dtype=np.uint8, mode="r+", shape=(max(count, 1),))
    return torch.from_numpy(array)[:count].view(dtype).view(shape)


def empty_rows(rows: int, like: Tensor) -> Tensor:
    """Return room for `rows` tensors of the shape of `like[0]`: in memory, or in a file where that is too large.

    What is in memory is on the device of `like`, what is in a file on the CPU.
    """
    shape = (rows, *like.shape[1:])
    if math.prod(shape) * like.element_size() > IN_MEMORY_BYTES:
        return empty_on_disk(shape, like.dtype)
    return torch.empty(shape, dtype=like.dtype, device=like.device)


class TensorCache(Generic[K]):
    """Remembers trees of tensors by key: the newest in memory, older ones in files, the oldest not at all."""

    def __init__(self) -> None:
        self._in_memory = _Kept[K]()
        self._on_disk = _Kept[K]()
        self._disk_limit = min(ON_DISK_BYTES, shutil.disk_usage(tempfile.gettempdir()).free // 2)

    def __contains__(self, key: K) -> bool:
        return key in self._in_memory.trees or key in self._on_disk.trees

    def __getitem__(self, key: K) -> Any:
        return self._in_memory.trees[key] if key in self._in_memory.trees else self._on_disk.trees[key]

    def __setitem__(self, key: K, tree: Any) -> None:
        self._in_memory.add(key, tree)
        while len(self._in_memory.trees) > 1 and self._in_memory.bytes > IN_MEMORY_BYTES:
            oldest, moved = self._in_memory.pop()
            self._on_disk.add(oldest, map_tree(_copy_to_disk, moved))
        while self._on_disk.trees and self._on_disk.bytes > self._disk_limit:
            self._on_disk.pop()

    def forget(self, which: Callable[[K], bool]) -> None:
        """Forget what is known by some keys."""
        for kept in (self._in_memory, self._on_disk):
            for key in [key for key in kept.trees if which(key)]:
                kept.pop(key)


class _Kept(Generic[K]):
    """Trees in the order in which they came, and their size."""

    def __init__(self) -> None:
        self.trees: dict[K, Any] = {}
        self.bytes = 0

    def add(self, key: K, tree: Any) -> None:
        self.trees[key] = tree
        self.bytes += _bytes(tree)

    def pop(self, key: K | None = None) -> tuple[K, Any]:
        """Take out one, by default the oldest."""
        key = next(iter(self.trees)) if key is None else key
        tree = self.trees.pop(key)
        self.bytes -= _bytes(tree)
        return key, tree


def map_tree(function: Callable[[Any], Any], tree: Any) -> Any:
    """Return nested tuples, lists and dicts with `function` applied to their leaves, in the order of `leaves`."""
    if isinstance(tree, dict):
        return {key: map_tree(function, value) for key, value in tree.items()}
    if isinstance(tree, tuple | list):
        return type(tree)(map_tree(function, value) for value in tree)
    return function(tree)


def leaves(tree: Any) -> list[Any]:
    """Return the leaves of nested tuples, lists and dicts."""
    found: list[Any] = []
    map_tree(found.append, tree)
    return found


def _copy_to_disk(leaf: Any) -> Any:
    if not isinstance(leaf, Tensor) or leaf.device.type != "cpu":
        return leaf
    copy = empty_on_disk(tuple(leaf.shape), leaf.dtype)
    return copy.copy_(leaf)


def _bytes(tree: Any) -> int:
    return sum(leaf.numel() * leaf.element_size() for leaf in leaves(tree) if isinstance(leaf, Tensor))
