"""The audio beside a record: its captions and its WAV files, read as untrusted input."""

import hashlib
import io
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from admbench.errors import DataError
from admbench.leaderboard.run_folder import AUDIO, CAPTIONS_FILE
from admbench.leaderboard.untrusted import clip_id, read_bytes, read_json

MAX_WAV_BYTES = 64 * 2**20
MAX_CLIPS = 100_000
MAX_CAPTION = 2000
"""Characters."""


class Clip(BaseModel):
    """One entry of captions.json: the clip's id, which is its file name, and the caption it was made from."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    id: Annotated[str, AfterValidator(clip_id)]
    caption: Annotated[str, Field(max_length=MAX_CAPTION)]
    seed: int | None = None


@dataclass(frozen=True)
class Pcm:
    """A clip as it is stored: `samples` is int16 (frames, channels); `rate` in Hz; `sha256` is of its file."""

    samples: NDArray[np.int16]
    rate: int
    sha256: str

    @property
    def seconds(self) -> float:
        """Length of the clip."""
        return len(self.samples) / self.rate


@dataclass(frozen=True)
class Sound:
    """Decoded audio: `samples` is float32 (samples,) in [-1, 1], channels averaged; `rate` in Hz."""

    samples: NDArray[np.float32]
    rate: int

    @property
    def seconds(self) -> float:
        """Length of the clip."""
        return len(self.samples) / self.rate


_CLIPS = TypeAdapter(Annotated[list[Clip], Field(max_length=MAX_CLIPS)])


def read_clips(root: Path, folder: Path) -> list[Clip]:
    """Read `folder`/captions.json; an empty list if there is none.

    Raises:
        DataError: the file is malformed, an id is not a safe file name or appears twice; it names file and entry.
    """
    path = folder / CAPTIONS_FILE
    if not path.exists() and not path.is_symlink():
        return []
    try:
        clips = _CLIPS.validate_python(read_json(root, path))
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        key = ".".join(map(str, detail["loc"])) or "captions"
        raise DataError(f"{path}: {key}: {detail['msg'].removeprefix('Value error, ')}") from error
    seen: set[str] = set()
    for clip in clips:
        if clip.id in seen:
            raise DataError(f"{path}: the id {clip.id!r} appears twice")
        seen.add(clip.id)
    return clips


def read_sound(root: Path, folder: Path, clip: Clip) -> Sound | None:
    """Decode `folder`/audio/ID.wav to one channel; None if there is no such file. Raises as `read_pcm`."""
    pcm = read_pcm(root, folder, clip)
    return Sound((pcm.samples.mean(axis=1) / 32768).astype(np.float32), pcm.rate) if pcm else None


def read_pcm(root: Path, folder: Path, clip: Clip) -> Pcm | None:
    """Read `folder`/audio/ID.wav (16-bit PCM) with all its channels; None if there is no such file.

    Raises:
        DataError: the file is not 16-bit PCM WAV, is empty or is too large; it names the file.
    """
    path = folder / AUDIO / f"{clip.id}.wav"
    if not path.exists() and not path.is_symlink():
        return None
    content = read_bytes(root, path, MAX_WAV_BYTES)
    try:
        with wave.open(io.BytesIO(content)) as file:
            rate, width, channels = file.getframerate(), file.getsampwidth(), file.getnchannels()
            data = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise DataError(f"{path}: not a PCM WAV file ({error or 'truncated'})") from error
    if width != 2 or not data or not 1000 <= rate <= 384_000:
        raise DataError(f"{path}: expected 16-bit PCM with at least one sample, found {8 * width} bit at {rate} Hz")
    samples = np.frombuffer(data[: len(data) // (2 * channels) * 2 * channels], dtype="<i2").reshape(-1, channels)
    return Pcm(samples, rate, hashlib.sha256(content).hexdigest())


def evenly(clips: Sequence[Clip], count: int) -> list[Clip]:
    """Return `count` clips at even steps through all, so that the strata of a suite in order are all met."""
    if len(clips) <= count:
        return list(clips)
    return [clips[int((index + 0.5) * len(clips) / count)] for index in range(count)]
