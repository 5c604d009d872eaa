"""Clips on disk: how they are written, `audio/ID.wav` (16-bit PCM) beside `captions.json`, and found again."""

from __future__ import annotations

import io
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from admbench.bench.scoring.audio_folder import read_audio_folder
from admbench.files import write_json_atomic
from admbench.leaderboard.run_folder import AUDIO, CAPTIONS_FILE


@dataclass(frozen=True)
class Clip:
    """A clip on disk."""

    id: str
    """By which it is held against clips of other folders."""
    path: Path
    caption: str | None
    """What it was made from; None where nobody said."""


def write_wav(path: Path, waveform: NDArray[np.float32], sample_rate: int) -> None:
    """Write a waveform as a file of `wav_bytes`."""
    path.write_bytes(wav_bytes(waveform, sample_rate))


def wav_bytes(waveform: NDArray[np.float32], sample_rate: int) -> bytes:
    """Return a waveform as a WAV file of 16-bit PCM; the same samples give the same bytes.

    Args:
        waveform: (samples,), or (channels, samples), full scale 1. What is beyond full scale is clipped, what is not
            finite becomes silence; both are counted by `admbench.metrics.audio.faults_of`, which sees the waveform
            before it is written.
        sample_rate: Hz.
    """
    finite = np.nan_to_num(waveform, nan=0.0, posinf=0.0, neginf=0.0)
    pcm = np.clip(np.rint(finite.astype(np.float64) * 32768), -32768, 32767).astype("<i2")
    interleaved = np.atleast_2d(pcm).T
    encoded = io.BytesIO()
    with wave.open(encoded, "wb") as file:
        file.setnchannels(interleaved.shape[1])
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(interleaved.tobytes())
    return encoded.getvalue()


def write_clips(
    folder: Path,
    ids: Sequence[str],
    captions: Sequence[str],
    seeds: Sequence[int],
    waveforms: Sequence[NDArray[np.float32]],
    sample_rate: int,
) -> None:
    """Write `folder/audio/ID.wav` for every clip and `folder/captions.json`."""
    (folder / AUDIO).mkdir(parents=True, exist_ok=True)
    for name, waveform in zip(ids, waveforms, strict=True):
        write_wav(folder / AUDIO / f"{name}.wav", waveform, sample_rate)
    entries = [
        {"id": name, "caption": caption, "seed": seed, "file": f"{AUDIO}/{name}.wav"}
        for name, caption, seed in zip(ids, captions, seeds, strict=True)
    ]
    write_json_atomic(folder / CAPTIONS_FILE, entries)


def read_clips(folder: Path) -> list[Clip]:
    """Find the clips of a folder: those of its captions.json, else its audio files by name.

    Raises:
        DataError: there is no such folder, or no audio in it; see `admbench.bench.scoring.audio_folder`.
    """
    return [Clip(one.name, one.path, one.caption) for one in read_audio_folder(folder).clips]
