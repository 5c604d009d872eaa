"""A small run whose records, clips and per-caption results agree with each other: what checks are tried on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from admbench.hashing import sha256_file
from admbench.leaderboard import read_runs
from admbench.leaderboard.inference.closed_forms import squared_distance
from admbench.leaderboard.inference.contrasts import contrast, score_interval
from admbench.leaderboard.inference.scores import KINDS
from admbench.leaderboard.per_caption import HEALTH, PER_CAPTION, CaptionScore, PerCaption, write_per_caption

from .conftest import record, write_run

N = 6
ROWS = np.arange(N)
METHOD = "naive@w4a8"


def results(cell: Path, noise: float) -> PerCaption:
    """Per-caption results of a cell whose clips are on disk; full precision has no noise."""
    rng = np.random.default_rng(7)
    reference, full, other = rng.normal(size=(3, N, 4))
    own = full + noise * other
    clap = CaptionScore.of_clips(KINDS["clap"], ROWS, np.tanh(own[:, 0]))
    captions = tuple(f"foley-{row:03d}" for row in ROWS)
    return PerCaption(
        captions,
        tuple(sha256_file(cell / "audio" / f"{name}.wav") for name in captions),
        {fault: np.zeros(N, dtype=bool) for fault in HEALTH},
        {"fd": CaptionScore(KINDS["fd"], ROWS, squared_distance(own, reference)), "clap": clap},
    )


def agreeing(value: dict[str, Any], own: PerCaption, full: PerCaption | None) -> dict[str, Any]:
    """Return a record whose scores are what its per-caption results give."""
    about = value["scores"]
    scores = {}
    for key, score in own.scores.items():
        scores[key] = about[key] | {
            "value": score.influence.value,
            "ci95": list(score_interval(score.influence, score.kind)),
            "difference": None,
        }
        if full is not None:
            apart = contrast(score.influence, full.scores[key].influence)
            low, high = score.kind.difference_inside(apart.interval())
            scores[key]["difference"] = {
                "value": apart.estimate,
                "ci95": [low, high],
                "versus": "full precision",
                "significant": not low <= 0 <= high,
                "reason": None,
            }
    return value | {"scores": scores}


def cell_of(run: Path, spec: str) -> Path:
    return next(one.cell for one in read_runs([run]) if one.record.method.spec == spec)


def written_run(folder: Path) -> Path:
    """Write a run of two cells, with their clips and per-caption results."""
    write_run(folder, [record(spec="fp32", n=N, loss=0), record(spec=METHOD, n=N)], audio=True)
    full = None
    for spec, noise in (("fp32", 0.0), (METHOD, 0.5)):
        cell = cell_of(folder, spec)
        own = results(cell, noise)
        write_per_caption(cell / PER_CAPTION, own)
        path = cell / "result.json"
        path.write_text(json.dumps(agreeing(json.loads(path.read_text()), own, full)))
        full = own
    return folder
