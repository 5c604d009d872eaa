"""A listening test for tools of the field: webMUSHRA (YAML) and BeaqleJS (JavaScript), with its clips as WAV files.

webMUSHRA: https://github.com/audiolabs/webMUSHRA, pages `mushra` and `paired_comparison` of its doc/experimenter.md.
BeaqleJS: https://github.com/HSU-ANT/beaqlejs, section 3 of its README. Full precision is the reference, as the question
is how near a quantized model stays to it. The low anchor of ITU-R BS.1534 is made here, so that it is the same in both.
"""

from __future__ import annotations

import html
import io
import json
import wave
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from admbench.errors import DataError, UsageError, nearest
from admbench.files import atomic_directory, slug, write_bytes_atomic, write_json_atomic, write_text_atomic
from admbench.leaderboard.boards import Board
from admbench.leaderboard.clip_sources import ClipSource, captions_of, clip_sources
from admbench.leaderboard.clips import Clip, Pcm, evenly

Format = Literal["webmushra", "beaqlejs"]
Kind = Literal["mushra", "abx", "preference"]
FORMATS: tuple[Format, ...] = ("webmushra", "beaqlejs")
KINDS: tuple[Kind, ...] = ("mushra", "abx", "preference")
REFERENCE, ANCHOR = "full-precision", "anchor-3500-hz"
MOST_CONDITIONS, MOST_SECONDS = 12, 12.0
"""Of a MUSHRA page, by BS.1534 and webMUSHRA; with longer clips its check is turned off."""
_BEAQLE_CLASSES = {"mushra": "MushraTest", "abx": "AbxTest", "preference": "PrefTest"}


@dataclass(frozen=True)
class Exported:
    """What was written."""

    config: Path
    captions: int
    conditions: int
    how: str
    """What to do with it, one line."""


@dataclass(frozen=True)
class Item:
    """A caption with its clips, all of one length, rate and number of channels."""

    clip: Clip
    sounds: dict[str, NDArray[np.int16]]  # condition -> (frames, channels)
    rate: int


def export_test(
    board: Board,
    group: str,
    out: Path,
    *,
    tool: Format,
    kind: Kind = "mushra",
    captions: int = 10,
    methods: Sequence[str] | None = None,
) -> Exported:
    """Write a test of one model into the new folder `out`: config, clips, and `conditions.json`, a key to both.

    Captions are taken at even steps through the suite. Clips are padded with silence to the longest of a caption; a
    caption of which a clip is missing is left out.

    Args:
        board: with the model's cells.
        group: the model, as the board calls it.
        out: folder, empty or new.
        tool: whose format.
        kind: rating all methods at once, full precision against each by ABX, or by preference.
        captions: how many.
        methods: specs to take; None takes all.

    Raises:
        UsageError: no such model or method; a kind that the tool does not have; too many methods for one page.
        DataError: no caption has a clip of full precision and of all methods, or clips of other rates or channels.
    """
    if tool == "webmushra" and kind == "preference":
        raise UsageError("webmushra has no test of preference without a reference; expected --format beaqlejs")
    full, chosen = _sources(board, group, methods)
    if kind == "mushra" and len(chosen) + 2 > MOST_CONDITIONS:
        more = f"expected at most {MOST_CONDITIONS - 2} beside reference and anchor"
        raise UsageError(f"{len(chosen)} methods on one page of MUSHRA; {more}: choose with --methods")
    names = {slug(source.label): source for source in chosen}
    whole = [clip for clip in captions_of([full]) if all(source.has(clip) for source in (full, *chosen))]
    items = [item for clip in evenly(whole, captions) if (item := _item(clip, full, names)) is not None]
    if not items:
        raise DataError(f"{group}: no caption has a clip of full precision and of every method")
    if kind == "mushra":
        items = [with_anchor(item) for item in items]
    name = slug(f"{group} {kind}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out}: is not empty; expected a new folder")
    with atomic_directory(out) as folder:
        config = (_webmushra if tool == "webmushra" else _beaqlejs)(folder, name, board, group, kind, items)
        labels = {key: source.label for key, source in names.items()} | {REFERENCE: full.label}
        write_json_atomic(folder / "conditions.json", _conditions(board, group, labels, items))
        how = _how(tool, kind, name)
        write_text_atomic(folder / "README.txt", how + "\n")
    return Exported(out / config, len(items), len(names), how)


def _sources(board: Board, group: str, methods: Sequence[str] | None) -> tuple[ClipSource, list[ClipSource]]:
    """Return full precision and the methods of a model that have clips."""
    if group not in board.groups:
        known = ", ".join(board.groups)
        raise UsageError(f'no model "{group}".{nearest(group, board.groups)} Models: {known}')
    sources = list(clip_sources(board, group))
    full = next((source for source in sources if source.kind == "baseline" and source.clips), None)
    if full is None:
        raise DataError(f"{group}: no clips of the model in full precision, which is the reference of a test")
    found = {source.label: source for source in sources if source.kind == "method" and source.clips}
    for spec in methods or ():
        if spec not in found:
            raise UsageError(f'no clips of "{spec}" on {group}.{nearest(spec, found)} Methods: {", ".join(found)}')
    chosen = [found[spec] for spec in dict.fromkeys(methods)] if methods else list(found.values())
    if not chosen:
        raise DataError(f"{group}: no clips of any method")
    return full, chosen


def _item(clip: Clip, full: ClipSource, methods: Mapping[str, ClipSource]) -> Item | None:
    """Return a caption's clips, padded; None where one is missing."""
    pcm = {name: source.read(clip)[0] for name, source in {REFERENCE: full, **methods}.items()}
    found = {name: one for name, one in pcm.items() if one is not None}
    if len(found) < len(pcm):
        return None
    reference = found[REFERENCE]
    for name, one in found.items():
        if (one.rate, one.samples.shape[1]) != (reference.rate, reference.samples.shape[1]):
            raise DataError(
                f"{clip.id}: {_sort(one)} of {name}, but {_sort(reference)} of full precision; a test needs them alike"
            )
    frames = max(len(one.samples) for one in found.values())
    padded = {name: np.pad(one.samples, ((0, frames - len(one.samples)), (0, 0))) for name, one in found.items()}
    return Item(clip, padded, reference.rate)


def _sort(pcm: Pcm) -> str:
    return f"{pcm.rate} Hz with {pcm.samples.shape[1]} channels"


def with_anchor(item: Item) -> Item:
    """Add the low anchor of BS.1534: the reference without what is above 3.5 kHz, 60 dB down from 4 kHz on.

    Where the clips have nothing above 4 kHz there is none.
    """
    from scipy.signal import firwin, kaiserord

    if item.rate <= 8000:
        return item
    length, shape = kaiserord(60.0, 500 / (item.rate / 2))
    length |= 1  # odd, so that its delay is a whole number of samples
    taps = firwin(length, 3750, window=("kaiser", shape), fs=item.rate)
    reference = item.sounds[REFERENCE]
    low = [np.convolve(channel, taps)[length // 2 :][: len(reference)] for channel in reference.T]
    anchor = np.clip(np.round(np.stack(low, axis=1)), -32768, 32767).astype(np.int16)
    return Item(item.clip, {**item.sounds, ANCHOR: anchor}, item.rate)


def _webmushra(folder: Path, name: str, board: Board, group: str, kind: Kind, items: Sequence[Item]) -> str:
    """Write configs/NAME.yaml, whose paths begin at the root of webMUSHRA; page texts are HTML there."""
    import yaml

    pages: list[Any] = ["random"]
    for item in items:
        paths = _write_clips(folder, f"configs/resources/{name}", item)
        page: dict[str, Any] = {
            "type": "mushra" if kind == "mushra" else "paired_comparison",
            "id": slug(item.clip.id),
            "name": "Rate each clip" if kind == "mushra" else "Which is the reference?",
            "content": html.escape(item.clip.caption),
            "showWaveform": False,
            "enableLooping": True,
            "reference": paths[REFERENCE],
            "stimuli": {key: path for key, path in paths.items() if key != REFERENCE},
        }
        if kind == "mushra":
            seconds = len(item.sounds[REFERENCE]) / item.rate
            page |= {"createAnchor35": False, "createAnchor70": False, "randomize": True, "showConditionNames": False}
            page["strict"] = seconds <= MOST_SECONDS
        pages.append(page)
    words = f"{html.escape(group)}, {html.escape(board.suite)}"
    config = {
        "testname": f"{group}: {kind}",
        "testId": name,
        "bufferSize": 2048,
        "stopOnErrors": True,
        "showButtonPreviousPage": True,
        "remoteService": "service/write.php",
        "pages": [
            {"type": "generic", "id": "welcome", "name": "Welcome", "content": f"Sounds made by {words}."},
            pages,
            {"type": "finish", "name": "Thank you", "content": "", "showResults": False, "writeResults": True},
        ],
    }
    path = f"configs/{name}.yaml"
    write_text_atomic(folder / path, yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=100))
    return path


def _beaqlejs(folder: Path, name: str, board: Board, group: str, kind: Kind, items: Sequence[Item]) -> str:
    """Write config/NAME.js, which sets `TestConfig`; the hidden reference of MUSHRA is a condition as any other."""
    sets: list[dict[str, Any]] = []
    for item in items:
        paths = _write_clips(folder, f"audio/{name}", item)
        reference, label = paths.pop(REFERENCE), slug(item.clip.id)
        if kind == "mushra":
            files = {"Reference": reference, "hidden-reference": reference, **paths}
            sets.append({"Name": item.clip.caption, "TestID": label, "Files": files})
            continue
        for key, path in paths.items():
            files = {"A": reference, "B": path}
            sets.append({"Name": item.clip.caption, "TestID": f"{label}__{key}", "Files": files})
    config: dict[str, Any] = {
        "TestName": f"{group}, {board.suite}: {kind}",
        "LoopByDefault": True,
        "ShowFileIDs": False,
        "ShowResults": False,
        "EnableABLoop": True,
        "EnableOnlineSubmission": False,
        "BeaqleServiceURL": "",
        "SupervisorContact": "",
        "RandomizeTestOrder": True,
        "MaxTestsPerRun": -1,
        "AudioRoot": "",
        "Testsets": sets,
    }
    if kind == "mushra":
        config |= {
            "RateScalePng": "img/scale_abs.png",
            "RateScaleBgPng": "img/scale_abs_background.png",
            "RateMinValue": 0,
            "RateMaxValue": 100,
            "RateDefaultValue": 0,
            "RequireMaxRating": True,
        }
    path = f"config/{name}.js"
    write_text_atomic(folder / path, f"var TestConfig = {json.dumps(config, indent=2)};\n")
    return path


def _write_clips(folder: Path, where: str, item: Item) -> dict[str, str]:
    """Write a caption's clips, and return their paths by condition."""
    paths = {}
    for key, samples in item.sounds.items():
        paths[key] = f"{where}/{slug(item.clip.id)}/{key}.wav"
        write_bytes_atomic(folder / paths[key], _wav(samples, item.rate))
    return paths


def _wav(samples: NDArray[np.int16], rate: int) -> bytes:
    encoded = io.BytesIO()
    with wave.open(encoded, "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())
    return encoded.getvalue()


def _conditions(board: Board, group: str, labels: Mapping[str, str], items: Sequence[Item]) -> dict[str, Any]:
    return {
        "model": group,
        "suite": {"name": board.suite, "sha256": board.suite_sha256},
        "conditions": dict(labels),
        "captions": {slug(item.clip.id): {"id": item.clip.id, "caption": item.clip.caption} for item in items},
    }


def _how(tool: Format, kind: Kind, name: str) -> str:
    if tool == "webmushra":
        return f"copy configs/ into a webMUSHRA folder and open it with ?config={name}.yaml"
    started = f"testHandle = new {_BEAQLE_CLASSES[kind]}(TestConfig)"
    copied = "copy config/ and audio/ into a BeaqleJS folder"
    return f"{copied}; its index.html loads config/{name}.js and begins with {started}"
