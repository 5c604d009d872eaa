"""`bench zoo check`: are the shipped files what was shipped, and do they reach the figures that the model card states?

The clips of each ADM are made and heard in worker processes with one thread each, as many at once as there are cores.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from admbench.bench.suites.corpus.corpus import EVENTS, ClipSpec, check_corpus, draw_clip, render_many
from admbench.errors import UsageError
from admbench.files import read_json, write_json_atomic
from admbench.progress import track

SINGLES_PER_EVENT = 19
"""Single-event captions of each event: 494 clips for each ADM."""
RANDOM_PER_EVENT = 2
"""Clips for the distance of random weights; the trained distance beside it is over the same captions."""
RANDOM_STEPS = 4
"""Denoising steps with random weights: after few steps it is as far from sound as after many."""
FEW_PER_EVENT = 5
"""Clips of a few-step model in fewer steps than its default."""
JUDGE_CLIPS = 520
STEPS = 10
"""Most denoising steps: fewer than the default, so that the check ends in minutes; more steps are no worse."""
HURRIED = {"tiny-flow": (1, 2), "tiny-pingpong": (1, 2, 4)}
"""Numbers of steps below its default in which a few-step model is heard, too."""
CHUNK = 130
"""Clips that a worker makes at a time."""
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


def check(json_path: Path | None = None, card_path: Path | None = None, only: Sequence[str] | None = None) -> int:
    """Prints every figure with what is required; writes them, and the model card, where asked.

    Args:
        json_path: gets the figures.
        card_path: gets the model card.
        only: names of models; None is all that are embedded. The judges are checked in any case.

    Returns 0 if all hold, 1 if one does not.

    Raises:
        UsageError: there is no such embedded model, or a card is asked for without all of them.
    """
    from admbench.bench.models import EMBEDDED

    for name in only or ():
        if name not in EMBEDDED:
            raise UsageError(f"no embedded model {name!r}: expected some of {', '.join(EMBEDDED)}")
    if card_path and only:
        raise UsageError("the model card tells of all embedded models; expected --card without --models")
    started = time.monotonic()
    judges, models = _measure(list(only or EMBEDDED))
    parts = [judges, *models.values()]
    report = {
        "machine": {"processor": _processor(), "cores": os.cpu_count(), "python": platform.python_version()},
        "figures": [figure for part in parts for figure in part["figures"]],
        "models": {name: part["details"] for name, part in models.items()},
        "judges": judges["details"],
        "seconds": round(time.monotonic() - started, 1),
    }
    figures = [Figure(**values) for values in report["figures"]]
    for figure in figures:
        print(figure.line())
    print(f"checked in {report['seconds']:.0f} s")
    if json_path:
        write_json_atomic(json_path, report)
    if card_path:
        from admbench.bench.zoo.card import write_card

        write_card(report, card_path)
    return 0 if all(figure.holds for figure in figures) else 1


def _processor() -> str:
    from admbench.bench.measurement.environment import cpu_name

    return cpu_name()


def _measure(names: Sequence[str]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Figures and details of the judges and of each ADM."""
    from admbench.bench.models.checkpoints.shipped import verify

    for name in names:
        verify(name)
    count, few = SINGLES_PER_EVENT * len(EVENTS), RANDOM_PER_EVENT * len(EVENTS)
    fewer = FEW_PER_EVENT * len(EVENTS)
    chunks = [slice(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)]
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn"), _single_thread) as pool:
        trained = {name: [pool.submit(hear, name, chunk) for chunk in chunks] for name in names}
        untrained = {
            name: pool.submit(hear, name, slice(0, few), steps=RANDOM_STEPS, random_weights=True) for name in names
        }
        hurried = {
            name: {steps: pool.submit(hear, name, slice(0, fewer), steps=steps) for steps in own}
            for name, own in HURRIED.items()
            if name in names
        }
        judges = pool.submit(check_judges)
        real = pool.submit(hear_real, few)
        jobs: list[Future[Any]] = [judges, real, *untrained.values(), *(job for own in trained.values() for job in own)]
        jobs += [job for own in hurried.values() for job in own.values()]
        try:
            for job in track(as_completed(jobs), "making and hearing clips", len(jobs)):
                job.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        models = {
            name: check_model(
                name,
                Heard.join([job.result() for job in own]),
                untrained[name].result(),
                real.result(),
                {steps: job.result() for steps, job in hurried.get(name, {}).items()},
            )
            for name, own in trained.items()
        }
        return judges.result(), models


def _single_thread() -> None:
    import torch

    torch.set_num_threads(1)


# ---------------------------------------------------------------------------------------------------------------------
# What a worker measures


def check_judges() -> dict[str, Any]:
    """Corpus, tagger and CLAP on real clips of the test split."""
    from admbench.bench.zoo.judges import average_precision

    tagger, clap = _judges()
    corpus = check_corpus()
    specs = [draw_clip("test", index) for index in range(JUDGE_CLIPS)]
    audio = render_many(specs, workers=1)
    truth = np.stack([[name in {event.name for event in spec.events} for name in EVENTS] for spec in specs])
    logits = batched(tagger.embed_audio, audio, "logits")
    precision = average_precision(logits, truth.astype(np.float32))
    single = np.array([spec.structure == "single" for spec in specs])
    top1 = float((logits[single].argmax(axis=1) == truth[single].argmax(axis=1)).mean())
    margin = clap_margin(batched(clap.embed_audio, audio, "embedding"), clap.embed_text([s.caption for s in specs]))
    macro = float(precision.mean())
    figures = [
        Figure(
            "corpus: largest relative deviation from the shipped fingerprint",
            corpus.worst_relative_deviation,
            f"at most {CORPUS_TOLERANCE}; about 0 where it was made",
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


@dataclass(frozen=True)
class Heard:
    """What the judges say of n clips: the tagger's embeddings (n, 64) and logits (n, K), CLAP's unit vectors (n, e)."""

    embedding: NDArray[np.float32]
    logits: NDArray[np.float32]
    clap: NDArray[np.float32]
    seconds: float
    """It took to make the clips."""

    @classmethod
    def of(cls, audio: NDArray[np.float32], seconds: float) -> Heard:
        """Both judges over clips (n, samples)."""
        tagger, clap = _judges()
        heard = tagger_output(tagger, audio)
        return cls(heard.embedding, heard.logits, batched(clap.embed_audio, audio, "embedding"), seconds)

    @classmethod
    def join(cls, parts: Sequence[Heard]) -> Heard:
        """One after the other."""
        embedding, logits, clap = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("embedding", "logits", "clap")
        )
        return cls(embedding, logits, clap, sum(part.seconds for part in parts))


@lru_cache(maxsize=1)
def _judges() -> tuple[Any, Any]:
    from admbench.metrics.embedders.tiny_clap import load_clap
    from admbench.metrics.embedders.tiny_tagger import load_tagger

    return load_tagger(), load_clap()


def hear(name: str, rows: slice, *, steps: int = STEPS, random_weights: bool = False) -> Heard:
    """Some of the single-event captions, generated by an ADM at its default guidance, in no more than its own steps."""
    from admbench.bench.models import load_model

    specs = single_event_specs()[rows]
    model = load_model(name, random_weights=random_weights)
    started = time.monotonic()
    captions, seeds = [spec.caption for spec in specs], [spec.seed & 0x7FFFFFFF for spec in specs]
    audio = model.generate(captions, seeds, steps=min(steps, model.default_steps), batch_size=26)
    return Heard.of(audio, time.monotonic() - started)


def hear_real(count: int) -> Heard:
    """The real clips of the first single-event captions."""
    started = time.monotonic()
    audio = render_many(single_event_specs()[:count], workers=1)
    return Heard.of(audio, time.monotonic() - started)


def check_model(name: str, trained: Heard, untrained: Heard, real: Heard, hurried: dict[int, Heard]) -> dict[str, Any]:
    """Events, CLAP margin and distance of one ADM.

    Args:
        name: of the model.
        trained: clips of all single-event captions.
        untrained: clips of the same architecture with random weights, of the first captions.
        real: real clips of those first captions.
        hurried: clips of the first captions in fewer steps, by their number.
    """
    from admbench.bench.models import load_model
    from admbench.bench.models.checkpoints.shipped import folder_of
    from admbench.metrics.frechet import frechet_distance

    specs, (_, clap), model = single_event_specs(), _judges(), load_model(name)
    texts = clap.embed_text([spec.caption for spec in specs])
    truth = np.array([EVENTS.index(spec.events[0].name) for spec in specs])
    confusion = np.zeros((len(EVENTS), len(EVENTS)), dtype=int)
    np.add.at(confusion, (truth, trained.logits.argmax(axis=1)), 1)
    few = len(real.embedding)

    def heard(clips: Heard) -> dict[str, Any]:
        count = len(clips.logits)
        return {
            "clips": count,
            "top1": float((clips.logits.argmax(axis=1) == truth[:count]).mean()),
            "clap": asdict(clap_margin(clips.clap, texts[:count])),
            "fd": frechet_distance(real.embedding, clips.embedding[:few]),
        }

    figured = heard(trained)
    top1, fd, margin = figured["top1"], figured["fd"], Margin(**figured["clap"])
    fd_random = frechet_distance(real.embedding, untrained.embedding)
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
            f"{name}: FD over that of random weights, {few} clips",
            fd / fd_random,
            "at most 0.25",
            fd / fd_random <= 0.25,
        ),
    ]
    details = {
        **figured,
        "steps": min(STEPS, model.default_steps),
        "fewer_steps": [{"steps": steps, **heard(clips)} for steps, clips in sorted(hurried.items())],
        "chance": 1 / len(EVENTS),
        "confusion": confusion.tolist(),
        "fd_random_weights": fd_random,
        "fd_clips": few,
        "seconds_to_generate": round(trained.seconds, 1),
        "parameters": {part: sum(p.numel() for p in m.parameters()) for part, m in model.components.items()},
        "facts": read_json(folder_of(name) / "admbench.json"),
    }
    return {"figures": [asdict(figure) for figure in figures], "details": details}


def single_event_specs() -> list[ClipSpec]:
    """The captions of the event figure: test split, each event equally often, any prefix of whole rounds balanced."""
    return [draw_clip("test", n, structure="single", event=name) for n in range(SINGLES_PER_EVENT) for name in EVENTS]


@dataclass(frozen=True)
class TaggerOutput:
    """Embeddings (n, 64) and logits (n, K)."""

    embedding: NDArray[np.float32]
    logits: NDArray[np.float32]


def tagger_output(tagger: Any, audio: NDArray[np.float32]) -> TaggerOutput:
    """The tagger over many clips."""
    parts = [tagger.embed_audio(audio[start : start + 32]) for start in range(0, len(audio), 32)]
    return TaggerOutput(np.concatenate([p.embedding for p in parts]), np.concatenate([p.logits for p in parts]))
