"""Folders of audio to scores, with all that is to be said of them: which clips were compared, and what is wrong."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from admbench.bench.scoring.clips import Clip, unread_files
from admbench.bench.scoring.features import cached_features
from admbench.bench.scoring.folders import prepare_folders
from admbench.bench.scoring.judges import Timed, reading
from admbench.bench.scoring.spec import JudgeSpec
from admbench.errors import UsageError
from admbench.metrics.audio import Health, faults_of
from admbench.metrics.embedders.base import AudioEmbedder
from admbench.metrics.features import Features
from admbench.metrics.keys import default_metrics
from admbench.metrics.needs import Whose
from admbench.metrics.pairing import PAIRED, Pairing
from admbench.metrics.scoring import Scored, score_captions

COMPARED: tuple[Whose, ...] = ("reference", "baseline")


def score_report(
    generated: str | Path,
    reference: str | Path | None = None,
    *,
    baseline: str | Path | None = None,
    prompts: str | None = None,
    metrics: Sequence[str] | None = None,
    judges: JudgeSpec | None = None,
    pairing: Pairing = PAIRED,
) -> dict[str, Any]:
    """Score a folder of audio and say what audio it was; arguments and errors are those of `score_folders`.

    Returns:
        `scores` as `score_folders` returns them; `sets`: by what generated clips are compared with (reference,
        baseline), how many clips either set has, how many pairs, and the names of those left out; `files_left_out`: by
        folder the files that were taken for no clips, with why; `audio`: by folder (generated, reference, baseline)
        the numbers of clips and of silent, clipped, short and non-finite ones;
        `clips`: of each generated clip its name, caption, faults and every score that is a mean over clips; `reading`:
        how files became the networks' inputs; `cost`: seconds from the first file to the last score, and of these the
        seconds in which networks computed, none for clips whose features are in the cache.
    """
    folders: dict[Whose, str | Path | None] = {"generated": generated, "reference": reference, "baseline": baseline}
    if metrics is None:
        metrics = default_metrics(baseline=baseline is not None)
    clips, needed, loaded = prepare_folders(folders, prompts, metrics, judges)
    sets = {whose: _set(clips, whose, folders[whose], pairing) for whose in COMPARED if whose in clips}
    timers = {id(judge): Timed(judge) for judge in loaded.values()}
    networks = {role: cast("AudioEmbedder", timers[id(judge)]) for role, judge in loaded.items()}
    started = time.perf_counter()
    features = {whose: cached_features(own, needed[whose], networks) for whose, own in clips.items()}
    scored = score_captions(
        features["generated"],
        features.get("reference"),
        features.get("baseline"),
        metrics,
        networks,
        pairing=pairing,
    )
    seconds = time.perf_counter() - started
    return {
        "scores": scored.scores,
        "sets": sets,
        "files_left_out": {
            whose: unread_files(Path(folder)) for whose, folder in folders.items() if folder is not None
        },
        "audio": {whose: Health.of(faults_of(own["levels"])).to_json() for whose, own in features.items()},
        "clips": _per_clip(clips["generated"], features["generated"], scored),
        "reading": reading(networks),
        "cost": {"seconds": seconds, "network_seconds": sum(timer.seconds for timer in timers.values())},
    }


def _set(
    clips: Mapping[Whose, Sequence[Clip]], whose: Whose, folder: str | Path | None, pairing: Pairing
) -> dict[str, Any]:
    """Return how two sets of clips are compared; UsageError if there are to be pairs and there are none."""
    ours, theirs = ([clip.id for clip in clips[one]] for one in ("generated", whose))
    found: dict[str, Any] = {"pairing": pairing, "generated": len(ours), whose: len(theirs)}
    if pairing != PAIRED:
        return found
    shared = set(ours) & set(theirs)
    if not shared:
        raise UsageError(
            f"{folder}: none of its {len(theirs)} clips has the name of one of the {len(ours)} generated ones, such as"
            f" {ours[0]}; name clips of one caption alike, or compare whole sets: --pairing whole"
        )
    left_out = {
        "generated": [name for name in ours if name not in shared],
        whose: [name for name in theirs if name not in shared],
    }
    return {**found, "pairs": len(shared), "left_out": left_out}


def _per_clip(clips: Sequence[Clip], features: Features, scored: Scored) -> list[dict[str, Any]]:
    """Return a row for each generated clip; a score that the clip has no number of is None."""
    faults = faults_of(features["levels"])
    return [
        {
            "clip": clip.id,
            "caption": clip.caption,
            **{fault: bool(flags[row]) for fault, flags in faults.items()},
            **{key: numbers.get(clip.id) for key, numbers in scored.per_clip.items()},
        }
        for row, clip in enumerate(clips)
    ]


def sets_in_words(report: Mapping[str, Any]) -> list[str]:
    """Return a line for each two sets of a report that were compared: both sizes, the pairs, and what was left out.

    >>> sets = {"reference": {"pairing": "whole", "generated": 24, "reference": 48}}
    >>> sets_in_words({"sets": sets, "files_left_out": {}})
    ['24 generated clips against 48 reference clips, as whole sets']
    """
    lines = []
    for whose, found in report["sets"].items():
        line = f"{found['generated']} generated clips against {found[whose]} {whose} clips, "
        if found["pairing"] != PAIRED:
            lines.append(line + "as whole sets")
            continue
        line += f"in {found['pairs']} pairs of one name"
        for side, names in found["left_out"].items():
            if names:
                other = whose if side == "generated" else "generated"
                line += f"; left out: {len(names)} {side} without a {other} clip of their name ({_some(names)})"
        lines.append(line)
    for whose, files in report["files_left_out"].items():
        for reason in dict.fromkeys(files.values()):
            names = [name for name, why in files.items() if why == reason]
            lines.append(f"left out: {len(names)} files of the {whose} folder ({_some(names)}): {reason}")
    return lines


def _some(names: Sequence[str], shown: int = 3) -> str:
    return ", ".join(names[:shown]) + (", ..." if len(names) > shown else "")
