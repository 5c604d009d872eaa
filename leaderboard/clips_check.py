"""Are the clips beside a record what it says: WAV files that open, of its rate and length? For `bench validate`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from admbench.errors import DataError
from admbench.leaderboard.clips import Clip, Sound, read_sound
from admbench.leaderboard.record import Record
from admbench.leaderboard.run_folder import AUDIO, CAPTIONS_FILE

LENGTH_TOLERANCE = 0.05
"""Share of a clip's length by which it may be longer than asked for: decoders end at whole frames."""


def unsound_clips(record: Record, run: Path, cell: Path, clips: Sequence[Clip]) -> Iterator[str]:
    """Yield what is wrong with the clips that lie beside a record, a line each; they need not be there.

    Args:
        record: beside which they lie.
        run: the run folder.
        cell: the cell's folder.
        clips: listed in its captions.json.
    """
    if record.status != "done" or not any((cell / AUDIO).glob("*.wav")):
        return
    if not clips:
        yield f"{AUDIO}/: clips without the list {CAPTIONS_FILE}"
        return
    if record.audio is not None and len(clips) != record.audio.clips:
        yield f"{CAPTIONS_FILE}: {len(clips)} clips, but audio.clips is {record.audio.clips}"
    missing, short = [], 0
    for clip in clips:
        try:
            sound = read_sound(run, cell, clip)
        except DataError as error:
            yield str(error)
            continue
        if sound is None:
            missing.append(clip.id)
            continue
        short += _is_short(record, sound)
        if line := _other_than_stated(record, sound):
            yield f"{AUDIO}/{clip.id}.wav: {line}"
    if missing:
        yield f"{AUDIO}/: {len(missing)} of {len(clips)} clips are not there, such as {missing[0]}.wav"
    if record.audio is not None and short > record.audio.too_short:
        yield f"audio.too_short: {record.audio.too_short}, but {short} clips are less than half as long as asked for"


def _other_than_stated(record: Record, sound: Sound) -> str | None:
    asked = record.generation
    if asked is None:
        return None
    if sound.rate != asked.sample_rate:
        return f"{sound.rate} Hz; expected generation.sample_rate, {asked.sample_rate} Hz"
    if sound.seconds > asked.seconds * (1 + LENGTH_TOLERANCE) + 0.1:
        return f"{sound.seconds:.2f} s; expected generation.seconds, {asked.seconds:g} s"
    return None


def _is_short(record: Record, sound: Sound) -> bool:
    return record.generation is not None and sound.seconds < record.generation.seconds / 2
