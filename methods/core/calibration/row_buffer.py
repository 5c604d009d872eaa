"""Tensors that grow row by row: in memory up to a limit, beyond it in temporary files that are mapped into memory."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from typing import IO

import numpy as np
import torch
from torch import Tensor

from admbench.errors import DataError

MEMORY_BYTES = 2**30
"""Bytes of rows that a buffer holds in memory; when there are more, all of them go to disk."""


class RowBuffer:
    """Rows under several names, in the order in which they come.

    In memory are at most `memory` bytes and the rows that are being added. The files have no name: the operating system
    frees them with the last tensor that uses them. They lie where Python puts temporary files (`TMPDIR`).

    Args:
        memory: bytes to hold in memory, over all names.
    """

    def __init__(self, memory: int = MEMORY_BYTES) -> None:
        self._memory = memory
        self._held: dict[str, list[Tensor]] = defaultdict(list)
        self._bytes = 0
        self._files: dict[str, IO[bytes]] = {}
        self._kinds: dict[str, tuple[tuple[int, ...], torch.dtype]] = {}
        self._rows: dict[str, int] = defaultdict(int)

    def add(self, name: str, rows: Tensor) -> None:
        """Append rows (n, ...); they are copied to the CPU only if they are elsewhere.

        Raises:
            DataError: shape or type differ from those of earlier rows of the name; the message begins with the name.
        """
        kind = tuple(rows.shape[1:]), rows.dtype
        if self._kinds.setdefault(name, kind) != kind:
            first, second = (f"{list(shape)} {dtype}" for shape, dtype in (self._kinds[name], kind))
            raise DataError(f"{name} differs between calls ({first}, then {second})")
        self._held[name].append(rows.detach().cpu())
        self._rows[name] += len(rows)
        self._bytes += rows.numel() * rows.element_size()
        if self._bytes > self._memory:
            self._write()

    def close(self) -> dict[str, Tensor]:
        """Return all rows of each name, (rows, ...); mapped from disk if they were more than may be in memory."""
        if not self._files:
            return {name: torch.cat(parts) for name, parts in self._held.items()}
        self._write()
        return {name: self._mapped(name, file) for name, file in self._files.items()}

    def _write(self) -> None:
        for name, parts in self._held.items():
            if name not in self._files:
                self._files[name] = tempfile.TemporaryFile()  # noqa: SIM115
            for part in parts:
                self._files[name].write(part.contiguous().reshape(-1).view(torch.uint8).numpy().data)
        self._held.clear()
        self._bytes = 0

    def _mapped(self, name: str, file: IO[bytes]) -> Tensor:
        with file:
            file.flush()
            raw = np.memmap(file, dtype=np.uint8, mode="c")
        shape, dtype = self._kinds[name]
        return torch.from_numpy(raw).view(dtype).view(self._rows[name], *shape)
