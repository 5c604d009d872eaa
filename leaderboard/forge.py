"""Forged records: one run folder for each kind of untruth that `bench validate` or a board has to catch.

    python -m admbench.leaderboard.forge RUN OUT

copies the records of a run (results, captions, clips, per-caption results) once for each kind into OUT/KIND, with one
thing changed, and prints what has to be said of it. For the tests, and for whoever writes another reader of records.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import struct
import sys
import wave
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from admbench.errors import BenchError, DataError
from admbench.leaderboard.clips import MAX_WAV_BYTES
from admbench.leaderboard.per_caption import PER_CAPTION
from admbench.leaderboard.record import FULL_PRECISION
from admbench.leaderboard.run_folder import AUDIO, CAPTIONS_FILE, RECORD_FILE, RECORDS

Value = dict[str, Any]


@dataclass(frozen=True)
class Forgery:
    """One kind of untruth."""

    what: str
    """In a few words."""
    caught: str
    """What a problem line of the cell contains."""
    record: Callable[[Value], Any] | None = None
    """Changes the decoded record of a quantized cell."""
    text: Callable[[str], str] | None = None
    """Changes the record's text, for what no JSON writer writes."""
    folder: Callable[[Path], Any] | None = None
    """Changes what lies in the cell's folder."""
    quarantined: bool = True
    """Whether boards leave the record out; of clips and differences only `bench validate` knows."""


def _set(*path: str, to: Any) -> Callable[[Value], Any]:
    """Return what sets one value of a record; a callable is given the old one."""

    def change(record: Value) -> None:
        section = record
        for key in path[:-1]:
            section = section[key]
        section[path[-1]] = to(section.get(path[-1])) if callable(to) else to

    return change


def _score(key: str, value: float, low: float, high: float) -> Callable[[Value], Any]:
    def change(record: Value) -> None:
        score = record["scores"].get(key, record["scores"]["fd"])
        forged = {"value": value, "ci95": [low, high], "difference": None, "reason": None}
        record["scores"][key] = score | forged

    return change


def _difference(value: float, half: float) -> Callable[[Value], Any]:
    def change(record: Value) -> None:
        interval = [value - half, value + half]
        apart = not interval[0] <= 0 <= interval[1]
        record["scores"]["fd"]["difference"] |= {"value": value, "ci95": interval, "significant": apart}

    return change


def _timed(**forged: Any) -> Callable[[Value], Any]:
    """Give a record times of a kernel that agree with each other but for what is forged."""
    step = {"median": 20.0, "p10": 19.0, "p90": 21.0, "values": [19.0, 20.0, 21.0]}
    full = {"median": 30.0, "p10": 29.0, "p90": 31.0, "values": [29.0, 30.0, 31.0]}
    times = {"kernel": "onednn", "step_ms": step, "baseline_step_ms": full, "speedup": 1.5, "reason": None}

    def change(record: Value) -> None:
        record["method"]["simulated"] = False
        record["latency"] = times | forged

    return change


def _first_clip(change: Callable[[Path], Any]) -> Callable[[Path], Any]:
    return lambda cell: change(min((cell / AUDIO).glob("*.wav")))


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(data)


def _link_away(path: Path) -> None:
    kept = path.with_suffix(".elsewhere")
    path.rename(kept)
    path.symlink_to(kept.name)


def _as_floats(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[20:22] = struct.pack("<H", 3)  # WAVE_FORMAT_IEEE_FLOAT in the place of PCM
    path.write_bytes(data)


def _say_endless(path: Path) -> None:
    data = bytearray(path.read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 4] = struct.pack("<I", 2**32 - 2)
    path.write_bytes(data)


def _stretch(path: Path) -> None:
    with wave.open(str(path)) as file:
        settings, frames = file.getparams(), file.readframes(file.getnframes())
    with wave.open(str(path), "wb") as file:
        file.setparams(settings)
        file.writeframes(100 * frames)


def _at_end(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")


_LOOK_ALIKE = (
    ("latin", "another Latin letter", ("model", "name"), "a", "\u0251", "\\u0251"),
    ("dotless", "an i without its dot", ("method", "spec"), "i", "\u0131", "\\u0131"),
    ("capital", "a small capital", ("method", "name"), "n", "\u0274", "\\u0274"),
    ("wide", "an @ of full width", ("method", "spec"), "@", "\uff20", "\\uff20"),
    ("mathematical", "a mathematical letter", ("model", "name"), "t", "\U0001d42d", "\\U0001d42d"),
    ("hyphen", "another hyphen", ("model", "name"), "-", "\u2010", "\\u2010"),
    ("dash", "a dash", ("model", "name"), "-", "\u2014", "\\u2014"),
)
"""Kind, what, where, a character of ASCII, what takes its place, and how that is shown."""

FORGERIES: Mapping[str, Forgery] = {
    "fd-negative": Forgery("an FD below zero", "at least 0", _score("fd", -3.0, -4.0, -2.0)),
    "fd-tiny": Forgery("an FD of 5e-324", "is no measurement", _score("fd", 5e-324, 0.0, 1.0)),
    "fd-invented": Forgery("an FD that its captions do not give", "per caption", _score("fd", 500.0, 400.0, 600.0)),
    "interval-endless": Forgery("an interval of +-1e308", "range", _score("fd", 1.0, -1e308, 1e308)),
    "interval-beside": Forgery("an interval beside its value", "does not contain", _score("fd", 1.0, 2.0, 3.0)),
    "interval-reversed": Forgery("an interval that ends before it begins", "is above", _score("fd", 1.0, 3.0, 2.0)),
    "clap-above-one": Forgery("a CLAP score of 1.5", "expected -1 to 1", _score("clap", 1.5, 1.4, 1.6)),
    "kl-negative": Forgery("a KL below zero", "at least 0", _score("kl", -0.5, -0.6, -0.4)),
    "difference-invented": Forgery(
        "a difference that its captions do not give", "per caption", _difference(-60.0, 10.0), quarantined=False
    ),
    "difference-impossible": Forgery(
        "a difference that puts full precision below zero", "full precision's own", _difference(1e6, 10.0)
    ),
    "better-when-worse": Forgery(
        "FD that is better when higher", "expected false", _set("scores", "fd", "higher_is_better", to=True)
    ),
    "bytes-endless": Forgery(
        "bytes of 10^400",
        "beyond 64 bits",
        text=lambda text: text.replace('"checkpoint_bytes": ', f'"checkpoint_bytes": 1{"0" * 400}', 1),
    ),
    "bytes-half": Forgery(
        "half of the bytes", "checkpoint_bytes", _set("size", "checkpoint_bytes", to=lambda old: old // 2)
    ),
    "bits-four": Forgery(
        "fewer bits a weight than its bytes", "effective_bits", _set("size", "effective_bits_per_weight", to=1.0)
    ),
    "baseline-huge": Forgery(
        "a full precision of a thousand times its bytes",
        "baseline_bytes",
        _set("size", "baseline_bytes", to=lambda old: old * 1000),
    ),
    "component-lost": Forgery(
        "a quantized component without its bytes", "is quantized and has no bytes", _set("size", "components", to={})
    ),
    "parameters-invented": Forgery(
        "ten times the parameters that its bytes hold",
        "parameters in fp32",
        _set("model", "parameters", to=lambda old: old * 10),
    ),
    "speedup-invented": Forgery("a speedup that its times do not give", "quotient of the medians", _timed(speedup=9.0)),
    "median-invented": Forgery(
        "a time that is not the median of its values",
        "the median of the values",
        _timed(step_ms={"median": 20.0, "p10": 19.0, "p90": 21.0, "values": [19.0, 20.9, 21.0]}),
    ),
    "in-the-future": Forgery(
        "a cell of next month",
        "is in the future",
        _set("provenance", "started", to=lambda _: _at_end(datetime.now(UTC) + timedelta(days=30))),
    ),
    "before-the-package": Forgery(
        "a cell of 1999", "expected a time from 2020", _set("provenance", "started", to="1999-01-01T00:00:00+00:00")
    ),
    "ended-in-the-future": Forgery(
        "a cell of thirty years", "would have ended", _set("provenance", "seconds", to=9.5e8)
    ),
    "more-clips": Forgery("more clips than captions", "clips", _set("audio", "clips", to=lambda old: old + 1)),
    "silence-hidden": Forgery(
        "a silent clip that is not counted", "health.silent", _set("audio", "silent", to=1), quarantined=False
    ),
    "line-forged": Forgery(
        "a spec of two lines",
        "hidden or look-alike",
        _set("method", "spec", to=lambda old: f"{old}\nerror: elsewhere/result.json: fine"),
    ),
    "zero-width": Forgery(
        "a name with a zero-width space", "\\u200b", _set("model", "name", to=lambda old: f"{old[:4]}\u200b{old[4:]}")
    ),
    "look-alike": Forgery(
        "a Cyrillic letter in a Latin name",
        "\\u0430",
        _set("model", "name", to=lambda old: old.replace("a", "\u0430", 1)),
    ),
    **{
        f"look-alike-{kind}": Forgery(
            what, shown, _set(*where, to=lambda old, own=own, seen=seen: old.replace(own, seen, 1))
        )
        for kind, what, where, own, seen, shown in _LOOK_ALIKE
    },
    "look-alike-word": Forgery(
        "a name in Cyrillic letters alone that reads as Latin",
        "\\u0441",
        _set("model", "name", to="\u0441\u043e\u0441\u043e"),
    ),
    "direction-mark": Forgery(
        "a reason that is read from right to left",
        "U+202E",
        _set("model", "source", to="\u202egnihton morf"),
    ),
    "tag-characters": Forgery(
        "a licence in tag characters", "\\U000e0041", _set("model", "license", to="\U000e0041pache-2.0")
    ),
    "stacked-marks": Forgery("a tower of combining marks", "\\u0301", _set("model", "source", to="x" + 30 * "\u0301")),
    "spec-endless": Forgery(
        "a spec of 20,000 characters",
        "at most 500 characters",
        _set("method", "spec", to=lambda old: f"{old}[x={'y' * 20_000}]"),
    ),
    "options-huge": Forgery(
        "options of 14 MB", "larger, or nested deeper", _set("method", "config", "x", to=["y" * 1000] * 14_000)
    ),
    "not-a-number": Forgery(
        "NaN", "NaN is not JSON", text=lambda text: text.replace('"value": ', '"value": NaN, "x": ', 1)
    ),
    "not-json": Forgery("half a record", "not valid JSON", text=lambda text: text[: len(text) // 2]),
    "clip-swapped": Forgery(
        "a clip that is not what was scored", "others than were scored", folder=_first_clip(_flip), quarantined=False
    ),
    "clip-no-audio": Forgery(
        "a clip that does not open",
        "not a PCM WAV file",
        folder=_first_clip(lambda path: path.write_bytes(b"no audio")),
        quarantined=False,
    ),
    "clip-linked": Forgery(
        "a clip that is a link to another file",
        "a symbolic link",
        folder=_first_clip(_link_away),
        quarantined=False,
    ),
    "clip-huge": Forgery(
        "a clip of more bytes than are read",
        "larger than the limit",
        folder=_first_clip(lambda path: os.truncate(path, MAX_WAV_BYTES + 1)),
        quarantined=False,
    ),
    "clip-other-format": Forgery(
        "a clip of floating-point numbers",
        "not a PCM WAV file",
        folder=_first_clip(_as_floats),
        quarantined=False,
    ),
    "clip-endless": Forgery(
        "a clip whose header says four gigabytes",
        "others than were scored",
        folder=_first_clip(_say_endless),
        quarantined=False,
    ),
    "clip-longer": Forgery(
        "a clip a hundred times as long as asked for",
        "expected generation.seconds",
        folder=_first_clip(_stretch),
        quarantined=False,
    ),
    "clip-missing": Forgery("a clip less", "not there", folder=_first_clip(Path.unlink), quarantined=False),
    "captions-damaged": Forgery(
        "a list of captions that is none",
        "not valid JSON",
        folder=lambda cell: (cell / CAPTIONS_FILE).write_text("[", encoding="ascii"),
    ),
    "results-damaged": Forgery(
        "per-caption results that are none",
        "not a safetensors file",
        folder=lambda cell: (cell / PER_CAPTION).write_bytes(b"damaged"),
    ),
}
"""Kind -> what is forged, in the order in which the folder lists them."""


def forge(run: Path, out: Path, kind: str) -> Path:
    """Copy a run with one of its quantized cells forged, and return the record's path.

    Args:
        run: folder of a good run, with a finished quantized cell, its clips and per-caption results.
        out: folder that is made; must not be there.
        kind: key of `FORGERIES`.

    Raises:
        DataError: the run is not there, or has no finished quantized cell; something is there already.
    """
    forgery = FORGERIES[kind]
    if not run.is_dir():
        raise DataError(f"{run}: no such folder; expected that of a run")
    if out.exists():
        raise DataError(f"{out} is there already; nothing is written into it")
    shutil.copytree(run, out, ignore=shutil.ignore_patterns("site", "work", "calibration", "checkpoint", "stages"))
    for path in sorted(out.glob(RECORDS)):
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["status"] == "done" and record["method"]["name"] != FULL_PRECISION:
            break
    else:
        raise DataError(f"{run}: no finished quantized cell to forge")
    if forgery.record is not None:
        forgery.record(record)
        path.write_text(json.dumps(record, indent=1), encoding="utf-8")
    if forgery.text is not None:
        path.write_text(forgery.text(path.read_text(encoding="utf-8")), encoding="utf-8")
    if forgery.folder is not None:
        forgery.folder(path.parent)
    assert path.name == RECORD_FILE
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Forge a run in every way; see the module. Exit code 2: one line says what is wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", type=Path, help="folder of a good run")
    parser.add_argument("out", type=Path, help="folder of the forged ones")
    given = parser.parse_args(arguments)
    try:
        for kind, forgery in FORGERIES.items():
            print(f"{forge(given.run, given.out / kind, kind)}: {forgery.what}; expected: {forgery.caught}")
    except (BenchError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
