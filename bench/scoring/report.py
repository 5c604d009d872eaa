"""Folders of audio to scores, with all that is to be said of them: which clips were compared, and what is wrong."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from admbench.bench.scoring.audio_folder import left_out_in_words
from admbench.bench.scoring.clips import Clip
from admbench.bench.scoring.features import cached_features
from admbench.bench.scoring.folders import Prompts, prepare_folders
from admbench.bench.scoring.judges import Timed, reading
from admbench.bench.scoring.spec import JudgeSpec
from admbench.bench.suites.matching import first_few
from admbench.errors import UsageError
from admbench.metrics.audio import SECONDS, SHORT_SHARE, Health, faults_of
from admbench.metrics.embedders.base import AudioEmbedder
from admbench.metrics.features import Features
from admbench.metrics.keys import default_metrics
from admbench.metrics.needs import Whose
from admbench.metrics.pairing import PAIRED, Pairing, pairs
from admbench.metrics.scoring import Scored, score_captions

COMPARED: tuple[Whose, ...] = ("reference", "baseline")


def score_report(
    generated: str | Path,
    reference: str | Path | None = None,
    *,
    baseline: str | Path | None = None,
    prompts: Prompts | None = None,
    metrics: Sequence[str] | None = None,
    judges: JudgeSpec | None = None,
    pairing: Pairing = PAIRED,
) -> dict[str, Any]:
    """Score a folder of audio and say what audio it was; arguments and errors are those of `score_folders`.

    Returns:
        `scores` as `score_folders` returns them; `sets`: by what generated clips are compared with (reference,
        baseline), how many clips either set has, how many pairs, the names of those left out, and of those shorter
        than their partner; `files_left_out`: by folder its entries that are no clips, with why; `captions`: ids of
        those that no clip is of, and how many several clips are of; `audio`: by folder (generated, reference,
        baseline) the numbers of clips and of silent, clipped, short and non-finite ones;
        `clips`: of each generated clip its name, caption, faults and every score that is a mean over clips; `reading`:
        how files became the networks' inputs; `cost`: seconds from the first file to the last score, and of these the
        seconds in which networks computed, none for clips whose features are in the cache.
    """
    folders: dict[Whose, str | Path | None] = {"generated": generated, "reference": reference, "baseline": baseline}
    if metrics is None:
        metrics = default_metrics(baseline=baseline is not None)
    prepared = prepare_folders(folders, prompts, metrics, judges)
    clips, captioned, loaded = prepared.folders.clips, prepared.folders.captioned, prepared.judges
    sets = {whose: _set(clips, whose, folders[whose], pairing) for whose in COMPARED if whose in clips}
    timers = {id(judge): Timed(judge) for judge in loaded.values()}
    networks = {role: cast("AudioEmbedder", timers[id(judge)]) for role, judge in loaded.items()}
    started = time.perf_counter()
    features = {whose: cached_features(own, prepared.extractors[whose], networks) for whose, own in clips.items()}
    for whose, found in sets.items():
        if pairing == PAIRED:
            found["shorter"] = _shorter(features["generated"], features[whose], whose)
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
        "files_left_out": prepared.folders.left_out,
        "captions": {"without_clip": list(captioned.without_clip), "of_several_clips": captioned.repeated},
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


def _shorter(generated: Features, against: Features, whose: Whose) -> dict[str, list[str]]:
    """Return the clips of either set that are clearly shorter than their partner: cut off, it may be."""
    sets = pairs(generated, against, whose)
    ours, theirs = sets.generated["levels"][:, SECONDS], sets.against["levels"][:, SECONDS]
    short = {"generated": ours < SHORT_SHARE * theirs, whose: theirs < SHORT_SHARE * ours}
    return {
        side: [name for name, flag in zip(sets.generated.ids, flags, strict=True) if flag]
        for side, flags in short.items()
    }


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
    >>> sets_in_words({"sets": sets, "files_left_out": {}, "captions": {"without_clip": [], "of_several_clips": 0}})
    ['24 generated clips against 48 reference clips, as whole sets']
    """
    lines = []
    captions = report["captions"]
    if names := captions["without_clip"]:
        lines.append(f"left out: {_count(names, 'caption')} that no clip is of ({first_few(names)})")
    if several := captions["of_several_clips"]:
        lines.append(f"warning: captions with several clips: {several}; intervals take clips for independent")
    for whose, found in report["sets"].items():
        line = f"{found['generated']} generated clips against {found[whose]} {whose} clips, "
        if found["pairing"] != PAIRED:
            lines.append(line + "as whole sets")
            continue
        line += f"in {found['pairs']} pairs of one name"
        for side, names in found["left_out"].items():
            if names:
                other = whose if side == "generated" else "generated"
                line += f"; left out: {len(names)} {side} without a {other} clip of their name ({first_few(names)})"
        lines.append(line)
        for side, names in found["shorter"].items():
            if names:
                other = whose if side == "generated" else "generated"
                clips = _count(names, f"{side} clip")
                lines.append(f"warning: {clips} clearly shorter than the {other} clip ({first_few(names)}): cut off?")
    return lines + left_out_in_words(report["files_left_out"])


def _count(names: Sequence[str], what: str) -> str:
    return f"{len(names)} {what}{'' if len(names) == 1 else 's'}"
