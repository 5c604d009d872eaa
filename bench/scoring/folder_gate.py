"""A folder of clips held against another, as a gate holds a cell against full precision: paired, clip by clip.

What a run keeps beside its records is computed here from audio: of each score its value and how it depends on each
caption (`admbench.leaderboard.inference.influence`). Margins, words and worst clips are those of the gate on records.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from admbench.bench.scoring.audio_folder import left_out_in_words
from admbench.bench.scoring.clips import Clip
from admbench.bench.scoring.features import cached_features
from admbench.bench.scoring.folders import Prompts, prepare_folders
from admbench.bench.scoring.influences import influence_of
from admbench.bench.scoring.spec import JudgeSpec
from admbench.errors import DataError, UsageError
from admbench.judged import without_judge
from admbench.leaderboard.gate import DEFAULT, Gate, GatedCell, needs_baseline, worst_clips
from admbench.leaderboard.inference.equivalence import judge
from admbench.leaderboard.inference.influence import Influence
from admbench.leaderboard.inference.margins import DEFAULT_MARGINS, Margin, parse_margin
from admbench.leaderboard.inference.scores import ScoreKind, score_key, score_kind
from admbench.metrics import registry
from admbench.metrics.audio import SECONDS, SHORT_SHARE
from admbench.metrics.base import Metric
from admbench.metrics.extractors.base import CaptionExtractor, load_extractor
from admbench.metrics.features import Features
from admbench.metrics.intervals import Mean, Replicates
from admbench.metrics.keys import requested_scores
from admbench.metrics.needs import Whose
from admbench.metrics.roles import as_heard

WITHOUT_REFERENCE = (str(DEFAULT_MARGINS["lmd_vs_baseline"]),)
"""Margins if none is named and there is no real audio."""


@dataclass(frozen=True)
class _Asked:
    """A margin with what computes its score."""

    margin: Margin
    metric: Metric
    kind: ScoreKind
    judge: str | None
    """Name of the further judge that the score is by; None is the first."""


@dataclass(frozen=True)
class _Scored:
    """A score of one folder."""

    influence: Influence
    of_clips: bool


def gate_folders(
    generated: str | Path,
    baseline: str | Path,
    reference: str | Path | None = None,
    *,
    prompts: Prompts | None = None,
    margins: Sequence[str] | None = None,
    judges: JudgeSpec | None = None,
    allow_undecided: bool = False,
) -> Gate:
    """Say whether the clips of a folder are no worse than those of another: what `admbench.gate_folders` calls.

    Raises:
        UsageError: a margin that is none, an unknown score, or one that needs what is not given.
        DataError: clips without a partner of the same name, or that cannot be read.
    """
    texts = margins or (DEFAULT if reference is not None else WITHOUT_REFERENCE)
    judges = judges or JudgeSpec()
    asked = _asked(texts, judges, reference=reference is not None)
    names = list(dict.fromkeys(one.metric.name for one in asked))
    folders: dict[Whose, str | Path | None] = {"generated": generated, "reference": reference, "baseline": baseline}
    prepared = prepare_folders(folders, prompts, names, judges)
    clips, needed, networks = prepared.folders.clips, prepared.extractors, prepared.judges
    _check_partners(clips, folders)
    _check_captions(asked, clips)
    ids = [clip.id for clip in clips["generated"]]
    features = {
        whose: cached_features([clip for clip in own if clip.id in set(ids)], needed[whose], networks).match(ids)
        for whose, own in clips.items()
    }
    _check_lengths(features, folders)
    return Gate(
        baseline=str(baseline),
        margins=tuple(one.margin for one in asked),
        cells=(_cell(str(generated), asked, features, clips["generated"]),),
        allow_undecided=allow_undecided,
        noted=tuple(left_out_in_words(prepared.folders.left_out)),
    )


def _asked(texts: Sequence[str], judges: JudgeSpec, *, reference: bool) -> list[_Asked]:
    found: dict[str, _Asked] = {}
    for text in texts:
        key = score_key(text.partition("=")[0].strip())
        name = without_judge(key).partition("_vs_")[0]
        registry.check(name)
        given = {one.key: one for one in requested_scores([name], further=judges.further())}
        if key not in given:
            raise UsageError(f'"{text}": there is no score {key}; {name} gives {", ".join(given)}')
        metric = given[key].metric
        low, high = metric.range
        kind = score_kind(key) or ScoreKind(metric.higher_is_better, metric.ratio_scale, low, high)
        try:
            margin = parse_margin(text, kind)
        except ValueError as error:
            raise UsageError(str(error)) from None
        if needs_baseline(margin) and "reference" in metric.against and not reference:
            possible = "lmd_vs_baseline=1, mrstft_vs_baseline=0.24, clap_audio_vs_baseline=0.95"
            raise UsageError(f"{margin} needs real audio: name it by --reference, or a margin such as {possible}")
        if key in found:
            raise UsageError(f"two margins of {key}: {found[key].margin} and {margin}")
        found[key] = _Asked(margin, metric, kind, given[key].judge)
    return list(found.values())


def _check_partners(clips: Mapping[Whose, list[Clip]], folders: Mapping[Whose, str | Path | None]) -> None:
    """Raise DataError unless every clip has its partner: which clips are held together is not left to chance."""
    generated = {clip.id for clip in clips["generated"]}
    for whose, own in clips.items():
        ids = {clip.id for clip in own}
        if lacking := sorted(generated - ids):
            raise DataError(f"{folders[whose]}: no clip called {lacking[0]}, one of {len(lacking)} that lack a partner")
        if whose == "baseline" and (more := sorted(ids - generated)):
            raise DataError(f"{folders['generated']}: no clip called {more[0]}, one of {len(more)} that lack a partner")


def _check_lengths(features: Mapping[Whose, Features], folders: Mapping[Whose, str | Path | None]) -> None:
    """Raise DataError if a clip and the baseline's of its name are not of one length: one of them is cut off."""
    generated, baseline = (features[whose] for whose in ("generated", "baseline"))
    ours, theirs = (one["levels"][:, SECONDS] for one in (generated, baseline))
    bad = np.flatnonzero(np.minimum(ours, theirs) < SHORT_SHARE * np.maximum(ours, theirs))
    if len(bad):
        first = bad[0]
        raise DataError(
            f"{folders['generated']}: clip {generated.ids[first]} is {ours[first]:.2f} s long and its baseline"
            f" {theirs[first]:.2f} s, one of {len(bad)} that differ; expected pairs of one length"
        )


def _check_captions(asked: Sequence[_Asked], clips: Mapping[Whose, list[Clip]]) -> None:
    for one in asked:
        reads = any(isinstance(load_extractor(need), CaptionExtractor) for need in one.metric.needs)
        if reads and any(clip.caption is None for clip in clips["generated"]):
            raise UsageError(f"{one.margin} needs captions: name them by --prompts")


def _cell(name: str, asked: Sequence[_Asked], features: Mapping[Whose, Features], clips: Sequence[Clip]) -> GatedCell:
    verdicts, worst = {}, {}
    ids = features["generated"].ids
    texts = {clip.id: clip.caption for clip in clips}
    for one in asked:
        margin, metric = one.margin, one.metric
        heard = {whose: as_heard(own, metric, one.judge) for whose, own in features.items()}
        against = heard["baseline"] if margin.bounded == "level" else heard.get("reference")
        try:
            own = _scored(metric, heard["generated"], against)
            base = _scored(metric, heard["baseline"], heard.get("reference")) if needs_baseline(margin) else None
        except ValueError as error:
            verdicts[margin.key] = replace(judge(margin, one.kind, {}, None), reason=str(error))
            continue
        full = {margin.of or margin.key: base.influence} if base else None
        verdicts[margin.key] = judge(margin, one.kind, {margin.key: own.influence}, full)
        theirs = base.influence if base and margin.bounded != "level" else None
        worst[margin.key] = worst_clips(ids, own.influence, theirs, one.kind, of_clips=own.of_clips, texts=texts)
    return GatedCell(name, "clips", verdicts, worst)


def _scored(metric: Metric, features: Features, against: Features | None) -> _Scored:
    statistic = metric.statistic(features, against if metric.against else None)
    if isinstance(statistic, Mean):
        return _Scored(Influence.of_clips(statistic.per_clip), of_clips=True)
    return _Scored(influence_of(Replicates.of(statistic)), of_clips=False)
