"""Folders of clips: `audio/ID.wav` (16-bit PCM) beside `captions.json`, or just audio files with a caption list."""

from __future__ import annotations

import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from admbench.audio_files import AUDIO_SUFFIXES, is_audio_file
from admbench.bench.suites import load_suite
from admbench.errors import DataError
from admbench.files import inside, read_json, write_json_atomic
from admbench.leaderboard.run_folder import AUDIO, CAPTIONS_FILE

_TEXT_SUFFIXES = (".json", ".jsonl", ".csv", ".txt", ".md", ".toml", ".safetensors")


@dataclass(frozen=True)
class Clip:
    """A clip on disk."""

    id: str
    path: Path
    caption: str | None
    """What it was made from; None where nobody said."""


def write_wav(path: Path, waveform: NDArray[np.float32], sample_rate: int) -> None:
    """Write a waveform as 16-bit PCM; the same samples give the same bytes.

    Args:
        path: of the WAV file.
        waveform: (samples,), or (channels, samples), full scale 1. What is beyond full scale is clipped, what is not
            finite becomes silence; both are counted by `admbench.metrics.audio.faults_of`, which sees the waveform
            before it is written.
        sample_rate: Hz.
    """
    finite = np.nan_to_num(waveform, nan=0.0, posinf=0.0, neginf=0.0)
    pcm = np.clip(np.rint(finite.astype(np.float64) * 32768), -32768, 32767).astype("<i2")
    interleaved = np.atleast_2d(pcm).T
    with wave.open(str(path), "wb") as file:
        file.setnchannels(interleaved.shape[1])
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(interleaved.tobytes())


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


def read_clips(folder: Path, prompts: str | None = None) -> list[Clip]:
    """Find the clips of a folder: those of its captions.json, else its audio files by name.

    Args:
        folder: with captions.json and audio/, or with audio files.
        prompts: captions by clip: a suite, or a .csv or .jsonl file, whose ids are the names of the clips' files, or a
            .txt file with one caption per clip, in the order of the files' names.

    Raises:
        DataError: the folder or a file is missing, has no audio, or the captions do not match the clips.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    if (folder / CAPTIONS_FILE).is_file():
        clips = _listed(folder)
    else:
        place = folder / AUDIO if (folder / AUDIO).is_dir() else folder
        files = sorted(path for path in place.iterdir() if is_audio_file(path))
        clips = [Clip(path.stem, path, None) for path in files]
    if not clips:
        raise DataError(f"{folder}: no audio; expected {', '.join(AUDIO_SUFFIXES)} files")
    _refuse_duplicates(folder, clips)
    if prompts is None:
        return clips
    captions = _read_prompts(prompts, [clip.id for clip in clips])
    return [Clip(clip.id, clip.path, captions[clip.id]) for clip in clips]


def unread_files(folder: Path) -> dict[str, str]:
    """Return the files of a folder that `read_clips` takes for no clips, with why: file name -> reason.

    Hidden files and texts (captions, records) are no surprise and not among them.
    """
    place = folder / AUDIO if (folder / AUDIO).is_dir() else folder
    listed = {clip.path.name for clip in _listed(folder)} if (folder / CAPTIONS_FILE).is_file() else None
    found = {}
    for path in sorted(place.iterdir()):
        if not path.is_file() or path.name.startswith(".") or path.suffix.lower() in _TEXT_SUFFIXES:
            continue
        if not is_audio_file(path):
            found[path.name] = "its suffix is of no audio format that is read"
        elif listed is not None and path.name not in listed:
            found[path.name] = f"not listed in {CAPTIONS_FILE}"
    return found


def _listed(folder: Path) -> list[Clip]:
    path = folder / CAPTIONS_FILE
    entries = read_json(path)
    if not isinstance(entries, list):
        raise DataError(f"{path}: expected a list of clips")
    clips = []
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in ("id", "caption")):
            raise DataError(f'{path}: entry {index}: expected texts "id" and "caption"')
        file = folder / str(entry.get("file", f"{AUDIO}/{entry['id']}.wav"))
        if not inside(folder, file):
            raise DataError(f"{path}: entry {index}: file {str(entry.get('file'))[:60]!r} leads out of the folder")
        if not file.is_file():
            raise DataError(f"{file}: no such file, but {path} lists it")
        clips.append(Clip(entry["id"], file, entry["caption"]))
    return clips


def _refuse_duplicates(folder: Path, clips: Sequence[Clip]) -> None:
    seen: set[str] = set()
    for clip in clips:
        if clip.id in seen:
            raise DataError(f"{folder}: two clips are called {clip.id}")
        seen.add(clip.id)


def _read_prompts(prompts: str, ids: Sequence[str]) -> dict[str, str]:
    """Return caption by clip id, for all the given ids."""
    items = load_suite(prompts).items
    if prompts.lower().endswith(".txt"):
        if len(items) != len(ids):
            raise DataError(f"{prompts}: {len(items)} captions for {len(ids)} clips; expected one caption per clip")
        return {name: item.caption for name, item in zip(ids, items, strict=True)}
    captions = {
        item.id.removesuffix(Path(item.id).suffix if is_audio_file(item.id) else ""): item.caption for item in items
    }
    missing = [name for name in ids if name not in captions]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise DataError(f"{prompts}: no caption with the id of clip {missing[0]}{more}")
    return captions
