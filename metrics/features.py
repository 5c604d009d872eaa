"""What the metric networks made of a set of clips: one row per clip, on disk as one safetensors file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from admbench.errors import DataError
from admbench.files import write_bytes_atomic


@dataclass(frozen=True)
class Features:
    """Features of n clips. A clip that could not be embedded because its audio is not finite is a row of NaN.

    Raises:
        ValueError: no clips, ids that are not unique, or arrays that are not (n, something).
    """

    ids: tuple[str, ...]
    """n unique names of the clips, those of their captions."""
    embedding: NDArray[np.float32]
    """(n, d), for distances."""
    logits: NDArray[np.float32] | None = None
    """(n, classes), before softmax."""
    clap_audio: NDArray[np.float32] | None = None
    """(n, e), unit vectors of the audio."""
    clap_text: NDArray[np.float32] | None = None
    """(n, e), unit vectors of the captions; None if a clip has no caption."""
    levels: NDArray[np.float32] | None = None
    """(n, 3), root mean square, share of samples at full scale, seconds; of the audio at its own rate."""
    window_moments: NDArray[np.float32] | None = None
    """(n, 1 + d + d (d + 1) / 2), of each clip's windows; see `admbench.metrics.window_moments`."""
    files: tuple[Path, ...] | None = None
    """n audio files, for metrics of waveforms; where they lie is not saved."""

    def __post_init__(self) -> None:
        if not self.ids:
            raise ValueError("no clips")
        if len(set(self.ids)) != len(self.ids):
            raise ValueError("clip ids are not unique")
        for name, array in self.arrays().items():
            if array.ndim != 2 or len(array) != len(self.ids):
                raise ValueError(f"{name} has shape {array.shape}, expected ({len(self.ids)}, dim)")
        if self.files is not None and len(self.files) != len(self.ids):
            raise ValueError(f"{len(self.files)} audio files of {len(self.ids)} clips")

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Return the arrays that are there, by field name."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in ("ids", "files")}
        return {name: array for name, array in values.items() if array is not None}

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> Features:
        """Return the features of some rows, in that order."""
        rows = np.asarray(rows, dtype=np.int64)
        return Features(
            ids=tuple(self.ids[row] for row in rows),
            files=self.files and tuple(self.files[row] for row in rows),
            **{name: array[rows] for name, array in self.arrays().items()},
        )

    def match(self, ids: Sequence[str]) -> Features:
        """Return the rows of the given clips, in that order; KeyError with the first id that is not here."""
        row_of = {name: row for row, name in enumerate(self.ids)}
        return self.take([row_of[name] for name in ids])

    @classmethod
    def join(cls, parts: Sequence[Features]) -> Features:
        """Return the rows of several, with the arrays that all have, and no files; ValueError for an id twice."""
        names = [name for name in parts[0].arrays() if all(name in part.arrays() for part in parts)]
        return cls(
            ids=tuple(name for part in parts for name in part.ids),
            files=None,
            **{name: np.concatenate([part.arrays()[name] for part in parts]) for name in names},
        )

    def not_finite(self) -> tuple[str, ...]:
        """Return the ids of the clips with a feature that is NaN or infinite."""
        bad = np.any([~np.isfinite(array).all(axis=1) for array in self.arrays().values()], axis=0)
        return tuple(name for name, is_bad in zip(self.ids, bad, strict=True) if is_bad)

    def invalidate(self, ids: Sequence[str]) -> Features:
        """Return a copy in which some clips are rows of NaN: their audio was not finite before it was written."""
        bad = np.isin(self.ids, list(ids))[:, None]
        arrays = {name: np.where(bad, np.float32(np.nan), array) for name, array in self.arrays().items()}
        return Features(ids=self.ids, files=self.files, **arrays)

    def save(self, path: str | Path) -> None:
        """Write the arrays to one safetensors file, atomically; the ids are in its metadata."""
        arrays = {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in self.arrays().items()}
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
                return cls(ids=tuple(ids), **{name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
        except FileNotFoundError:
            raise DataError(f"{path}: no such file") from None
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}: not a feature file ({error})") from error
