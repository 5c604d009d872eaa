"""Scores in the record's form: what is there, what is missing and why, paired by clip."""

import json

import numpy as np
import pytest

from admbench.errors import UsageError
from admbench.leaderboard.record import Score as RecordScore
from admbench.metrics import BUILTIN, registry
from admbench.metrics.base import Metric
from admbench.metrics.features import Features
from admbench.metrics.frechet import FrechetDistance, frechet_distance
from admbench.metrics.inception import SplitInception
from admbench.metrics.intervals import Mean, Replicates
from admbench.metrics.kad import kernel_audio_distance
from admbench.metrics.keys import score_keys
from admbench.metrics.kl import kl_divergence
from admbench.metrics.scoring import score, score_captions

ALL = ("fd", "kl", "is", "clap")
N = 30


def features(seed=0, n=N, shift=0.0):
    rng = np.random.default_rng(seed)
    unit = rng.normal(size=(2, n, 4))
    unit /= np.linalg.norm(unit, axis=-1, keepdims=True)
    return Features(
        tuple(f"clip-{row}" for row in range(n)),
        {
            "embedding": (rng.normal(size=(n, 5)) + shift).astype(np.float32),
            "logits": (rng.normal(size=(n, 6)) * 2).astype(np.float32),
            "clap_audio": unit[0].astype(np.float32),
            "clap_text": unit[1].astype(np.float32),
        },
    )


def test_every_key_is_there_in_the_records_form(judges):
    scores = score(features(1), features(2), features(3), ALL, judges)
    assert list(scores) == score_keys(ALL) == ["fd", "kl", "is", "clap", "fd_vs_baseline", "kl_vs_baseline"]
    for key, one in scores.items():
        RecordScore.model_validate(json.loads(json.dumps(one)))
        low, high = one["ci95"]
        assert low <= one["value"] <= high
        assert one["n"] == N
        assert one["higher_is_better"] == (key in ("is", "clap"))
        assert one["against"] == {"is": None, "clap": None}.get(key, "baseline" if "_vs_" in key else "reference")
        assert one["backbone"] == ("dummy-clap" if key == "clap" else "dummy-tagger")
        assert one["backbone_sha256"] == ("b" if key == "clap" else "a") * 64
        assert ("difference" in one) == ("_vs_" not in key)
    assert scores["kl"]["direction"] == "reference || generated"
    assert scores["kl_vs_baseline"]["direction"] == "baseline || generated"
    assert scores["fd"]["direction"] is None
    assert scores["is"]["splits"] == 1


def test_values_are_those_of_the_functions(judges):
    generated, reference, baseline = features(1), features(2), features(3)
    scores = score(generated, reference, baseline, ALL, judges)
    assert scores["fd"]["value"] == pytest.approx(frechet_distance(generated["embedding"], reference["embedding"]))
    assert scores["kl_vs_baseline"]["value"] == pytest.approx(
        kl_divergence(baseline["logits"], generated["logits"]).mean()
    )
    own = frechet_distance(baseline["embedding"], reference["embedding"])
    assert scores["fd"]["difference"]["value"] == pytest.approx(scores["fd"]["value"] - own)
    assert scores["fd"]["difference"]["versus"] == "baseline model's own score"


def test_clips_belong_together_by_id_in_any_order(judges):
    generated, reference, baseline = features(1), features(2), features(3)
    expected = score(generated, reference, baseline, ALL, judges)
    shuffled = [features.take(np.random.default_rng(0).permutation(N)) for features in (reference, baseline)]
    assert score(generated, *shuffled, ALL, judges) == expected


def test_clips_of_the_reference_that_were_not_generated_are_left_out(judges):
    few = features(1).take(range(10))
    scores = score(few, features(2), features(3), ALL, judges)
    alone = score(few, features(2).take(range(10)), features(3).take(range(10)), ALL, judges)
    for key, one in scores.items():
        assert one == alone[key] | ({"against_left_out": 20} if one["against"] else {})
    assert scores["fd"]["n"] == 10


def test_the_baseline_does_not_differ_from_itself(judges):
    baseline = features(3)
    scores = score(baseline, features(2), baseline, ALL, judges)
    for key in ALL:
        difference = scores[key]["difference"]
        assert (difference["value"], difference["ci95"], difference["significant"]) == (0, [0, 0], False)
    assert scores["fd_vs_baseline"]["value"] == pytest.approx(0, abs=1e-9)


def test_a_large_difference_is_significant(judges):
    scores = score(features(1, shift=3.0), features(2), features(1), ["fd"], judges)
    difference = scores["fd"]["difference"]
    assert difference["significant"]
    assert difference["ci95"][0] > 0


def test_without_baseline_nothing_is_compared_with_it(judges):
    scores = score(features(1), features(2), None, ALL, judges)
    assert list(scores) == list(ALL)
    assert all("difference" not in one for one in scores.values())


def test_without_reference_its_scores_are_null_with_the_reason(judges):
    scores = score(features(1), None, features(3), ALL, judges)
    assert scores["fd"] == scores["kl"] == {"value": None, "reason": "no reference audio"}
    assert scores["is"]["value"] is not None
    assert scores["fd_vs_baseline"]["value"] is not None


def test_without_captions_there_is_no_clap_score(judges):
    generated = features(1)
    arrays = {name: array for name, array in generated.arrays.items() if name != "clap_text"}
    scores = score(Features(generated.ids, arrays), features(2), None, ALL, judges)
    assert scores["clap"] == {"value": None, "reason": "the generated clips have no captions"}
    assert scores["kl"]["value"] is not None


@pytest.mark.parametrize("whose", ["generated", "reference", "baseline"])
def test_clips_that_are_not_finite_make_scores_null_and_are_named(judges, whose):
    sets = {"generated": features(1), "reference": features(2), "baseline": features(3)}
    sets[whose] = sets[whose].invalidate(["clip-4", "clip-7"])
    scores = score(sets["generated"], sets["reference"], sets["baseline"], ALL, judges)
    reason = f"2 of 30 {whose} clips are not finite: clip-4, clip-7"
    affected = {"generated": score_keys(ALL), "reference": ["fd", "kl"], "baseline": ["fd_vs_baseline"]}[whose]
    for key in affected:
        assert scores[key] == {"value": None, "reason": reason}
    if whose == "baseline":
        assert scores["fd"]["value"] is not None
        assert scores["fd"]["difference"] == {"value": None, "reason": reason}


def test_whole_sets_are_compared_whatever_their_clips_are_called(judges):
    names = ["fd", "kad", "fad_inf", "kl", "clap"]
    generated, other = features(1), features(2, n=24)
    scores = score(generated, other, generated, names, judges, pairing="whole")
    renamed = Features(tuple(f"other-{row}" for row in range(24)), other.arrays)
    assert score(generated, renamed, generated, names, judges, pairing="whole") == scores
    assert scores["fd"]["value"] == pytest.approx(frechet_distance(generated["embedding"], other["embedding"]))
    distance = kernel_audio_distance(generated["embedding"], other["embedding"])
    assert scores["kad"]["value"] == pytest.approx(distance)
    for key in ("fd", "kad", "fad_inf"):
        assert (scores[key]["n"], scores[key]["against_n"], scores[key]["pairing"]) == (30, 24, "whole")
        assert scores[key]["ci95"] is None
        assert scores[key]["reason"] == "no interval: whole sets have no captions in common"
        assert "difference" not in scores[key]
    reason = "compares clips of one name, and whole sets were asked for"
    assert scores["kl"] == scores["kl_vs_baseline"] == {"value": None, "reason": reason}
    assert scores["clap"]["ci95"] is not None


def test_whole_sets_of_the_same_names_are_no_pairs(judges):
    generated = features(1)
    whole = score(generated, generated, None, ["kad"], judges, pairing="whole")["kad"]["value"]
    assert whole == pytest.approx(kernel_audio_distance(generated["embedding"], generated["embedding"]))
    assert whole < 0 == score(generated, generated, None, ["kad"], judges)["kad"]["value"]


def test_pairs_that_were_renamed_have_no_score_instead_of_another_one(judges):
    """24 clips against 48 with the same captions among them: paired, whole, and paired after renaming."""
    generated, reference = features(1, n=24), features(2, n=48)
    paired = score(generated, reference, None, ["fd", "kl"], judges)
    assert (paired["fd"]["n"], paired["fd"]["against_left_out"]) == (24, 24)
    expected = frechet_distance(generated["embedding"], reference["embedding"][:24])
    assert paired["fd"]["value"] == pytest.approx(expected)
    whole = score(generated, reference, None, ["fd"], judges, pairing="whole")
    assert (whole["fd"]["n"], whole["fd"]["against_n"]) == (24, 48)
    assert whole["fd"]["value"] == pytest.approx(frechet_distance(generated["embedding"], reference["embedding"]))
    renamed = Features(tuple(f"real-{row}" for row in range(48)), reference.arrays)
    reason = "none of the 48 reference clips has the name of one of the 24 clips"
    nothing = {"value": None, "reason": reason}
    assert score(generated, renamed, None, ["fd", "kl"], judges) == {"fd": nothing, "kl": nothing}
    assert score(generated, renamed, None, ["fd"], judges, pairing="whole")["fd"] == whole["fd"]


def test_numbers_of_single_clips_are_of_means_only_however_few_clips_there_are(judges):
    for n in (2, 6):
        generated, reference = features(1, n=n), features(2, n=n)
        scored = score_captions(generated, reference, None, ALL, judges)
        assert set(scored.per_clip) == {"kl", "clap"}
        divergences = kl_divergence(reference["logits"], generated["logits"])
        assert scored.per_clip["kl"] == dict(zip(generated.ids, divergences, strict=True))


def test_clips_whose_partner_is_missing_are_left_out_of_the_pairs_and_counted(judges):
    generated, reference, baseline = features(1), features(2), features(3)
    kept = [name for name in reference.ids if name not in ("clip-3", "clip-8")]
    scores = score(generated, reference.match(kept), baseline, ALL, judges)
    without = score(generated.match(kept), reference.match(kept), baseline.match(kept), ALL, judges)
    for key in ("fd", "kl"):
        assert scores[key] == without[key] | {"without_partner": 2}
        assert scores[key]["n"] == 28
    assert scores["is"]["n"] == scores["fd_vs_baseline"]["n"] == 30
    assert "without_partner" not in scores["is"]


@pytest.mark.parametrize(("n", "fd", "interval"), [(1, False, False), (3, True, False), (4, True, True)])
def test_few_clips_say_what_they_lack(judges, n, fd, interval):
    scores = score(features(1, n=n), features(2, n=n), features(3, n=n), ALL, judges)
    assert (scores["fd"]["value"] is not None) == fd
    for one in scores.values():
        RecordScore.model_validate(json.loads(json.dumps(one)))
        assert (one.get("ci95") is not None) == interval
        assert interval or one["reason"]


def test_an_unknown_metric_is_a_usage_error(judges):
    with pytest.raises(UsageError, match='unknown metric "fid"'):
        score(features(1), None, None, ["fid"], judges)


def test_a_plugin_that_only_computes_gets_the_same_interval(judges, monkeypatch):
    monkeypatch.setattr(registry, "_registered", {})

    @registry.register("plain-fd")
    class PlainFD(FrechetDistance):
        """Computes again without each caption."""

        name = "plain-fd"
        statistic = Metric.statistic

    generated, reference, baseline = features(1), features(2), features(3)
    scores = score(generated, reference, baseline, ["fd", "plain-fd"], judges)
    assert scores["plain-fd"]["ci95"] == pytest.approx(scores["fd"]["ci95"])
    assert scores["plain-fd"]["difference"]["ci95"] == pytest.approx(scores["fd"]["difference"]["ci95"])
    assert "plain-fd_vs_baseline" in scores


READ_HERE = {"embedding", "logits", "clap_audio", "clap_text"}
OF_THESE_ARRAYS = sorted(name for name in BUILTIN if registry.get(name).needs <= READ_HERE)


@pytest.mark.parametrize("name", OF_THESE_ARRAYS)
def test_every_interval_is_inside_its_scores_range(judges, name):
    """At the ends of the range: clips that are all of one class, embeddings that all separate, equal directions."""
    n, classes = 24, np.arange(24) % 4
    logits = (np.eye(4)[classes] * 6).astype(np.float32)
    logits[0] = [0, 0, 0, 6]
    arrays = {"embedding": np.eye(4)[classes] + 0.01 * np.random.default_rng(0).normal(size=(n, 4)), "logits": logits}
    arrays |= {name: np.tile(np.float32([1, 0]), (n, 1)) for name in ("clap_audio", "clap_text")}
    arrays["clap_audio"][0] = [0.6, 0.8]
    ids = tuple(f"clip-{row:02d}" for row in range(n))
    alike = {**arrays, "logits": np.tile(np.float32([3, 0, 0, 0]), (n, 1))}
    alike["logits"][:2] = np.float32([0, 3, 0, 0])
    metric = registry.get(name)
    for own in (arrays, alike):
        real = {**arrays, "embedding": arrays["embedding"][::-1], "logits": logits}
        for entry in score(Features(ids, own), Features(ids, real), Features(ids, arrays), [name], judges).values():
            low, high = entry["ci95"]
            assert metric.range[0] <= low <= entry["value"] <= high <= metric.range[1]
            if "difference" in entry:
                low, high = entry["difference"]["ci95"]
                assert metric.range[0] - metric.range[1] <= low <= high <= metric.range[1] - metric.range[0]


def test_accuracies_end_at_one_and_inception_scores_at_one():
    """23 of 24 right is an accuracy whose interval would reach beyond 1; two odd clips of 24 an IS near 1."""
    rights = np.ones(24)
    rights[0] = 0
    accuracy = Replicates.of(Mean(rights))
    assert accuracy.interval()[1] > 1
    assert registry.get("cas")().interval(accuracy)[1] == 1
    logits = np.tile([3.0, 0.0, 0.0], (24, 1))
    logits[0] = [0.0, 3.0, 0.0]
    diversity = Replicates.of(SplitInception(logits, 1))
    assert diversity.interval()[0] < 1
    assert registry.get("is")().interval(diversity)[0] == 1
