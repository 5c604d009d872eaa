"""A small run whose clips give its scores: tones as audio, real judges, no model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from admbench.bench.run.caption_results import caption_results
from admbench.bench.scoring.clips import read_clips, write_clips
from admbench.bench.scoring.features import embed_clips
from admbench.bench.scoring.judges import load_judges
from admbench.bench.scoring.spec import JudgeSpec
from admbench.bench.suites import load_suite
from admbench.files import slug
from admbench.leaderboard.per_caption import PER_CAPTION, write_per_caption
from admbench.metrics.audio import faults_of, levels
from admbench.metrics.needs import needed_extractors
from admbench.metrics.scoring import score_captions

from ..leaderboard.conftest import record

N, RATE, SECONDS = 6, 16_000, 0.5
METRICS = ("fd", "clap", "lmd")
METHOD = "naive@w4a8"


def make_scored_run(run: Path) -> Path:
    """Write a run of two cells, scored by the embedded judges as `bench run` does it, without a model; return it."""
    suite = load_suite("foley")
    items = suite.take(N)
    needed = needed_extractors(METRICS)
    judges = load_judges(JudgeSpec(), [one for own in needed.values() for one in own])
    real = run / "reference" / "foley"
    sounds = [suite.reference_audio(item) for item in items]
    ids, captions, seeds = ([getattr(item, key) for item in items] for key in ("id", "caption", "seed"))
    write_clips(real, ids, captions, seeds, [one for one in sounds if one is not None], suite.sample_rate)
    reference = embed_clips(read_clips(real), needed["reference"], judges)
    full = None
    for spec, noise in (("fp32", 0.0), (METHOD, 0.3)):
        cell = run / "cells" / "tiny-tango" / slug(spec)
        rng = np.random.default_rng(5)
        tones = [np.sin(np.arange(int(RATE * SECONDS)) * (0.05 + 0.02 * k)) for k in range(N)]
        clips = [(0.4 * tone + noise * rng.normal(size=len(tone)) / 4).astype(np.float32) for tone in tones]
        write_clips(cell, ids, captions, seeds, clips, RATE)
        own = embed_clips(read_clips(cell), needed["generated"], judges)
        full = full or own
        scored = score_captions(own, reference, full, METRICS, judges)
        value = record(spec=spec, n=N) | {"scores": scored.scores, "suite": suite.describe(items)}
        (cell / "result.json").write_text(json.dumps(value))
        faults = faults_of([levels(clip, RATE) for clip in clips], seconds=SECONDS)
        flags = {fault: own_flags.tolist() for fault, own_flags in faults.items()}
        value["audio"] |= {fault: sum(own_flags) for fault, own_flags in flags.items()}
        (cell / "result.json").write_text(json.dumps(value))
        files = [cell / "audio" / f"{name}.wav" for name in ids]
        write_per_caption(cell / PER_CAPTION, caption_results(ids, files, flags, scored.captions))
    return run
