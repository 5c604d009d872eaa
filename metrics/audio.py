"""Audio in: reading files in one documented way, and finding what is wrong with clips."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import ArrayLike, NDArray

from admbench.errors import DataError
from admbench.metrics.audio_length import cut_off, says_its_length

MOST_SAMPLES = 2**27
"""Of all channels of a file together: 46 minutes at 48 kHz, half a gigabyte. What says that it is longer is no clip: a
compressed file of kilobytes may stand for gigabytes."""
CODED_FRAME = 1152
"""Samples by which the length that a compressed file states may be wrong: a frame of MP3."""
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

READING: dict[str, Any] = {
    "channels": "averaged",
    "resampler": "soxr",
    "resampler_quality": "HQ",
    "cropped": False,
    "normalized": False,
    "silence_appended_up_to_seconds": SHORT_SECONDS,
}
"""How audio comes to the networks, as results say it."""


Faults = dict[str, NDArray[np.bool_]]
"""Fault (silent, clipped, too_short, nan) -> (n,) whether each clip has it."""


@dataclass(frozen=True)
class Health:
    """How many clips have which fault. A clip can have several; one that is not finite is counted as that alone."""

    clips: int
    silent: int
    clipped: int
    too_short: int
    nan: int
    """Clips with a sample that is NaN or infinite."""

    @classmethod
    def of(cls, faults: Faults) -> Health:
        """Return the counts of `faults_of`."""
        return cls(len(faults["nan"]), **{fault: int(flags.sum()) for fault, flags in faults.items()})

    def to_json(self) -> dict[str, int]:
        """Return the `audio` section of the record."""
        return asdict(self)


SECONDS = 2
"""Place of the length among the `levels` of a clip."""


def levels(waveform: NDArray[np.floating], sample_rate: int) -> tuple[float, float, float]:
    """return what faults are seen by: root mean square, share of samples at full scale, seconds.

    Over all channels: a clip whose channels cancel each other in the mix is not silent. All are NaN for a clip that is
    not finite.

    Args:
        waveform: (samples,) or (channels, samples).
        sample_rate: Hz.
    """
    if not is_finite(waveform):
        return np.nan, np.nan, np.nan
    clip = waveform.astype(np.float64)
    level, share = (np.sqrt(np.square(clip).mean()), (np.abs(clip) >= CLIPPED_LEVEL).mean()) if clip.size else (0, 0)
    return float(level), float(share), clip.shape[-1] / sample_rate


def faults_of(clips: ArrayLike, *, seconds: float | None = None) -> Faults:
    """Return which clips have which fault, by the thresholds of this module.

    Args:
        clips: (n, 3), the `levels` of n clips.
        seconds: how long every clip should be; None is unknown.
    """
    rows = np.asarray(clips, dtype=np.float64).reshape(-1, 3)
    level, share, length = rows.T  # comparisons with NaN are false
    needed = SHORT_SECONDS if seconds is None else SHORT_SHARE * seconds
    return {
        "silent": level < 10 ** (SILENT_DBFS / 20),
        "clipped": share >= CLIPPED_SHARE,
        "too_short": length < needed,
        "nan": np.isnan(level),
    }


def is_finite(waveform: NDArray[np.floating]) -> bool:
    """Whether no sample is NaN or infinite."""
    return bool(np.isfinite(waveform).all())


@dataclass(frozen=True)
class Sound:
    """A clip as it lies on disk."""

    waveform: NDArray[np.float32]
    """(samples,) or, of several channels, (channels, samples); full scale 1."""
    sample_rate: int
    """Hz."""

    @cached_property
    def samples(self) -> NDArray[np.float32]:
        """(samples,), what networks hear: the mean of the channels."""
        return self.waveform if self.waveform.ndim == 1 else self.waveform.mean(axis=0)

    @property
    def channels(self) -> int:
        """Number of channels."""
        return 1 if self.waveform.ndim == 1 else len(self.waveform)

    def equals(self, other: Sound) -> bool:
        """Return whether another clip has the same rate and the same samples."""
        return self.sample_rate == other.sample_rate and np.array_equal(self.waveform, other.waveform)

    def ears(self) -> tuple[Sound, Sound]:
        """Return what is heard on the left and on the right; ValueError for more than two channels."""
        left, right = (self.waveform, self.waveform) if self.channels == 1 else self._stereo()
        return Sound(left, self.sample_rate), Sound(right, self.sample_rate)

    def mid_and_side(self) -> NDArray[np.float32]:
        """Return half the sum and half the difference of left and right, (2, samples); mono has a side of zeros.

        Raises:
            ValueError: it has more than two channels.
        """
        if self.channels == 1:
            return np.stack([self.waveform, np.zeros_like(self.waveform)])
        left, right = self._stereo()
        return np.stack([self.samples, (left - right) / 2])

    def _stereo(self) -> NDArray[np.float32]:
        if self.channels != 2:
            raise ValueError(f"has {self.channels} channels; expected 1 or 2")
        return self.waveform

    def at(self, sample_rate: int) -> NDArray[np.float32]:
        """Return the mix at another rate."""
        return resample(self.samples, self.sample_rate, sample_rate)


def load_audio(path: str | Path, sample_rate: int) -> NDArray[np.float32]:
    """Read an audio file and resample it: (samples,) float32, full scale 1. See `read_audio` and `resample`."""
    return read_audio(path).at(sample_rate)


def read_audio(path: str | Path) -> Sound:
    """Read an audio file: all of its channels, nothing cropped, padded or normalised.

    Args:
        path: of a file in any format that libsndfile reads.

    Raises:
        DataError: the file is missing, unreadable, empty, shorter than its own header says, too long to be a clip, or
            holds a sample that is not finite; names the file.
    """
    path = Path(path)
    try:
        if not path.is_file():
            raise DataError(f"{path}: {'no regular file' if path.exists() else 'no such file'}")
        if missing := cut_off(path):
            raise DataError(f"{path}: cut off: {missing}")
        # as bytes: soundfile cannot encode a name that is no UTF-8
        with soundfile.SoundFile(os.fsencode(path) if os.name == "posix" else path) as file:
            stated, rate = file.frames, file.samplerate
            if stated * file.channels > MOST_SAMPLES:
                hours = stated / rate / 3600
                raise DataError(
                    f"{path}: says that it is {hours:.1f} hours long; expected at most {MOST_SAMPLES} samples"
                )
            # what a header does not say, as of a stream, is bounded too
            channels = file.read(MOST_SAMPLES // file.channels, dtype="float32", always_2d=True)
        if stated - len(channels) > CODED_FRAME and says_its_length(path):
            raise DataError(f"{path}: cut off: its header says {stated} samples, of which {len(channels)} are there")
    except (soundfile.SoundFileError, OSError, MemoryError) as error:
        raise DataError(f"{path}: not a readable audio file ({_reason(error)})") from error
    if not len(channels):
        raise DataError(f"{path}: no samples")
    if not is_finite(channels):
        raise DataError(f"{path}: not every sample is a finite number")
    return Sound(channels[:, 0] if channels.shape[1] == 1 else np.ascontiguousarray(channels.T), rate)


def _reason(error: Exception) -> str:
    """Return what libsndfile says, without the path, which the message has."""
    text = error.error_string if isinstance(error, soundfile.LibsndfileError) else getattr(error, "strerror", None)
    return str(text or error or type(error).__name__).rstrip(".")


def resample(waveform: NDArray[np.float32], from_rate: int, to_rate: int) -> NDArray[np.float32]:
    """Resample (samples,) by soxr's high-quality polyphase filter; what has the rate already is returned as it is."""
    if from_rate == to_rate:
        return waveform
    resampled: NDArray[np.float32] = soxr.resample(waveform, from_rate, to_rate, quality="HQ").astype(np.float32)
    return resampled
