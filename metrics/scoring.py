"""From features to scores in the record's form: value, 95 % interval, n, network, direction, paired difference.

`score` returns that; `score_captions` with it what each score depends on, caption by caption.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from admbench.metrics.base import Metric
from admbench.metrics.extractors.base import CaptionExtractor, Judges, further_judges, load_extractor
from admbench.metrics.features import Features
from admbench.metrics.intervals import MINIMUM_CLIPS, Mean, Replicates, Values
from admbench.metrics.keys import ScoreKey, requested_scores
from admbench.metrics.pairing import PAIRED, Pairing, Sets, pairs, whole_sets
from admbench.metrics.roles import as_heard

Score = dict[str, Any]
Provided = Mapping[str, Callable[[], Features]]
"""Extractor -> a function that gives its array for some of the generated clips; ValueError with why there is none."""

OWN_SCORE = "baseline model's own score"


@dataclass(frozen=True)
class Captions:
    """What a score depends on: all that its interval, and its comparison with another cell's score, is made from."""

    metric: Metric
    """That the score is of."""
    ids: tuple[str, ...]
    """(n,) captions that it is over."""
    replicates: Replicates
    """Of the score: without each caption, and without each of `deletion_pairs(n)`."""
    per_clip: Values | None
    """(n,) each clip's own number, of a score that is their mean; None for a score of a set."""


@dataclass(frozen=True)
class Scored:
    """Scores of generated clips."""

    scores: dict[str, Score]
    """By key, as `score` returns them."""
    captions: dict[str, Captions]
    """By the key of each score that has an interval."""
    per_clip: dict[str, dict[str, float]]
    """Of each score that is a mean over clips: the number of each, by id."""


def score(
    generated: Features,
    reference: Features | None,
    baseline: Features | None,
    metrics: Sequence[str],
    judges: Judges,
    provided: Provided | None = None,
    pairing: Pairing = PAIRED,
) -> dict[str, Score]:
    """Return the scores of `score_captions`, whose arguments and errors these are."""
    return score_captions(generated, reference, baseline, metrics, judges, provided, pairing).scores


def score_captions(
    generated: Features,
    reference: Features | None,
    baseline: Features | None,
    metrics: Sequence[str],
    judges: Judges,
    provided: Provided | None = None,
    pairing: Pairing = PAIRED,
) -> Scored:
    """Score generated clips.

    Clips belong together by id. Those without a partner are left out, on either side, and the score says how many:
    `without_partner` of the generated ones, `against_left_out` of the others. Sets of different clips are compared as
    a whole only if that is asked for: then a Frechet distance is over all of both, without an interval, and a metric
    of pairs has no value.

    Args:
        generated: of the clips to score.
        reference: of real audio; None if there is none.
        baseline: of the full-precision model's own clips for the same captions and seeds; None if that is not asked
            for, and then no score has a `difference`, and of those against the baseline there are only the null ones
            of metrics that have no others.
        metrics: registry names.
        judges: the networks that made all these features, by role; of a role with several each makes its own scores.
        provided: what clips alone do not give, such as latents; a score that needs it is over the clips that have it.
        pairing: `paired` or `whole`, see `admbench.metrics.pairing`.

    Returns:
        Scores by key, as the record has them: `fd`, `kl`, ..., `fd_vs_baseline`, ..., of further judges `fd[NAME]`,
        ...; each of value, ci95, n, backbone, backbone_sha256, against, direction, higher_is_better, version and what
        the metric adds; those not against the baseline with `difference` (value, ci95, versus, significant) to the
        baseline's own score. What cannot be computed is {"value": None, "reason": ...}. And what each score with an
        interval depends on, and the numbers of single clips.

    Raises:
        UsageError: an unknown metric.
        PluginError: a metric or an extractor cannot be loaded.
    """
    scored = Scored({}, {}, {})
    for requested in requested_scores(metrics, baseline=baseline is not None, further=further_judges(judges)):
        seat, metric = requested.seat, requested.metric
        judge = judges.get(seat) if seat is not None else None
        identity = {"backbone": judge and judge.name, "backbone_sha256": judge and judge.sha256}
        try:
            own = as_heard(_with_provided(metric, generated, provided or {}), metric, requested.judge)
            real, full = (one and as_heard(one, metric, requested.judge) for one in (reference, baseline))
            against = {"reference": real, "baseline": full, None: None}[requested.against]
            one = _score(requested, own, against, full, identity, pairing)
        except ValueError as error:
            scored.scores[requested.key] = {"value": None, "reason": str(error)}
            continue
        scored.scores[requested.key] = one.score
        if one.hangs_on is not None:
            scored.captions[requested.key] = one.hangs_on
        if one.per_clip is not None:
            scored.per_clip[requested.key] = one.per_clip
    return scored


def _with_provided(metric: Metric, generated: Features, provided: Provided) -> Features:
    """Return the clips that have what a metric needs beyond their audio; all of them if it needs nothing."""
    for name in sorted(metric.needs & provided.keys()):
        generated = generated.extend(provided[name]())
    return generated


@dataclass(frozen=True)
class _One:
    """One score with all that comes with it."""

    score: Score
    hangs_on: Captions | None = None
    per_clip: dict[str, float] | None = None


def _score(
    requested: ScoreKey,
    generated: Features,
    against: Features | None,
    baseline: Features | None,
    identity: Score,
    pairing: Pairing,
) -> _One:
    metric = requested.metric
    if requested.against is not None and against is None:
        raise ValueError(f"no {requested.against} audio")
    _check(metric, generated, "generated")
    about = {
        "n": len(generated.ids),
        **identity,
        "against": requested.against,
        "direction": metric.direction and metric.direction.format(against=requested.against),
        "higher_is_better": metric.higher_is_better,
        "version": metric.version,
    }
    if against is not None and requested.against is not None:
        _check(metric, against, requested.against)
        if pairing != PAIRED:
            return _of_whole_sets(metric, whole_sets(generated, against), about)
        sets = pairs(generated, against, requested.against)
        generated, against = sets.generated, sets.against
        about |= sets.about
    one = _estimate(metric, generated, against, None if requested.against == "baseline" else baseline)
    return replace(one, score={**one.score, **about, **metric.details(generated, against)})


def _of_whole_sets(metric: Metric, sets: Sets, about: Score) -> _One:
    if metric.paired:
        raise ValueError("compares clips of one name, and whole sets were asked for")
    value = metric.compute(sets.generated, sets.against)
    estimate = {"value": value, "ci95": None, "reason": "no interval: whole sets have no captions in common"}
    return _One({**estimate, **about, **sets.about, **metric.details(sets.generated, sets.against)})


def _estimate(metric: Metric, generated: Features, against: Features | None, baseline: Features | None) -> _One:
    """Return value and interval of a score and, if there is a baseline, of the difference to the baseline's score.

    With it goes what the score depends on, if it has an interval.
    """
    statistic = metric.statistic(generated, against)
    numbers = statistic.per_clip if isinstance(statistic, Mean) else None
    per_clip = None if numbers is None else dict(zip(generated.ids, numbers.tolist(), strict=True))
    if statistic.n < MINIMUM_CLIPS:
        reason = f"an interval needs at least {MINIMUM_CLIPS} clips"
        return _One({"value": statistic.value, "ci95": None, "reason": reason}, None, per_clip)
    replicates = Replicates.of(statistic)
    estimate: Score = {"value": replicates.value, "ci95": list(metric.interval(replicates))}
    if baseline is not None:
        try:
            _check(metric, baseline, "baseline")
            own = baseline.match(generated.ids)
            estimate["difference"] = _difference(metric, replicates - Replicates.of(metric.statistic(own, against)))
        except KeyError as error:
            estimate["difference"] = {"value": None, "reason": f"the baseline has no clip called {error.args[0]}"}
        except ValueError as error:
            estimate["difference"] = {"value": None, "reason": str(error)}
    return _One(estimate, Captions(metric, generated.ids, replicates, numbers), per_clip)


def _difference(metric: Metric, replicates: Replicates) -> Score:
    low, high = metric.difference_interval(replicates)
    return {
        "value": replicates.value,
        "ci95": [low, high],
        "versus": OWN_SCORE,
        "significant": not low <= 0 <= high,
    }


def _check(metric: Metric, features: Features, whose: str) -> None:
    """Raise ValueError if features that a metric needs are missing or not finite."""
    bad = features.not_finite()
    if bad:
        shown = ", ".join(bad[:3]) + (", ..." if len(bad) > 3 else "")
        raise ValueError(f"{len(bad)} of {len(features.ids)} {whose} clips are not finite: {shown}")
    extractors = [load_extractor(name) for name in sorted(metric.needs)]
    missing = [one for one in extractors if one.name not in features and not (one.compares and whose != "generated")]
    if missing:
        # without captions a network for audio and captions does not compute: the captions are what is missing
        first = next((one for one in missing if isinstance(one, CaptionExtractor)), missing[0])
        raise ValueError(first.missing.format(whose=whose))
