"""What listeners heard: votes of all of them, per model, method and kind of test, with intervals over listeners."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from admbench.errors import DataError
from admbench.files import slug
from admbench.leaderboard.boards import Board, Row
from admbench.leaderboard.clips import MAX_WAV_BYTES
from admbench.leaderboard.inference.listeners import as_far, at_least, clustered_interval, holm
from admbench.leaderboard.per_caption import read_beside
from admbench.leaderboard.record import FULL_PRECISION
from admbench.leaderboard.run_folder import AUDIO, BASELINES
from admbench.leaderboard.untrusted import read_bytes
from admbench.leaderboard.votes import Session
from admbench.plain_text import visible_name

HALF_HEARD = 0.75
"""Share of right answers of listeners who hear the difference in half of the trials and guess in the others."""
SIGNIFICANT = 0.05

Verdict = Literal["heard", "not heard", "preferred", "full precision preferred", "cannot be told"]
Clips = Mapping[tuple[str, str], frozenset[str]]
"""(model, method) as the listening page names them -> SHA-256 of the clips' files."""


@dataclass(frozen=True)
class Heard:
    """One method on one model in one kind of test."""

    model: str
    suite: str
    method: str
    kind: Literal["abx", "preference"]
    listeners: int
    sessions: int
    given_up: int
    """Sessions that were begun and not finished; they count for nothing else."""
    hits: int
    """ABX: right answers. Preference: choices of the method."""
    trials: int
    ci95: tuple[float, float] | None
    """For the share of hits over all such listeners; null without a finished session."""
    p: float | None
    """ABX: that nobody hears a difference, exact over all trials, by Holm over the methods of the model. Preference: of
    one listener the exact sign test; null for several, whose tastes may differ: the interval speaks."""
    verdict: Verdict

    @property
    def share(self) -> float | None:
        """Of hits among trials."""
        return self.hits / self.trials if self.trials else None


def hear(votes: Iterable[tuple[str, Session]]) -> list[Heard]:
    """Return what listeners heard, by model, kind of test and method.

    Args:
        votes: (listener, session), as `merge` returns them.
    """
    groups: dict[tuple[str, str, str, Literal["abx", "preference"]], list[tuple[str, Session]]] = {}
    for listener, session in votes:
        key = (session.model, session.suite, session.method, session.kind)
        groups.setdefault(key, []).append((listener, session))
    found = [_heard(*key, own) for key, own in groups.items()]
    adjusted = _adjusted(found)
    found = [replace(one, p=adjusted.get(id(one), one.p)) for one in found]
    found = [replace(one, verdict=_verdict(one)) for one in found]
    return sorted(found, key=lambda one: (one.model, one.suite, one.kind, one.method))


def _heard(
    model: str, suite: str, method: str, kind: Literal["abx", "preference"], own: Sequence[tuple[str, Session]]
) -> Heard:
    finished = [(listener, session) for listener, session in own if session.ended is not None]
    hits: dict[str, int] = {}
    trials: dict[str, int] = {}
    for listener, session in finished:
        hits[listener] = hits.get(listener, 0) + session.hits
        trials[listener] = trials.get(listener, 0) + len(session.trials)
    all_hits, all_trials = sum(hits.values()), sum(trials.values())
    p = None
    if finished and kind == "abx":
        p = at_least(all_hits, all_trials)
    elif len(hits) == 1:
        p = as_far(all_hits, all_trials)
    return Heard(
        model=model,
        suite=suite,
        method=method,
        kind=kind,
        listeners=len(hits),
        sessions=len(finished),
        given_up=len(own) - len(finished),
        hits=all_hits,
        trials=all_trials,
        ci95=clustered_interval(list(hits.values()), list(trials.values())) if finished else None,
        p=p,
        verdict="cannot be told",
    )


def _adjusted(found: Sequence[Heard]) -> dict[int, float]:
    """p of ABX tests by Holm over the methods of each model."""
    adjusted: dict[int, float] = {}
    for model in dict.fromkeys((one.model, one.suite) for one in found):
        own = [one for one in found if (one.model, one.suite) == model and one.kind == "abx" and one.p is not None]
        adjusted |= dict(zip(map(id, own), holm([one.p for one in own if one.p is not None]), strict=True))
    return adjusted


def _verdict(one: Heard) -> Verdict:
    if one.ci95 is None:
        return "cannot be told"
    low, high = one.ci95
    if one.kind == "abx":
        if one.p is not None and one.p < SIGNIFICANT:
            return "heard"
        return "not heard" if high < HALF_HEARD else "cannot be told"
    if low > 0.5:
        return "preferred"
    return "full precision preferred" if high < 0.5 else "cannot be told"


def of_clips(votes: Iterable[tuple[str, Session]], clips: Clips) -> tuple[list[tuple[str, Session]], list[str]]:
    """Return the votes on clips of some records, and a line for each session that is on others.

    Args:
        votes: as `merge` returns them.
        clips: of the records, as `clips_of` returns them.
    """
    kept, left_out = [], []
    for listener, session in votes:
        full, method = clips.get((session.model, "")), clips.get((session.model, session.method))
        if full is None or method is None:
            left_out.append(f"session {session.id}: no clips of {session.method} on {session.model} to hold it against")
        elif any(one.full_sha256 not in full or one.method_sha256 not in method for one in session.trials):
            left_out.append(f"session {session.id}: its clips are not those of {session.method} on {session.model}")
        else:
            kept.append((listener, session))
    return kept, left_out


def clips_of(boards: Iterable[Board]) -> dict[tuple[str, str], frozenset[str]]:
    """Return the hashes of the clips of every cell, under the names of the page; full precision's has the method ""."""
    found: dict[tuple[str, str], frozenset[str]] = {}
    for row in (row for board in boards for row in board.rows):
        model = visible_name(row.group)
        hashes = _hashes(row)
        baseline = row.record.method.name == FULL_PRECISION
        for key in ((model, ""), (model, visible_name(row.name))) if baseline else ((model, visible_name(row.name)),):
            found[key] = found.get(key, frozenset()) | hashes
        if (model, "") not in found:
            folder = row.loaded.run / BASELINES / slug(row.record.model.name)
            found[model, ""] = _of_files(row.loaded.run, folder)
    return {key: hashes for key, hashes in found.items() if hashes}


def _hashes(row: Row) -> frozenset[str]:
    """Of a cell's clips, from its per-caption results, or where there are none from the files."""
    try:
        results = read_beside(row.loaded.run, row.loaded.cell)
    except DataError:
        results = None
    return frozenset(results.clip_sha256) if results else _of_files(row.loaded.run, row.loaded.cell)


def _of_files(run: Path, folder: Path) -> frozenset[str]:
    found = set()
    for path in sorted((folder / AUDIO).glob("*.wav")):
        try:
            found.add(hashlib.sha256(read_bytes(run, path, MAX_WAV_BYTES)).hexdigest())
        except DataError:
            continue  # a link or too large: no clip of the page either
    return frozenset(found)
