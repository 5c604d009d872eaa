"""Exports of listeners that a test has made, as the page makes them."""

from __future__ import annotations

from typing import Any

from admbench.leaderboard.inference.listeners import as_far, at_least
from admbench.leaderboard.trials import order

FULL, METHOD = "a" * 64, "b" * 64
CAPTIONS = [f"foley-{index:03d}" for index in range(6)]


def session(
    number: int,
    right: int = 12,
    kind: str = "abx",
    method: str = "naive@w4a8",
    planned: int = 16,
    done: int | None = None,
) -> dict[str, Any]:
    """A session with that many hits; `done` trials of one that was given up."""
    seed = f"{number:032x}"
    drawn = order(seed, CAPTIONS, planned)[: planned if done is None else done]
    trials = []
    for place, trial in enumerate(drawn):
        hit = place < right
        says_method = hit if kind == "preference" else trial.heads is hit
        trials.append(
            {
                "caption": trial.caption,
                "full_sha256": FULL,
                "method_sha256": METHOD,
                "answer": "method" if says_method else "full",
                "seconds": 4.5,
            }
        )
    finished = len(trials) == planned
    p = (at_least if kind == "abx" else as_far)(right, planned)
    return {
        "id": f"{1000 + number:032x}",
        "seed": seed,
        "kind": kind,
        "model": "tiny-tango",
        "suite": "foley",
        "suite_sha256": None,
        "method": method,
        "level_matched": True,
        "planned": planned,
        "captions": CAPTIONS,
        "started": "2026-03-01T10:00:00.000Z",
        "ended": "2026-03-01T10:10:00.000Z" if finished else None,
        "trials": trials,
        "result": {"hits": right, "count": planned, "p": p} if finished else None,
    }


def export(listener: int, *sessions: dict[str, Any]) -> dict[str, Any]:
    """What one browser exports."""
    return {
        "format": "admbench-votes",
        "schema_version": 1,
        "listener": f"{listener:032x}",
        "exported": "2026-03-01T11:00:00.000Z",
        "sessions": list(sessions),
    }
