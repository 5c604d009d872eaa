"""Whether a sampler of few steps is as good as a model's own: nearness to many steps, and scores of the clips.

    python -m benchmarks.samplers [--models tiny-tango,...] [--steps 10,12,15] [--limit 96] [--near 16] [--threads 1]

A line for each model and sampler: the SQNR of its latents against those of the model's own sampler in 200 steps, mean
of the first `--near` captions with a 95 % interval over captions; then FD to real audio, CLAP score and KL to real
audio of all clips, each with its paired difference to the model's own sampler in its own steps and the 95 % interval of
that. No backbone is quantized. Griffin-Lim and judges are those of a run.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from admbench.bench.api import score_folders
from admbench.bench.models import load_model
from admbench.bench.models.samplers import DPM_SOLVER
from admbench.bench.scoring.clips import write_clips
from admbench.bench.suites import load_suite
from admbench.bench.suites.base import SuiteItem
from admbench.metrics.latents import signal_to_noise_of_latents
from admbench.progress import set_quiet

MODELS = "tiny-audioldm,tiny-tango,tiny-make-an-audio"
MANY = 200
"""Steps of the model's own sampler that all others are held against."""
SCORES = ("fd", "clap", "kl")
BATCH = 8


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.samplers")
    parser.add_argument("--models", default=MODELS, help="by commas")
    parser.add_argument("--steps", default="10,12,15", help="of the sampler of few steps, by commas")
    parser.add_argument("--limit", type=int, default=96, help="captions that are scored")
    parser.add_argument("--near", type=int, default=16, help="captions whose latents are held against many steps")
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    set_quiet(True)
    suite = load_suite("foley")
    items = suite.take(asked.limit)
    with tempfile.TemporaryDirectory() as folder:
        real = Path(folder) / "real"
        pairs = [(item, suite.reference_audio(item)) for item in items]
        known = [(item, audio) for item, audio in pairs if audio is not None]
        _write(real, [item for item, _ in known], [audio for _, audio in known], suite.sample_rate)
        print("model | sampler | steps | dB to 200 steps | FD | CLAP | KL", flush=True)
        for name in asked.models.split(","):
            few = [int(steps) for steps in asked.steps.split(",")]
            _compare(name, few, items, asked.near, real, Path(folder) / name)


def _compare(name: str, few: Sequence[int], items: Sequence[SuiteItem], near: int, real: Path, folder: Path) -> None:
    exact = _latents(load_model(name), items[:near], MANY)
    baseline = folder / "own"
    for sampler, steps in [(None, load_model(name).default_steps), *((DPM_SOLVER, steps) for steps in few)]:
        model = load_model(name, sampler=sampler)
        latents = _latents(model, items, steps)
        decibels = signal_to_noise_of_latents(exact.numpy(), latents[: len(exact)].numpy())
        clips = baseline if sampler is None else folder / str(steps)
        _write(clips, items, model.decode(latents), model.sample_rate)
        own = None if sampler is None else baseline
        scores = score_folders(clips, real, baseline=own, prompts="foley", metrics=SCORES)
        cells = [name, sampler or model.scheduler_name, str(steps), _interval(decibels)]
        print(" | ".join([*cells, *(_score(scores[key]) for key in SCORES)]), flush=True)


def _latents(model: Any, items: Sequence[SuiteItem], steps: int) -> torch.Tensor:
    captions, seeds = [item.caption for item in items], [item.seed for item in items]
    latents: torch.Tensor = model.latents(
        captions, seeds, steps=steps, guidance=model.default_guidance, batch_size=BATCH
    )
    return latents


def _write(folder: Path, items: Sequence[SuiteItem], waveforms: Any, rate: int) -> None:
    ids, captions = [item.id for item in items], [item.caption for item in items]
    write_clips(folder, ids, captions, [item.seed for item in items], waveforms, rate)


def _interval(values: np.ndarray[Any, Any]) -> str:
    """Return the mean of a value a caption with twice its standard error on both sides."""
    error = 1.96 * values.std(ddof=1) / len(values) ** 0.5
    return f"{values.mean():.1f} [{values.mean() - error:.1f}, {values.mean() + error:.1f}]"


def _score(score: dict[str, Any]) -> str:
    """Return a score, and its difference to the model's own sampler with its interval."""
    difference = score.get("difference")
    if not difference or difference.get("value") is None:
        return f"{score['value']:.3f}"
    low, high = difference["ci95"]
    return f"{score['value']:.3f} ({difference['value']:+.3f} [{low:+.3f}, {high:+.3f}])"


if __name__ == "__main__":
    sys.exit(main())
