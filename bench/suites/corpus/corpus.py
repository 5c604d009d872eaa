"""The embedded foley corpus: clips drawn from seeds, rendered to audio, labelled and captioned.

A clip is a :class:`ClipSpec` - a few numbers and a caption - that :func:`draw_clip` derives from a split and an index
and :func:`render` turns into 2.56 s of 16 kHz audio, the same bits every time on one machine. Splits have disjoint seed
streams, so nothing heard in training is heard in a test. Other machines may differ in the last bits of a sine;
:func:`check_corpus` tells identical from merely close against the shipped figures.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from admbench.bench.suites.corpus import events
from admbench.bench.suites.corpus.captions import caption
from admbench.bench.suites.corpus.events import Attributes
from admbench.progress import track

SAMPLE_RATE = events.SAMPLE_RATE
CLIP_SECONDS = 2.56
CLIP_SAMPLES = 40_960
EVENTS: tuple[str, ...] = tuple(events.SYNTHESIZERS)
FAMILIES: dict[str, str] = dict(events.FAMILIES)
SPLITS = ("train", "calibration", "test", "metrics", "metrics-validation")
STRUCTURES = ("single", "simultaneous", "sequential")
STRUCTURE_MIX = {"single": 12, "simultaneous": 5, "sequential": 3}
"""How many of each 20 consecutive clips of a split have which structure."""

BEDS = ("rain", "wind", "ocean_waves", "vacuum_cleaner", "applause", "helicopter")
"""Sounds that fill all time and many bands: in a mixture they are drawn softer, as a background is."""

PEAK = 0.95
_KNEE = 0.7
_HASH_FILE = "corpus_hashes.json"


@dataclass(frozen=True)
class EventSpec:
    """One event of a clip and its attributes, each in [0, 1]."""

    name: str
    pitch: float
    rate: float
    brightness: float
    loudness: float
    distance: float

    @property
    def attributes(self) -> Attributes:
        """The attributes as the synthesizers take them."""
        return Attributes(self.pitch, self.rate, self.brightness, self.loudness, self.distance)


@dataclass(frozen=True)
class ClipSpec:
    """Everything that determines a clip: rendering needs nothing else."""

    id: str
    split: str
    structure: str
    events: tuple[EventSpec, ...]
    seed: int
    caption: str

    def to_json(self) -> dict[str, Any]:
        """A dict of plain values; floats survive a round trip through JSON exactly."""
        return asdict(self) | {"events": [asdict(event) for event in self.events]}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> ClipSpec:
        """The inverse of :meth:`to_json`. Raises TypeError for missing or unknown keys."""
        return cls(**(values | {"events": tuple(EventSpec(**event) for event in values["events"])}))


def _stream(*parts: str | int) -> np.random.SeedSequence:
    digest = hashlib.sha256("/".join(map(str, ("foley", *parts))).encode()).digest()
    return np.random.SeedSequence(np.frombuffer(digest, dtype="<u4").tolist())


@cache
def _permutation(split: str, purpose: str, block: int, size: int) -> tuple[int, ...]:
    rng = np.random.default_rng(_stream(split, purpose, block))
    return tuple(int(number) for number in rng.permutation(size))


def _dealt(split: str, purpose: str, index: int, deck: Sequence[str]) -> str:
    """Deals `deck` over and over, newly shuffled each time: any run of len(deck) aligned indices is balanced."""
    return deck[_permutation(split, purpose, index // len(deck), len(deck))[index % len(deck)]]


def _draw_event(rng: np.random.Generator, name: str, structure: str) -> EventSpec:
    pitch, rate, brightness, loudness, distance = rng.uniform(0, 1, 5)
    if structure == "simultaneous":  # a background must not bury what is in front of it
        low, high = (0.15, 0.5) if name in BEDS else (0.5, 0.95)
        loudness, distance = low + (high - low) * loudness, 0.8 * distance
    return EventSpec(name, *(round(float(value), 3) for value in (pitch, rate, brightness, loudness, distance)))


def draw_clip(split: str, index: int, *, structure: str | None = None, event: str | None = None) -> ClipSpec:
    """The clip at a position of a split, a function of its arguments alone.

    Without `structure` and `event` a split is a balanced mix: 60 % single, 25 % simultaneous and 15 % sequential, each
    event equally often. With them, the structure is as asked, and the event is in the clip; if there are two, it is the
    first, but for a bed, which comes last in a simultaneous clip. Raises ValueError for an unknown split, structure or
    event, or a negative index.
    """
    for value, known, kind in (
        (split, SPLITS, "split"),
        (structure, STRUCTURES, "structure"),
        (event, EVENTS, "event"),
    ):
        if value is not None and value not in known:
            raise ValueError(f"unknown {kind} {value!r}: expected one of {', '.join(known)}")
    if index < 0:
        raise ValueError(f"a clip's index must not be negative, got {index}")
    suffix = "".join(f"-{part}" for part in (structure, event) if part)
    deck = [name for name, count in STRUCTURE_MIX.items() for _ in range(count)]
    structure = structure or _dealt(split, "structure", index, deck)
    first = event or _dealt(split, "event", index, EVENTS)
    stream = _stream(split, "clip", index, suffix)
    rng = np.random.default_rng(stream)
    names = [first]
    if structure != "single":
        names.append(str(rng.choice([name for name in EVENTS if name != first])))
        if structure == "simultaneous" and names[0] in BEDS and names[1] not in BEDS:
            names.reverse()
    drawn = tuple(_draw_event(rng, name, structure) for name in names)
    text = caption(rng, structure, [(spec.name, spec.attributes) for spec in drawn])
    seed = int(stream.generate_state(2, np.uint32).view(np.uint64)[0] >> np.uint64(1))
    return ClipSpec(f"{split}-{index:06d}{suffix}", split, structure, drawn, seed, text)


def _soft_guard(sound: NDArray[np.float64]) -> NDArray[np.float64]:
    """Leaves |x| <= 0.7 alone and bends what is above smoothly below 0.95."""
    excess = np.abs(sound) - _KNEE
    if excess.max() <= 0:
        return sound
    bent = _KNEE + (PEAK - _KNEE) * np.tanh(np.maximum(excess, 0.0) / (PEAK - _KNEE))
    return np.where(excess > 0, np.sign(sound) * bent, sound)


def render(spec: ClipSpec) -> NDArray[np.float32]:
    """The audio of a clip: float32 (40960,), |x| <= 0.95, a function of the specification alone.

    Simultaneous events share the whole clip; of sequential ones the second begins as the first ends, in the middle.
    Levels differ from clip to clip as loudness and distance say.
    """
    mix = np.zeros(CLIP_SAMPLES)
    share = CLIP_SAMPLES // 2 if spec.structure == "sequential" else CLIP_SAMPLES
    for number, event in enumerate(spec.events):
        rng = np.random.default_rng([spec.seed & 0xFFFFFFFF, spec.seed >> 32, number])
        start = number * share if spec.structure == "sequential" else 0
        mix[start : start + share] += events.synthesize(event.name, event.attributes, share, rng)
    return _soft_guard(mix).astype(np.float32)


def labels(spec: ClipSpec) -> NDArray[np.float32]:
    """Which events a clip holds: float32 (len(EVENTS),), 1 or 0 in the order of EVENTS."""
    present = {event.name for event in spec.events}
    return np.array([name in present for name in EVENTS], dtype=np.float32)


def render_many(
    specs: Sequence[ClipSpec], workers: int | None = None, progress: str = "rendering clips"
) -> NDArray[np.float32]:
    """The audio of many clips: float32 (n, 40960), in order; the number of workers does not change a bit.

    `workers` processes share the work (default: one for each core; 1 renders in this process); `progress` describes the
    bar.
    """
    count = (os.cpu_count() or 1) if workers is None else workers
    audio = np.empty((len(specs), CLIP_SAMPLES), dtype=np.float32)
    collect: Callable[[Iterable[NDArray[np.float32]]], Iterable[NDArray[np.float32]]]
    collect = partial(track, description=progress, total=len(specs))
    if count <= 1 or len(specs) < 64:
        for row, clip in enumerate(collect(map(render, specs))):
            audio[row] = clip
        return audio
    with multiprocessing.get_context("spawn").Pool(count) as pool:
        for row, clip in enumerate(collect(pool.imap(render, specs, chunksize=16))):
            audio[row] = clip
    return audio


# ---------------------------------------------------------------------------------------------------------------------
# Fingerprint


@dataclass(frozen=True)
class CorpusCheck:
    """How this machine's corpus compares with the shipped figures."""

    bit_identical: bool
    worst_relative_deviation: float
    """Largest relative difference of any fingerprint clip's RMS or spectral centroid."""


def fingerprint_specs() -> list[ClipSpec]:
    """The fixed clips that stand for the corpus: two of each event alone, and a dozen mixtures."""
    alone = [draw_clip("test", n, structure="single", event=name) for name in EVENTS for n in range(2)]
    mixed = [draw_clip("test", n, structure=kind) for kind in STRUCTURES[1:] for n in range(6)]
    return alone + mixed


def pcm16(audio: NDArray[np.float32]) -> NDArray[np.int16]:
    """Audio in [-1, 1] as 16-bit samples."""
    return np.round(audio.astype(np.float64) * 32767).astype("<i2")


def _hash(clips: NDArray[np.float32]) -> str:
    return hashlib.sha256(pcm16(clips).tobytes()).hexdigest()


def _figures(clip: NDArray[np.float32]) -> dict[str, float]:
    sound = clip.astype(np.float64)
    power = np.abs(np.fft.rfft(sound)) ** 2
    frequencies = np.fft.rfftfreq(len(sound), 1 / SAMPLE_RATE)
    return {
        "rms": float(np.sqrt(np.mean(sound**2))),
        "spectral_centroid_hz": float(power @ frequencies / power.sum()),
    }


def fingerprint() -> dict[str, Any]:
    """The content of the shipped corpus_hashes.json: hash, and RMS and spectral centroid of each fingerprint clip."""
    specs = fingerprint_specs()
    clips = render_many(specs, workers=1)
    figures = {spec.id: _figures(clip) | {"caption": spec.caption} for spec, clip in zip(specs, clips, strict=True)}
    return {"sha256_pcm16": _hash(clips), "clips": figures}


def check_corpus() -> CorpusCheck:
    """Renders the fingerprint clips and compares them with the figures that were shipped."""
    shipped = json.loads(
        resources.files("admbench.bench.suites.corpus").joinpath(_HASH_FILE).read_text(encoding="utf-8")
    )
    here = fingerprint()
    worst = 0.0
    for name, figures in shipped["clips"].items():
        for key in ("rms", "spectral_centroid_hz"):
            worst = max(worst, abs(here["clips"][name][key] - figures[key]) / abs(figures[key]))
    return CorpusCheck(here["sha256_pcm16"] == shipped["sha256_pcm16"], worst)
