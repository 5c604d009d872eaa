"""Audio in: reading files in one documented way, and counting what is wrong with clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from admcore.errors import DataError

SILENT_DBFS = -60.0
"""A clip is silent if its root mean square is below this level; a full-scale square wave is at 0."""
CLIPPED_LEVEL = 0.999
"""Absolute value from which a sample counts as clipped."""
CLIPPED_SHARE = 0.001
"""A clip is clipped if at least this share of its samples is."""
SHORT_SHARE = 0.95
"""A clip is too short if it has less than this share of the samples it should have."""
SHORT_SECONDS = 1.0
"""What a clip should have at least where nobody said: about one analysis window of the usual taggers."""


@dataclass(frozen=True)
class Health:
    """How many clips have which fault. A clip can have several; one that is not finite is counted as that alone."""

    clips: int
    silent: int
    clipped: int
    too_short: int
    nan: int
    """Clips with a sample that is NaN or infinite."""

    def to_json(self) -> dict[str, int]:
        """Return the `audio` section of the record."""
        return asdict(self)


def health(waveforms: Sequence[NDArray[np.floating]], sample_rate: int, *, seconds: float | None = None) -> Health:
    """Count faulty clips by the thresholds of this module.

    Args:
        waveforms: n clips of (samples,), full scale 1.
        sample_rate: Hz.
        seconds: how long every clip should be; None is unknown.
    """
    needed = sample_rate * (SHORT_SECONDS if seconds is None else SHORT_SHARE * seconds)
    finite = [clip.astype(np.float64) for clip in waveforms if is_finite(clip)]
    return Health(
        clips=len(waveforms),
        silent=sum(_is_silent(clip) for clip in finite),
        clipped=sum(_is_clipped(clip) for clip in finite),
        too_short=sum(len(clip) < needed for clip in finite),
        nan=len(waveforms) - len(finite),
    )


def is_finite(waveform: NDArray[np.floating]) -> bool:
    """Whether no sample is NaN or infinite."""
    return bool(np.isfinite(waveform).all())


def load_audio(path: str | Path, sample_rate: int) -> NDArray[np.float32]:
    """Read an audio file by `read_audio`, resampled by soxr at high quality to `sample_rate` Hz."""
    waveform, rate = read_audio(path)
    return resample(waveform, rate, sample_rate)


def read_audio(path: str | Path) -> tuple[NDArray[np.float32], int]:
    """Read an audio file: channels averaged, nothing cropped, padded or normalised.

    Args:
        path: of a file in any format that libsndfile reads.

    Returns:
        (samples,) float32, full scale 1, and the file's own sample rate in Hz.

    Raises:
        DataError: the file is missing, unreadable, empty, or holds a sample that is not finite; names the file.
    """
    if not Path(path).is_file():
        raise DataError(f"{path}: no such file")
    try:
        channels, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError) as error:
        raise DataError(f"{path}: not a readable audio file ({error})") from error
    if not len(channels):
        raise DataError(f"{path}: no samples")
    if not is_finite(channels):
        raise DataError(f"{path}: not every sample is a finite number")
    return channels.mean(axis=1), int(rate)


def resample(waveform: NDArray[np.float32], from_rate: int, to_rate: int) -> NDArray[np.float32]:
    """Resample (samples,) by soxr's high-quality polyphase filter; what has the rate already is returned as it is."""
    if from_rate == to_rate:
        return waveform
    resampled: NDArray[np.float32] = soxr.resample(waveform, from_rate, to_rate, quality="HQ").astype(np.float32)
    return resampled


def _is_silent(clip: NDArray[np.float64]) -> bool:
    power = float(np.square(clip).mean()) if len(clip) else 0.0
    return power < 10 ** (SILENT_DBFS / 10)


def _is_clipped(clip: NDArray[np.float64]) -> bool:
    return len(clip) > 0 and float((np.abs(clip) >= CLIPPED_LEVEL).mean()) >= CLIPPED_SHARE
