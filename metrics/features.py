"""What metrics read of a set of clips: arrays by extractor, one row per clip, on disk as one safetensors file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from admbench.errors import DataError
from admbench.files import write_bytes_atomic

FILES = "files"
"""What metrics of waveforms need: the clips themselves instead of an array."""


@dataclass(frozen=True)
class Features:
    """Features of n clips. A clip that could not be embedded because its audio is not finite is a row of NaN.

    `features["embedding"]` is the array of that extractor; `"embedding" in features` whether it is there.

    Raises:
        ValueError: no clips, ids that are not unique, or arrays that are not (n, something).
    """

    ids: tuple[str, ...]
    """n unique names of the clips, those of their captions."""
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """(n, dim) by the name of the extractor; see `admbench.metrics.extractors`."""
    files: tuple[Path, ...] | None = None
    """n audio files, for metrics of waveforms; where they lie is not saved."""

    def __post_init__(self) -> None:
        if not self.ids:
            raise ValueError("no clips")
        if len(set(self.ids)) != len(self.ids):
            raise ValueError("clip ids are not unique")
        for name, array in self.arrays.items():
            if array.ndim != 2 or len(array) != len(self.ids):
                raise ValueError(f"{name} has shape {array.shape}, expected ({len(self.ids)}, dim)")
        if self.files is not None and len(self.files) != len(self.ids):
            raise ValueError(f"{len(self.files)} audio files of {len(self.ids)} clips")

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self.arrays:
            raise ValueError(f"the clips have no {name}")
        return self.arrays[name]

    def __contains__(self, name: object) -> bool:
        return name in self.arrays or (name == FILES and self.files is not None)

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> Features:
        """Return the features of some rows, in that order."""
        rows = np.asarray(rows, dtype=np.int64)
        return Features(
            tuple(self.ids[row] for row in rows),
            {name: array[rows] for name, array in self.arrays.items()},
            self.files and tuple(self.files[row] for row in rows),
        )

    def match(self, ids: Sequence[str]) -> Features:
        """Return the rows of the given clips, in that order; KeyError with the first id that is not here."""
        row_of = {name: row for row, name in enumerate(self.ids)}
        return self.take([row_of[name] for name in ids])

    def extend(self, other: Features) -> Features:
        """Return the rows of another's clips with the arrays of both; KeyError with the first id that is not here."""
        mine = self.match(other.ids)
        return replace(mine, arrays={**mine.arrays, **other.arrays})

    @classmethod
    def join(cls, parts: Sequence[Features]) -> Features:
        """Return the rows of several, with the arrays that all have, and no files; ValueError for an id twice."""
        names = [name for name in parts[0].arrays if all(name in part.arrays for part in parts)]
        return cls(
            tuple(name for part in parts for name in part.ids),
            {name: np.concatenate([part.arrays[name] for part in parts]) for name in names},
        )

    def not_finite(self) -> tuple[str, ...]:
        """Return the ids of the clips with a feature that is NaN or infinite."""
        bad = np.zeros(len(self.ids), dtype=bool)
        for array in self.arrays.values():
            bad |= ~np.isfinite(array).all(axis=1)
        return tuple(name for name, is_bad in zip(self.ids, bad, strict=True) if is_bad)

    def invalidate(self, ids: Sequence[str]) -> Features:
        """Return a copy in which some clips are rows of NaN: their audio was not finite before it was written."""
        bad = np.isin(self.ids, list(ids))[:, None]
        return replace(
            self, arrays={name: np.where(bad, np.float32(np.nan), array) for name, array in self.arrays.items()}
        )

    def save(self, path: str | Path) -> None:
        """Write the arrays to one safetensors file, atomically; the ids are in its metadata."""
        arrays = {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in self.arrays.items()}
        write_bytes_atomic(path, save(arrays, metadata={"ids": json.dumps(self.ids)}))

    @classmethod
    def load(cls, path: str | Path) -> Features:
        """Read what `save` wrote.

        Raises:
            DataError: the file is missing, damaged, or holds something else; names the file.
        """
        try:
            with safe_open(path, framework="numpy") as file:
                ids = json.loads((file.metadata() or {})["ids"])
                return cls(tuple(ids), {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
        except FileNotFoundError:
            raise DataError(f"{path}: no such file") from None
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}: not a feature file ({error})") from error
