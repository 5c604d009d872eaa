"""Per-caption results for records that a test has written: of known nearness to full precision."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from admbench.leaderboard import read_runs
from admbench.leaderboard.inference.closed_forms import squared_distance
from admbench.leaderboard.inference.contrasts import score_interval
from admbench.leaderboard.inference.influence import Influence
from admbench.leaderboard.inference.scores import KINDS, OWN_AUDIO
from admbench.leaderboard.per_caption import (
    HEALTH,
    PER_CAPTION,
    CaptionScore,
    PerCaption,
    read_per_caption,
    write_per_caption,
)


def captions(n: int) -> tuple[str, ...]:
    return tuple(f"foley-{k:03d}" for k in range(n))


def content(scores: dict[str, CaptionScore], names: tuple[str, ...]) -> PerCaption:
    flags = {fault: np.zeros(len(names), dtype=bool) for fault in HEALTH}
    return PerCaption(names, tuple(f"{k:064x}" for k in range(len(names))), flags, scores)


def of_distance(first: np.ndarray, second: np.ndarray) -> CaptionScore:
    found: Influence = squared_distance(first, second)
    return CaptionScore(KINDS["fd"], np.arange(found.n), found)


def write_results(run: Path, noise: dict[str, float], n: int = 96, seed: int = 0) -> None:
    """Write the results of every finished cell of a run.

    Args:
        run: folder with its records.
        noise: by method, how far a cell is from full precision, 0 for a copy of it. Calibration draws of a method
            scatter by a tenth of that.
        n: captions.
        seed: of all numbers.
    """
    rng = np.random.default_rng(seed)
    reference, common, spread = rng.normal(size=(3, n, 12))
    full = 0.8 + common + 0.2 * spread
    for loaded in read_runs([run]):
        if loaded.record.status != "done":
            continue
        amount = noise[loaded.record.method.spec] * (1 + 0.1 * loaded.record.method.repeat)
        own = full + amount * (0.5 + rng.normal(size=(n, 12)))
        clap = 0.5 - amount / 6 + 0.1 * np.tanh(common[:, 0])
        clap[7] -= 0.2 * amount  # one caption suffers most
        scores = {
            "fd": of_distance(own, reference),
            "clap": CaptionScore.of_clips(KINDS["clap"], np.arange(n), clap),
        }
        if loaded.record.method.name != "fp32":
            scores["fd_vs_baseline"] = of_distance(own, full)
        write_per_caption(loaded.cell / PER_CAPTION, content(scores, captions(n)))


def agree(run: Path) -> None:
    """Let every finished record say what the per-caption results beside it give, as `bench run` writes them."""
    for loaded in read_runs([run]):
        path = loaded.cell / PER_CAPTION
        if loaded.record.status != "done" or not path.is_file():
            continue
        value = json.loads(loaded.path.read_text())
        scores = {}
        for key, one in read_per_caption(loaded.cell, path).scores.items():
            recorded = value["scores"].get(key) or {"higher_is_better": one.kind.higher_is_better, "version": "1"}
            against = "baseline" if key.endswith(OWN_AUDIO) else recorded.get("against")
            numbers = {"value": one.influence.value, "ci95": score_interval(one.influence, one.kind)}
            scores[key] = recorded | numbers | {"n": one.influence.n, "against": against, "reason": None}
        loaded.path.write_text(json.dumps(value | {"scores": scores}))
