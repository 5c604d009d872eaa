"""The rendered corpus on disk: 16-bit waveforms, labels and captions of each split, memory-mapped for training."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from admbench.bench.models.mel import MelSpec, log_mel
from admbench.bench.suites.corpus.corpus import (
    CLIP_SAMPLES,
    ClipSpec,
    draw_clip,
    labels,
    pcm16,
    render_many,
)
from admbench.bench.zoo.effort import scaled
from admbench.files import read_json, write_json_atomic
from admbench.progress import track

CHUNK = 4096
FEWEST = 64
"""Clips of a split that a trial of the chain renders at least."""


@dataclass(frozen=True)
class Split:
    """A rendered split: `audio` is int16 (n, 40960) and memory-mapped, `labels` float32 (n, K)."""

    specs: list[ClipSpec]
    audio: NDArray[np.int16]
    labels: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.specs)

    def waveforms(self, rows: NDArray[np.int64] | slice) -> Tensor:
        """Float32 waveforms in [-1, 1]: (rows, 40960)."""
        return torch.from_numpy(self.audio[rows].astype(np.float32) / 32767.0)


def render_split(folder: Path, split: str, count: int) -> Split:
    """Renders the first `count` clips of a split into `folder`, or opens what was rendered there before."""
    count = scaled(count, FEWEST)
    audio_file, spec_file = folder / f"{split}.npy", folder / f"{split}.json"
    if not spec_file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        specs = [draw_clip(split, index) for index in range(count)]
        audio = np.lib.format.open_memmap(audio_file, mode="w+", dtype=np.int16, shape=(count, CLIP_SAMPLES))
        for start in range(0, count, CHUNK):
            part = specs[start : start + CHUNK]
            audio[start : start + len(part)] = pcm16(render_many(part, progress=f"{split} {start}/{count}"))
        audio.flush()
        write_json_atomic(spec_file, [spec.to_json() for spec in specs])
    specs = [ClipSpec.from_json(values) for values in read_json(spec_file)]
    return Split(specs, np.load(audio_file, mmap_mode="r"), np.stack([labels(spec) for spec in specs]))


def mel_pictures(folder: Path, split: Split, name: str, spec: MelSpec) -> NDArray[np.float16]:
    """Log-mel pictures of a split, float16 (n, frames, n_mels), computed once per mel specification."""
    key = json.dumps(spec.to_json(), sort_keys=True)
    file, note = folder / f"{name}-mel{spec.n_mels}.npy", folder / f"{name}-mel{spec.n_mels}.json"
    if not note.exists() or note.read_text() != key:
        shape = (len(split), spec.frames(CLIP_SAMPLES), spec.n_mels)
        pictures = np.lib.format.open_memmap(file, mode="w+", dtype=np.float16, shape=shape)
        for start in track(range(0, len(split), 64), f"log-mel pictures, {name}"):
            rows = slice(start, start + 64)
            pictures[rows] = log_mel(split.waveforms(rows), spec).numpy()
        pictures.flush()
        note.write_text(key)
    loaded: NDArray[np.float16] = np.load(file, mmap_mode="r")
    return loaded
