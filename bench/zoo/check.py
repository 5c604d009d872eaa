"""`bench zoo check`: are the shipped files what was shipped, and do they reach the figures that the model card states?

Each ADM is checked in a child process of its own with one thread, as many at once as there are cores.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from admcore.errors import BenchError
from admcore.files import read_json, write_json_atomic
from bench.zoo.corpus import EVENTS, ClipSpec, check_corpus, draw_clip, render_many

SINGLES_PER_EVENT = 19
"""Single-event captions of each event: 494 clips for each ADM."""
RANDOM_PER_EVENT = 3
"""Clips for the distance of random weights; the trained distance beside it is over the same captions."""
JUDGE_CLIPS = 520
CORPUS_TOLERANCE = 0.02
"""Largest relative deviation of a fingerprint clip's RMS or spectral centroid on another machine."""


@dataclass(frozen=True)
class Figure:
    """One line of the check."""

    name: str
    value: float
    required: str
    holds: bool

    def line(self) -> str:
        """As it is printed."""
        return f"{'ok  ' if self.holds else 'FAIL'}  {self.name}\t{self.value:.4g}\t(required: {self.required})"


def check(json_path: Path | None = None, card_path: Path | None = None) -> int:
    """Prints every figure with what is required; writes them, and the model card, where asked.

    Returns 0 if all hold, 1 if one does not.
    """
    started = time.monotonic()
    names = _models()
    with tempfile.TemporaryDirectory() as scratch:
        parts = _in_children(["judges", *names], Path(scratch))
    report = {
        "machine": {"processor": _processor(), "cores": os.cpu_count(), "python": platform.python_version()},
        "figures": [figure for part in parts.values() for figure in part["figures"]],
        "models": {name: parts[name]["details"] for name in names},
        "judges": parts["judges"]["details"],
        "seconds": round(time.monotonic() - started, 1),
    }
    figures = [Figure(**values) for values in report["figures"]]
    for figure in figures:
        print(figure.line())
    print(f"checked in {report['seconds']:.0f} s")
    if json_path:
        write_json_atomic(json_path, report)
    if card_path:
        from bench.zoo.card import write_card

        write_card(report, card_path)
    return 0 if all(figure.holds for figure in figures) else 1


def _models() -> list[str]:
    from bench.models import BUILTIN

    return list(BUILTIN)


def _processor() -> str:
    from bench.environment import cpu_name

    return cpu_name()


def _in_children(parts: Sequence[str], scratch: Path) -> dict[str, Any]:
    waiting, running, done = list(parts), dict[str, subprocess.Popen[bytes]](), dict[str, Any]()
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    try:
        while waiting or running:
            while waiting and len(running) < (os.cpu_count() or 1):
                name = waiting.pop(0)
                command = [sys.executable, "-m", "bench.zoo.check", name, str(scratch / f"{name}.json")]
                running[name] = subprocess.Popen(command, env=os.environ | threads)
            time.sleep(0.2)
            for name, process in list(running.items()):
                if process.poll() is None:
                    continue
                del running[name]
                if process.returncode != 0:
                    raise BenchError(f"the check of {name} ended with exit code {process.returncode}")
                done[name] = read_json(scratch / f"{name}.json")
                print(f"{name}: measured", file=sys.stderr, flush=True)
    finally:
        for process in running.values():
            process.terminate()
    return {name: done[name] for name in parts}


# ---------------------------------------------------------------------------------------------------------------------
# What a child measures


def check_judges() -> dict[str, Any]:
    """Corpus, tagger and CLAP on real clips of the test split."""
    from bench.zoo.judges import average_precision
    from metrics.embedders.tiny_clap import load_clap
    from metrics.embedders.tiny_tagger import load_tagger

    corpus = check_corpus()
    specs = [draw_clip("test", index) for index in range(JUDGE_CLIPS)]
    audio = render_many(specs, workers=1)
    truth = np.stack([[name in {event.name for event in spec.events} for name in EVENTS] for spec in specs])
    logits = batched(load_tagger().embed_audio, audio, "logits")
    precision = average_precision(logits, truth.astype(np.float32))
    single = np.array([spec.structure == "single" for spec in specs])
    top1 = float((logits[single].argmax(axis=1) == truth[single].argmax(axis=1)).mean())
    clap = load_clap()
    margin = clap_margin(batched(clap.embed_audio, audio, "embedding"), clap.embed_text([s.caption for s in specs]))
    macro = float(precision.mean())
    figures = [
        Figure(
            "corpus: largest relative deviation from the shipped fingerprint",
            corpus.worst_relative_deviation,
            f"at most {CORPUS_TOLERANCE}; 0 where it was made",
            corpus.worst_relative_deviation <= CORPUS_TOLERANCE,
        ),
        Figure(f"tiny-tagger: macro-mAP, {len(specs)} test clips", macro, "at least 0.95", macro >= 0.95),
        Figure(
            "tiny-clap on real clips: matching above shuffled, in standard errors",
            margin.sigmas,
            "at least 5",
            margin.sigmas >= 5,
        ),
    ]
    details = {
        "bit_identical_corpus": corpus.bit_identical,
        "tagger": {
            "macro_map": macro,
            "top1_single": top1,
            "average_precision": dict(zip(EVENTS, np.round(precision, 4).tolist(), strict=True)),
        },
        "clap": asdict(margin),
    }
    return {"figures": [asdict(figure) for figure in figures], "details": details}


@dataclass(frozen=True)
class Margin:
    """CLAP cosines of matching captions against those of captions shuffled among the clips."""

    matching: float
    shuffled: float
    standard_error: float
    """Of the mean paired difference."""
    sigmas: float


def clap_margin(audio: NDArray[np.float32], text: NDArray[np.float32]) -> Margin:
    """Mean cosine of matching pairs against pairs shifted by a third of the set; both inputs (n, e), unit vectors."""
    shifted = np.roll(np.arange(len(audio)), len(audio) // 3)
    matching, shuffled = (audio * text).sum(axis=1), (audio * text[shifted]).sum(axis=1)
    difference = (matching - shuffled).astype(np.float64)
    error = float(difference.std(ddof=1) / np.sqrt(len(difference)))
    return Margin(float(matching.mean()), float(shuffled.mean()), error, float(difference.mean()) / error)


def batched(embed: Callable[[NDArray[np.float32]], Any], audio: NDArray[np.float32], field: str) -> NDArray[np.float32]:
    """A field of an embedder's output over many clips."""
    parts = [getattr(embed(audio[start : start + 32]), field) for start in range(0, len(audio), 32)]
    return np.concatenate(parts)


def check_model(name: str) -> dict[str, Any]:
    """Files, events, CLAP margin and distance of one ADM at its default sampling."""
    from metrics.frechet import frechet_distance

    from bench.models import load_model
    from bench.models.shipped import folder_of, verify
    from metrics.embedders.tiny_clap import load_clap
    from metrics.embedders.tiny_tagger import load_tagger

    verify(name)
    started = time.monotonic()
    specs = single_event_specs()
    model = load_model(name)
    audio = _generate(model, specs)
    seconds = time.monotonic() - started
    tagger, clap = load_tagger(), load_clap()
    heard = tagger_output(tagger, audio)
    truth = np.array([EVENTS.index(spec.events[0].name) for spec in specs])
    confusion = np.zeros((len(EVENTS), len(EVENTS)), dtype=int)
    np.add.at(confusion, (truth, heard.logits.argmax(axis=1)), 1)
    top1 = float(np.trace(confusion) / len(specs))
    margin = clap_margin(batched(clap.embed_audio, audio, "embedding"), clap.embed_text([s.caption for s in specs]))
    few = list(range(RANDOM_PER_EVENT * len(EVENTS)))
    reference = tagger_output(tagger, render_many([specs[i] for i in few], workers=1)).embedding
    untrained = _generate(load_model(name, random_weights=True), [specs[i] for i in few])
    fd = frechet_distance(reference, heard.embedding[few])
    fd_random = frechet_distance(reference, tagger_output(tagger, untrained).embedding)
    figures = [
        Figure(
            f"{name}: event of the caption is the tagger's first, {len(specs)} clips",
            top1,
            "at least 0.85",
            top1 >= 0.85,
        ),
        Figure(
            f"{name}: CLAP, matching above shuffled, in standard errors",
            margin.sigmas,
            "at least 5",
            margin.sigmas >= 5,
        ),
        Figure(
            f"{name}: FD over that of random weights, {len(few)} clips",
            fd / fd_random,
            "at most 0.25",
            fd / fd_random <= 0.25,
        ),
    ]
    details = {
        "top1": top1,
        "clips": len(specs),
        "chance": 1 / len(EVENTS),
        "confusion": confusion.tolist(),
        "clap": asdict(margin),
        "fd": fd,
        "fd_random_weights": fd_random,
        "fd_clips": len(few),
        "seconds_to_generate": round(seconds, 1),
        "parameters": {part: sum(p.numel() for p in m.parameters()) for part, m in model.components.items()},
        "facts": read_json(folder_of(name) / "admbench.json"),
    }
    return {"figures": [asdict(figure) for figure in figures], "details": details}


def single_event_specs() -> list[ClipSpec]:
    """The captions of the event figure: test split, each event equally often, any prefix of whole rounds balanced."""
    return [draw_clip("test", n, structure="single", event=name) for n in range(SINGLES_PER_EVENT) for name in EVENTS]


def _generate(model: Any, specs: Sequence[ClipSpec]) -> NDArray[np.float32]:
    audio: NDArray[np.float32] = model.generate(
        [spec.caption for spec in specs], [spec.seed & 0x7FFFFFFF for spec in specs], batch_size=32
    )
    return audio


@dataclass(frozen=True)
class TaggerOutput:
    """Embeddings (n, 64) and logits (n, K)."""

    embedding: NDArray[np.float32]
    logits: NDArray[np.float32]


def tagger_output(tagger: Any, audio: NDArray[np.float32]) -> TaggerOutput:
    """The tagger over many clips."""
    parts = [tagger.embed_audio(audio[start : start + 32]) for start in range(0, len(audio), 32)]
    return TaggerOutput(np.concatenate([p.embedding for p in parts]), np.concatenate([p.logits for p in parts]))


if __name__ == "__main__":
    part, target = sys.argv[1], Path(sys.argv[2])
    write_json_atomic(target, check_judges() if part == "judges" else check_model(part))
